"""The text of a cell, before it is read as a field: placeholders, formula errors, lists."""

import re
import unicodedata
from collections.abc import Sequence

import orjson

from app.core.values import clean_text, whole

Value = str | int | float | bool | None
"""The value of a cell as the readers return it."""

CLEAR = "<clear>"
"""A cell that holds only this empties the field; an empty cell leaves it unchanged."""

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
FORMULA_ERRORS = frozenset({"#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!"})
# As many digits as a spreadsheet keeps of a number.
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?")
# A variable that a template engine did not replace.
_TEMPLATE = re.compile(r"\{\{.*\}\}")
_LIST_SEPARATORS = re.compile(r"[,;，；、\n]")


class CellError(Exception):
    """A cell whose value is refused: the rule, a sentence, and the value that was probably meant."""

    def __init__(self, rule: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.suggestion = rule, message, suggestion


def is_placeholder(text: str) -> bool:
    """Whether a text stands for an empty cell: n/a, -, none …"""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.lower() in PLACEHOLDERS


def as_number(text: str) -> Value:
    """A number or boolean in delimited text (42, 1.5, TRUE); any other text unchanged, also 007 and 1e5."""
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def as_text(value: Value) -> str:
    """A cell as the text that a person reads in it; raises CellError."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(whole(value))
    if isinstance(value, str) and "{{" in value and _TEMPLATE.search(value):
        raise CellError("template", "This is a template variable without a value.")
    try:
        return clean_text(str(value))
    except ValueError as error:
        raise CellError("text", str(error)) from None


def split_list(text: str) -> list[str]:
    """The entries of a list in one cell, separated by commas, semicolons or lines."""
    return [entry.strip() for entry in _LIST_SEPARATORS.split(text) if entry.strip()]


def join_list(entries: Sequence[str]) -> str | None:
    """A list as the text of one cell: JSON if `split_list` would not return the same entries."""
    if any(_LIST_SEPARATORS.search(entry) or entry.startswith("[") for entry in entries):
        return orjson.dumps(entries).decode()
    return ", ".join(entries) or None
