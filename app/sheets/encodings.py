"""Encodings of delimited text: those that can be named, and which of them a name means."""

import codecs

from app.core.messages import tr

ENCODINGS = {
    "utf-8": "Unicode",
    "utf-16": "Unicode, as Excel saves it",
    "cp1250": "Central European, Windows",
    "cp1251": "Cyrillic, Windows",
    "cp1252": "Western European, Windows",
    "cp1253": "Greek, Windows",
    "cp1254": "Turkish, Windows",
    "cp1255": "Hebrew, Windows",
    "cp1256": "Arabic, Windows",
    "cp1257": "Baltic, Windows",
    "cp1258": "Vietnamese, Windows",
    "cp874": "Thai, Windows",
    "mac-roman": "Western European, Macintosh",
    "koi8-r": "Cyrillic, Unix",
    "cp866": "Cyrillic, DOS",
    "iso8859-2": "Central European, Unix",
    "gb18030": "Chinese, simplified",
    "cp950": "Chinese, traditional, Big5",
    "cp932": "Japanese, Shift-JIS",
    "euc_jp": "Japanese, EUC",
    "cp949": "Korean, EUC-KR",
}
"""What `encoding=` takes, and the writing of each. Where one contains another, it is the larger: GBK is GB18030."""
LARGER = {
    "utf-16-le": "utf-16",
    "utf-16-be": "utf-16",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "cp950",
    "big5hkscs": "cp950",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "euc_jis_2004": "euc_jp",
    "iso8859-1": "cp1252",
    "ascii": "utf-8",
    "utf-8-sig": "utf-8",
}
"""The encoding in ENCODINGS that contains another one, by the name that Python gives that one."""
_NAMES = {codecs.lookup(name).name: name for name in ENCODINGS}


def named_encoding(name: str) -> str:
    """The encoding that a name in any spelling means, such as `Windows-1251`; raises ValueError."""
    try:
        plain = codecs.lookup(name.strip()).name
        return _NAMES[codecs.lookup(LARGER.get(plain, plain)).name]
    except (LookupError, ValueError):
        raise ValueError(tr("Must be one of {choices}.", rule="choice", choices=", ".join(ENCODINGS))) from None
