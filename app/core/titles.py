"""Titles of fields that several resources have: first what a person sees, then what spreadsheets call them."""


def in_sentence(title: str) -> str:
    """A title within a sentence: in small letters, but for abbreviations such as GPU and MAC."""
    return " ".join(word if word[1:] != word[1:].lower() else word.lower() for word in title.split(" "))


DESCRIPTION = ("Description", "描述", "备注", "Comments", "Notes")
DATACENTER = ("Datacenter", "数据中心", "机房", "所属机房", "Data center", "Site", "Ubicación")

# Of purchased objects.
MANUFACTURER = ("Manufacturer", "厂商", "制造商", "品牌", "Vendor", "Brand")
MODEL = ("Model", "型号", "设备型号")
SERIAL_NUMBER = ("Serial number", "序列号", "产品序列号", "SN", "SN号", "Serial", "Serial no", "Service tag")
ASSET_TAG = ("Asset tag", "资产编号", "固定资产编号", "资产编码", "资产标签", "Barcode", "Inventory number")
PURCHASE_DATE = ("Purchase date", "采购日期", "购买日期", "购置日期", "购入日期", "Purchased", "Date of purchase")
WARRANTY = ("Warranty expires", "保修到期", "保修到期日", "过保日期", "维保到期", "Warranty end", "Warranty")
