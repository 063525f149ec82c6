"""The words of many languages that begin a row of totals or a note below a table, in lower case."""

_TOTALS = """
total, totals, sum, overall total, grand total, sub total, subtotal, sub totals, subtotals, 合计, 小计, 总计, 共计,
总和, 汇总, 總計, 合計, 小計, 總和, 計, 総計, 합계, 총계, 소계, gesamt, gesamtsumme, summe, zwischensumme, insgesamt,
totaal, eindtotaal, subtotaal, samtals, sum totalt, totalt, summa, i alt, yhteensä, summa totalt, kokku, kopā, iš viso,
viso, suma, suma total, total general, total geral, totale, totale generale, subtotale, somma, total général,
sous total, somme, totalul, sumă, total parcial, suma częściowa, razem, łącznie, suma końcowa, celkem, součet,
mezisoučet, spolu, súčet, celkom, összesen, mindösszesen, részösszeg, skupaj, ukupno, zbroj, сума, сумма, итого, всего,
общий итог, промежуточный итог, разом, усього, всього, общо, сбор, укупно, σύνολο, μερικό σύνολο, toplam,
genel toplam, ara toplam, cəmi, jami, барлығы, المجموع, الإجمالي, الاجمالي, مجموع, جمع, جمع کل, סהכ, סה"כ, סה״כ,
סך הכל, कुल, कुल योग, योग, মোট, மொத்தம், รวม, รวมทั้งหมด, ทั้งหมด, tổng, tổng cộng, tổng số, cộng, jumlah,
total keseluruhan, kabuuan, jumla
"""
_NOTES = """
note, notes, remark, remarks, nb, n.b, attention, source, legend, 备注, 注, 说明, 注意, 備註, 備考, 注記, 비고, 참고,
주, hinweis, hinweise, anmerkung, anmerkungen, bemerkung, bemerkungen, opmerking, opmerkingen, let op, merknad, anm,
bemærk, huomautus, huom, märkus, nota, notas, observación, observaciones, observação, observações, obs, remarque,
remarques, nota bene, notă, uwaga, uwagi, poznámka, poznámky, pozn, megjegyzés, opomba, napomena, примечание,
примечания, замечание, примітка, забележка, напомена, σημείωση, σημειώσεις, not, notlar, ملاحظة, ملاحظات, توضیح,
הערה, הערות, नोट, টীকা, குறிப்பு, หมายเหตุ, ghi chú, lưu ý, catatan, keterangan, tandaan
"""

TOTALS = frozenset(_TOTALS.replace("\n", " ").strip().split(", "))
NOTES = TOTALS | frozenset(_NOTES.replace("\n", " ").strip().split(", "))
