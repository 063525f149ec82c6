"""What a cell says before it is read as any field: nothing, a wish to clear, a mistake, or text."""

import re
import unicodedata

from app.core.values import whole
from app.resource.json_fields import clean_text
from app.sheets.workbook import Value

CLEAR = "<clear>"
"""A cell that holds only this empties the field; an empty cell leaves it alone."""

PLACEHOLDERS = frozenset(
    {
        "-",
        "--",
        "—",
        "/",
        "n/a",
        "n.a.",
        "na",
        "nil",
        "none",
        "null",
        "not available",
        "not specified",
        "无",
        "没有",
        "暂无",
        "default string",
        "to be filled by o.e.m.",
    }
)
EXCEL_ERRORS = frozenset({"#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!"})
# As many digits as a spreadsheet keeps of a number.
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")
# What a template engine was to fill in and did not.
_TEMPLATE = re.compile(r"\{\{.*\}\}")


class CellError(Exception):
    """A cell whose value does not fit: which rule, what is wrong, and what was probably meant."""

    def __init__(self, rule: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.suggestion = rule, message, suggestion


def is_placeholder(text: str) -> bool:
    """Whether a text only says that there is nothing."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.lower() in PLACEHOLDERS


def as_number(text: str) -> Value:
    """A number or a truth from delimited text: 42, 1.5 and TRUE; any other text as it is, 007 and 1e5 too."""
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def as_text(value: Value) -> str:
    """A cell as the text that a person reads in it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(whole(value))
    if isinstance(value, str) and "{{" in value and _TEMPLATE.search(value):
        raise CellError("template", "This is a template that nobody has filled in.")
    try:
        return clean_text(str(value))
    except ValueError as error:
        raise CellError("text", str(error)) from None
