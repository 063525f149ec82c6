"""Inventories as people of many languages write them: servers with places, owners and remarks, by language."""

INVENTORIES = {
    "Polish": (
        "Nazwa,Lokalizacja,Właściciel,Uwagi\n"
        "srv-kr1,Kraków,Łukasz Wiśniewski,zasilacz wymieniony w październiku\n"
        "srv-ld1,Łódź,Małgorzata Dąbrowska,\n"
        "srv-gd1,Gdańsk,Zbigniew Żuławski,do usunięcia\n"
    ),
    "Czech": (
        "Název,Umístění,Vlastník,Poznámka\n"
        "srv-br1,Brno,Jiří Dvořák,vyměněný zdroj\n"
        "srv-pl1,Plzeň,Zdeňka Kučerová,\n"
        "srv-ul1,Ústí nad Labem,Tomáš Hájek,určeno k vyřazení\n"
    ),
    "Hungarian": (
        "Név,Helyszín,Tulajdonos,Megjegyzés\n"
        "srv-gy1,Győr,Kovács Erzsébet,tápegység cserélve\n"
        "srv-bp1,Budapest,Szűcs György,felügyelet nélkül\n"
        "srv-pe1,Pécs,Tóth Ödön,selejtezésre vár\n"
    ),
    "Slovak": (
        "Názov,Umiestnenie,Vlastník,Poznámka\n"
        "srv-ko1,Košice,Ľubomír Kováč,vymenený zdroj\n"
        "srv-zi1,Žilina,Alžbeta Ďurišová,na vyradenie\n"
        "srv-tn1,Trenčín,Štefan Hrubý,v poriadku\n"
    ),
    "Croatian": (
        "Naziv,Lokacija,Vlasnik,Napomena\n"
        "srv-zg1,Zagreb,Željko Horvatić,zamijenjeno napajanje\n"
        "srv-os1,Osijek,Đurđica Perković,čeka otpis\n"
        "srv-si1,Šibenik,Marija Kovačević,\n"
    ),
    "Romanian": (
        "Nume,Locație,Proprietar,Observații\n"
        "srv-cj1,Cluj-Napoca,Ștefan Mureșan,sursă înlocuită\n"
        "srv-ia1,Iași,Ioana Țurcanu,de scos din uz\n"
        "srv-bv1,Brașov,Mihăiță Rădulescu,funcționează\n"
    ).translate(str.maketrans("șțȘȚ", "şţŞŢ")),
    "Russian": (
        "Имя,Площадка,Ответственный,Примечание\n"
        "srv-msk1,Москва,Иванов Пётр,замена блока питания\n"
        "srv-spb1,Санкт-Петербург,Смирнова Анна,\n"
        "srv-ekb1,Екатеринбург,Кузнецов Дмитрий,к списанию\n"
    ),
    "Russian owners": "Name,Owner\nru-1,Иванов Пётр\nru-2,Смирнова Анна\n",
    "Russian places": (
        "Hostname;Datacenter;Status\n"
        "db-01;Новосибирск;в работе\ndb-02;Нижний Новгород;резерв\ndb-03;Ростов-на-Дону;в ремонте\n"
    ),
    "Ukrainian": (
        "Назва,Майданчик,Відповідальний,Примітка\n"
        "srv-kv1,Київ,Шевченко Олександр,замінено блок живлення\n"
        "srv-lv1,Львів,Ковальчук Ірина,\n"
        "srv-od1,Одеса,Бондаренко Євген,очікує списання\n"
    ),
    "Bulgarian": (
        "Име,Местоположение,Отговорник,Бележка\n"
        "srv-sf1,София,Георги Димитров,сменено захранване\n"
        "srv-pv1,Пловдив,Мария Иванова,\n"
        "srv-vn1,Варна,Стоян Желязков,за бракуване\n"
    ),
    "Serbian": (
        "Назив,Локација,Власник,Напомена\n"
        "srv-bg1,Београд,Милош Ђорђевић,замењено напајање\n"
        "srv-ns1,Нови Сад,Јелена Петровић,\n"
        "srv-ni1,Ниш,Љубица Николић,чека отпис\n"
    ),
    "German": (
        "Name;Standort;Verantwortlich;Bemerkung\n"
        "srv-mu1;München;Jürgen Weiß;Netzteil getauscht\n"
        "srv-ko1;Köln;Käthe Schröder;\n"
        "srv-nu1;Nürnberg;Jörg Müller;außer Betrieb\n"
    ),
    "French": (
        "Nom;Emplacement;Propriétaire;Remarque\n"
        "srv-ne1;Nîmes;François Lefèvre;alimentation remplacée\n"
        "srv-be1;Besançon;Hélène Gaëlle Dupré;à contrôler\n"
        "srv-or1;Orléans;Benoît Côté;serveur arrêté\n"
    ),
    "Spanish": (
        "Nombre;Ubicación;Propietario;Observación\n"
        "srv-ma1;Málaga;Iñigo Muñoz;fuente de alimentación cambiada\n"
        "srv-co1;A Coruña;José Ángel Núñez;\n"
        "srv-le1;León;María Peñalver;en revisión\n"
    ),
    "Portuguese": (
        "Nome;Localização;Responsável;Observação\n"
        "srv-sp1;São Paulo;João Conceição;fonte substituída\n"
        "srv-br1;Brasília;Antônia Gonçalves;às vezes não responde\n"
        "srv-ev1;Évora;Luís Magalhães;manutenções periódicas\n"
    ),
    "Swedish": (
        "Namn;Plats;Ansvarig;Anmärkning\n"
        "srv-go1;Göteborg;Åsa Lindström;nätaggregat bytt\n"
        "srv-ma1;Malmö;Björn Sjögren;\n"
        "srv-va1;Västerås;Märta Håkansson;skrotas i höst\n"
    ),
    "Danish": (
        "Navn;Placering;Ejer;Bemærkning\n"
        "srv-ar1;Århus;Søren Kjær;strømforsyning udskiftet\n"
        "srv-aa1;Ålborg;Jørgen Sørensen;\n"
        "srv-kb1;København;Bodil Nørgård;skal kasseres\n"
    ),
    "Italian": (
        "Nome;Sede;Responsabile;Note\n"
        "srv-fo1;Forlì;Nicolò Bonfà;la priorità è più bassa\n"
        "srv-ct1;Catania;Niccolò Santandrà;già sostituito perché guasto\n"
        "srv-na1;Napoli;Lucia Cantù;\n"
    ),
    "Korean": (
        "이름,위치,담당자,비고\n서버-01,서울,김민수,전원 교체\n서버-02,부산,이영희,\n서버-03,대전,박지훈,폐기 예정\n"
    ),
    "Korean owners": "Name,Owner,Rack\nkr-1,최동욱,A-01\nkr-2,정수진,A-02\nkr-3,한상민,B-01\n",
    "Korean places": "호스트명,데이터센터,상태\nweb-1,판교 데이터센터,운영\nweb-2,광주 제2센터,점검 중\n",
    "Korean remarks": (
        "Name,Notes\ndb-1,메모리 증설 필요함\ndb-2,백업 서버로 사용하고 있습니다\ndb-3,보증 기간이 만료되었음\n"
    ),
    "Korean models": (
        "자산번호;모델;운영체제;용도;관리 부서\nA-1;델 파워엣지;윈도우 서버;인사 시스템;정보화팀\n"
        "A-2;삼성;리눅스;개발;연구소\n"
    ),
    "Japanese": (
        "名前,場所,担当者,備考\nサーバー1,東京,佐藤 健一,電源ユニット交換済み\nサーバー2,大阪,鈴木 花子,\n"
        "サーバー3,福岡,高橋 誠,廃棄予定\n"
    ),
    "Japanese owners": "Name,Owner,Notes\njp-1,田中 太郎,メモリ増設\njp-2,渡辺 直美,リース\njp-3,伊藤 さくら,\n",
    "Japanese places": "ホスト名,データセンター,状態\nweb-1,品川第二センター,稼働中\nweb-2,札幌,停止中\n",
    "Japanese remarks": "Name,Notes\ndb-1,バックアップ用のサーバーです\ndb-2,保守期限が切れています\n",
    "Japanese models": (
        "資産番号;機種;ＯＳ;用途\nA-1;富士通 プライマジー;ウィンドウズ;人事システム\nA-2;日本電気;リナックス;開発\n"
    ),
    "Chinese": (
        "名称,机房,负责人,备注\n服务器01,上海一号机房,张伟,更换电源\n服务器02,北京,李娜,\n服务器03,深圳,王芳,准备报废\n"
    ),
    "Chinese owners": "Name,Owner,Rack\ncn-1,陈建国,A-01\ncn-2,刘晓燕,A-02\ncn-3,欧阳志强,B-01\n",
    "Chinese places": "主机名,数据中心,状态\nweb-1,广州南沙数据中心,在用\nweb-2,成都,维修中\nweb-3,杭州,备用\n",
    "Chinese remarks": "Name,Notes\ndb-1,内存不足，需要扩容\ndb-2,该服务器已过保修期\ndb-3,用于测试环境的数据库\n",
    "Chinese models": (
        "资产编号;型号;操作系统;用途;所属部门\nA-1;华为;麒麟;人事系统;信息中心\nA-2;联想;银河;研发;技术部\n"
    ),
    "Taiwanese": (
        "名稱,機房,負責人,備註\n伺服器01,臺北一號機房,陳怡君,更換電源\n"
        "伺服器02,高雄,林志豪,\n伺服器03,臺中,黃淑芬,準備報廢\n"
    ),
    "Taiwanese owners": "Name,Owner,Rack\ntw-1,張雅婷,A-01\ntw-2,王俊傑,A-02\ntw-3,歐陽志強,B-01\n",
    "Taiwanese places": (
        "主機名稱,資料中心,狀態\nweb-1,內湖資料中心,使用中\nweb-2,新竹科學園區,維修中\nweb-3,臺南,備用\n"
    ),
    "Taiwanese remarks": (
        "Name,Notes\ndb-1,記憶體不足，需要擴充\ndb-2,這台伺服器已經過保固期\ndb-3,測試環境的資料庫\n"
    ),
    "Taiwanese models": (
        "資產編號;型號;作業系統;用途;所屬部門\nA-1;華碩;視窗;人事系統;資訊室\nA-2;宏碁;開源;研發;技術部\n"
    ),
}
"""The text of a file by its language, and by what of it is in that language where that is not all."""

_CENTRAL = ("Polish", "Czech", "Hungarian", "Slovak", "Croatian", "Romanian")
_CYRILLIC = ("Russian", "Russian owners", "Russian places", "Ukrainian", "Bulgarian", "Serbian")
_WESTERN = ("German", "French", "Spanish", "Portuguese", "Swedish", "Danish", "Italian")


def _about(language: str) -> tuple[str, ...]:
    return tuple(name for name in INVENTORIES if name.split()[0] == language)


LANGUAGES = {
    "cp1250": _CENTRAL,
    "cp1251": _CYRILLIC,
    "cp1252": _WESTERN,
    "mac-roman": _WESTERN,
    "cp949": _about("Korean"),
    "cp932": _about("Japanese"),
    "gb18030": _about("Chinese"),
    "cp950": _about("Taiwanese"),
}
"""The inventories by the encoding in which a spreadsheet program of their country saves text."""

FILES = [(encoding, name) for encoding, names in LANGUAGES.items() for name in names]
