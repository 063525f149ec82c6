"""Find the row of the titles among the first rows of a sheet, and the rows below that are no objects."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.catalog import IMPORTABLE
from app.imports.map.columns import SYSTEM_COLUMNS
from app.imports.map.summary_words import NOTES, TOTALS
from app.imports.map.titles import match_title, title_key
from app.resource import Resource
from app.sheets.cells import UNCOMPUTED, Value

MAX_TITLE = 255
MAX_EXPLAINING_ROWS = 3
"""Rows between the header and the objects: type words, names of fields, which are required."""

MIN_FULL_ROW = 3
"""Cells that all rows above a note have, so that a row of one cell stands out."""
MIN_OTHER_TITLES = 3
"""Known titles that begin another table where none of them repeats a title of the first."""

_TYPE_WORDS = frozenset(
    {
        *("string", "text", "str", "varchar", "char", "integer", "int", "number", "float", "double", "decimal"),
        *("boolean", "bool", "date", "datetime", "time", "enum", "list", "json", "required", "optional"),
        *("字符串", "短字符", "长字符", "文本", "整数", "整型", "数字", "浮点", "浮点数", "布尔", "日期", "时间"),
        *("枚举", "列表", "用户", "必填", "选填", "可选"),
    }
)
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COLON = re.compile("[:：]")
_AMOUNT = re.compile(r"[^\w\s]?\s*[-+]?\d[\d.,' ]*\s*([^\W\d]{1,3}|%)?")


def header_at(rows: Sequence[Sequence[Value]], scores: Sequence[int]) -> int:
    """The row with most titles; but an earlier row of texts, if that one is rather a row of data with a few aliases."""
    best = scores.index(max(scores))
    filled = [[cell for cell in row if cell not in (None, "")] for row in rows[: best + 1]]
    if scores[best] * 2 >= len(filled[best]):
        return best
    first = (at for at, cells in enumerate(filled) if len(cells) >= len(filled[best]) and all(map(_is_word, cells)))
    return next(first, best)


def _is_word(cell: Value) -> bool:
    return isinstance(cell, str) and not any(letter.isdigit() for letter in cell)


def with_titles_above(
    rows: Sequence[Sequence[Value]], at: int, resource: Resource, mapping: Mapping[str, Any]
) -> Sequence[Value]:
    """A row whose empty cells take the titles of the row above: titles beside a group are merged over both rows."""
    row = rows[at]
    if not at or not score(row, resource, mapping):
        return row
    width = max(len(row), len(rows[at - 1]))
    lower, upper = ([*cells, *[None] * (width - len(cells))] for cells in (row, rows[at - 1]))
    return [
        above if own in (None, "") and score([above], resource, mapping) else own
        for own, above in zip(lower, upper, strict=True)
    ]


def explaining_rows(rows: Sequence[Sequence[Value]]) -> int:
    """The number of rows below the header that explain it: type words, then names of fields."""
    explaining = 0
    for row in rows[:MAX_EXPLAINING_ROWS]:
        texts = [str(value).strip() for value in row if value not in (None, "")]
        has_types = texts and all(title_key(text) in _TYPE_WORDS for text in texts)
        # Lower-case words may be data: they are names of fields only below a row of type words.
        has_names = explaining and any("_" in text for text in texts) and all(map(_FIELD_NAME.fullmatch, texts))
        if not has_types and not has_names:
            break
        explaining += 1
    return explaining


def score(row: Sequence[Value], resource: Resource, mapping: Mapping[str, Any]) -> int:
    """The number of different fields that a row would name as the header."""
    named = set()
    for value in row:
        if isinstance(value, str) and len(value) <= MAX_TITLE:
            match = match_title(value, resource)
            if value.strip() in mapping or value.strip() in SYSTEM_COLUMNS:
                named.add(value)
            elif match is not None:
                named.add(match.field.name)
    return len(named)


@dataclass(slots=True)
class OtherRows:
    """The numbers of the totals and notes of a sheet, and of the rows of another table."""

    totals_and_notes: list[int] = field(default_factory=list)
    second_table: list[int] = field(default_factory=list)


def find_other_rows(
    rows: Iterable[tuple[int, Sequence[Value]]], header: Sequence[Value], *, is_text: bool
) -> OtherRows:
    """Tell objects from other rows, given the rows below the titles that are not blank; in doubt, a row is an object.

    Blank rows inside of a table are common: what follows one is another table only if it begins with titles. In
    delimited text a sentence without a delimiter at the end of the file is a note: a line that is cut off has no space.
    """
    titles, other = _filled(header), OtherRows()
    half = len(titles) // 2
    notes: list[int] = []
    caption: int | None = None
    previous, narrowest, is_second = 0, len(titles), False
    for number, cells in rows:
        after_blank = 0 < previous < number - 1
        previous = number
        # Fast path of a row that is half filled at least; count() takes a third of the time of a list.
        width = len(cells) - cells.count(None) - cells.count("")
        if 1 < width > half and not (after_blank or caption or is_second) and _is_plain(cells[0]):
            notes, narrowest = [], min(narrowest, width)
            continue
        filled = _filled(cells)
        if (after_blank or caption) and _begins_table(filled, titles):
            other.second_table += [row for row in (caption, number) if row]
            notes = [row for row in notes if row != caption]
            # The same titles again, as on each page of a printed list: the table goes on below them.
            is_second = filled != titles
        elif is_second:
            other.second_table.append(number)
        elif _is_total(filled) or (_is_note(filled) and len(filled) * 2 <= len(titles)):
            other.totals_and_notes.append(number)
        elif _is_sentence(filled) and (
            (is_text and len(cells) == 1 < len(titles)) or ((after_blank or notes) and narrowest >= MIN_FULL_ROW)
        ):
            notes.append(number)
        else:
            # What looked like notes at the end is followed by an object.
            notes, narrowest = [], min(narrowest, len(filled))
        caption = number if after_blank and len(filled) == 1 else None
    other.totals_and_notes = sorted(other.totals_and_notes + notes)
    return other


def _filled(cells: Sequence[Value]) -> list[Value]:
    return [cell for cell in cells if cell not in (None, "")]


def _begins_table(filled: Sequence[Value], titles: Sequence[Value]) -> bool:
    """Whether a row of words is titles: half of them known, and one repeats a title of the first table or many are."""
    if len(filled) < 2 or not all(map(_is_word, filled)):
        return False
    recognised = max(score(filled, resource, {}) for resource in IMPORTABLE.values())
    repeated = {title_key(str(title)) for title in titles} & {title_key(str(cell)) for cell in filled}
    return recognised * 2 >= len(filled) and (bool(repeated) or recognised >= MIN_OTHER_TITLES)


def _is_plain(first: Value) -> bool:
    """Whether a row with this first cell is no row of totals; no word for totals ends with a digit, as names do."""
    return first not in (None, "") and (str(first)[-1].isdigit() or not _names_total(first))


def _names_total(cell: Value) -> bool:
    return isinstance(cell, str) and _word(cell.strip().rstrip(":：")) in TOTALS


def _is_total(filled: Sequence[Value]) -> bool:
    first, *others = filled
    return _names_total(first) and all(map(_is_amount, others))


def _is_amount(cell: Value) -> bool:
    return not isinstance(cell, str) or cell == UNCOMPUTED or bool(_AMOUNT.fullmatch(cell.strip()))


def _is_note(filled: Sequence[Value]) -> bool:
    if not isinstance(filled[0], str):
        return False
    first, *rest = _COLON.split(filled[0], maxsplit=1)
    return bool(rest) and _word(first) in NOTES


def _word(text: str) -> str:
    """A text in the form of the words for totals and notes."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.strip().replace("-", " ").lower()


def _is_sentence(filled: Sequence[Value]) -> bool:
    return len(filled) == 1 and isinstance(filled[0], str) and " " in filled[0].strip()
