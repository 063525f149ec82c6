"""Where the tables of a workbook are: which sheet holds which resource, its header row, what each column is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from itertools import islice
from typing import Any

from app.catalog import CATALOG
from app.resource.declaration import Resource
from app.resource.fields import Field
from app.transfer.addresses import LEAVES_OUT, STATUS, letters
from app.transfer.models import Extra
from app.transfer.titles import Match, key_of, match, near_miss, take_apart, without_marks
from app.transfer.workbook import Sheet, Value, Workbook

HEADER_WITHIN = 20
"""Rows of a sheet among which its header is looked for."""
MAX_TITLE = 255
ATTRIBUTE_PREFIX = "attributes."
"""With it an export titles the columns of attributes, so that none is taken for a field."""
ENOUGH_COLUMNS = 3
"""Columns by which a sheet is known whose title says nothing."""
MOST_ROWS_BELOW = 3
"""Rows between the titles and the objects: type words, names of fields, what is required."""

_TYPE_WORDS = frozenset(
    {
        *("string", "text", "str", "varchar", "char", "integer", "int", "number", "float", "double", "decimal"),
        *("boolean", "bool", "date", "datetime", "time", "enum", "list", "json", "required", "optional"),
        *("字符串", "短字符", "长字符", "文本", "整数", "整型", "数字", "浮点", "浮点数", "布尔", "日期", "时间"),
        *("枚举", "列表", "用户", "必填", "选填", "可选"),
    }
)
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")

IMPORTABLE = {name: resource for name, resource in CATALOG.items() if name != "users"}
"""People are invited, not imported: a spreadsheet of passwords and roles is no way to make administrators."""


class Use(Enum):
    """What becomes of a column."""

    FIELD = "field"
    IDENTITY = "identity"
    VERSION = "version"
    STATUS = "status"
    ATTRIBUTE = "attribute"
    IGNORED = "ignored"


_SYSTEM = {"_id": (Use.IDENTITY, "id"), "_version": (Use.VERSION, "version"), STATUS: (Use.STATUS, None)}
"""The columns by which an export says which object a row was made of, and when, and a report what becomes of it."""

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `scale` brings its numbers into the unit of its field."""

    index: int
    title: str
    use: Use
    field: Field | None = None
    attribute: str | None = None
    scale: float = 1.0

    def cell(self, row: int) -> str:
        """The address of its cell in a row, as the spreadsheet shows it."""
        return f"{letters(self.index)}{row}"

    def describe(self) -> dict[str, Any]:
        return {
            "column": letters(self.index),
            "title": self.title,
            "use": self.use.value,
            "field": self.field.name if self.field else None,
            "attribute": self.attribute,
        }


@dataclass(frozen=True, slots=True)
class Remembered:
    """A mapping that its user has named, and the resource of the sheets that it was made for."""

    id: int
    name: str
    resource: str
    mapping: Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """A sheet that holds objects of one resource. `problems` are about the sheet as a whole.

    `signature` stands for its titles; by it the mapping that was `remembered` for them is known.
    """

    sheet: Sheet
    resource: Resource
    header_row: int
    first_row: int
    columns: list[Column]
    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)
    signature: str = ""
    remembered: Remembered | None = None

    def rows(self) -> Iterator[tuple[int, list[Value]]]:
        """The cells of each row of objects, with its number: neither blank nor left out by its own wish."""
        for number, cells in islice(enumerate(self.sheet.rows(), 1), self.first_row - 1, None):
            if number not in self.left_out and any(cell not in (None, "") for cell in cells):
                yield number, cells

    def column_of(self, name: str) -> Column | None:
        return next((item for item in self.columns if item.field and item.field.name == name), None)


def find_tables(
    book: Workbook,
    resource: Resource | None,
    mapping: Mapping[str, Any],
    extra: Extra,
    remembered: Mapping[str, Remembered],
) -> tuple[list[Table], list[str]]:
    """The tables in the order of the catalog, so that what is referred to comes first, and the unknown sheets.

    A sheet is known by its title; `resource` is what the others hold, if the request says so, and else what was
    `remembered` for their titles, or their columns. What was remembered stands in for the mapping, too.
    """
    tables: list[Table] = []
    unknown: list[str] = []
    for sheet in book.sheets:
        if sheet.name.startswith("_"):
            # What only the workbook itself needs, such as the lists of a template.
            continue
        kept = next((remembered[sign] for sign in map(signature_of, _top(sheet)) if sign in remembered), None)
        own = kept.mapping if kept else mapping
        held = _resource_titled(sheet.name) or resource or (IMPORTABLE.get(kept.resource) if kept else None)
        held = held or _resource_of_columns(sheet, own)
        if held is None:
            unknown.append(sheet.name)
        elif sheet.row_count:
            table = _read_table(sheet, held, own, extra)
            if kept is not None:
                table.remembered = kept
                table.notes.append(f"Its columns are read as you had them remembered: {kept.name}.")
            tables.append(table)
    order = list(IMPORTABLE)
    tables.sort(key=lambda table: order.index(table.resource.name))
    return tables, unknown


def signature_of(titles: Sequence[Value]) -> str:
    """What stands for the titles of a sheet, in whatever order they are."""
    texts = sorted({title.strip() for title in titles if isinstance(title, str)})
    return sha256("\n".join(texts).encode()).hexdigest()[:32]


def _resource_titled(name: str) -> Resource | None:
    key = key_of(name)
    for resource in IMPORTABLE.values():
        if key in {key_of(title) for title in (resource.name, *resource.titles)}:
            return resource
    return None


def _resource_of_columns(sheet: Sheet, mapping: Mapping[str, Any]) -> Resource | None:
    """The resource of which a sheet has clearly more columns than of any other."""
    rows = _top(sheet)
    scores = {name: max((_score(row, item, mapping) for row in rows), default=0) for name, item in IMPORTABLE.items()}
    first, second = sorted(scores, key=lambda name: -scores[name])[:2]
    return IMPORTABLE[first] if scores[first] >= ENOUGH_COLUMNS and scores[first] > scores[second] else None


def _top(sheet: Sheet) -> list[list[Value]]:
    return list(islice(sheet.rows(), HEADER_WITHIN))


def _read_table(sheet: Sheet, resource: Resource, mapping: Mapping[str, Any], extra: Extra) -> Table:
    rows = _top(sheet)
    headers = [_with_titles_above(rows, at, resource, mapping) for at in range(len(rows))]
    scores = [_score(row, resource, mapping) for row in headers]
    best = scores.index(max(scores))
    first_row = best + 2 + _rows_below(rows[best + 1 :])
    table = Table(sheet, resource, best + 1, first_row, [], signature=signature_of(rows[best]))
    if not scores[best]:
        table.problems.append(problem("no_header", f"None of the first {len(rows)} rows holds the titles of columns."))
        return table
    _assign(table, headers[best], mapping, extra)
    _leave_out(table)
    return table


def _with_titles_above(
    rows: Sequence[Sequence[Value]], at: int, resource: Resource, mapping: Mapping[str, Any]
) -> Sequence[Value]:
    """A row with the titles that reach down to it from the row above, as those beside a group of columns do."""
    row = rows[at]
    if not at or not _score(row, resource, mapping):
        return row
    width = max(len(row), len(rows[at - 1]))
    lower, upper = ([*cells, *[None] * (width - len(cells))] for cells in (row, rows[at - 1]))
    return [
        above if own in (None, "") and _score([above], resource, mapping) else own
        for own, above in zip(lower, upper, strict=True)
    ]


def _rows_below(rows: Sequence[Sequence[Value]]) -> int:
    """How many rows below the titles only explain them: type words, and then the names of fields."""
    explained = 0
    for row in rows[:MOST_ROWS_BELOW]:
        texts = [str(value).strip() for value in row if value not in (None, "")]
        typed = texts and all(key_of(text) in _TYPE_WORDS for text in texts)
        # Lower-case words may be data, so that only type words above them make them names of fields.
        named = explained and any("_" in text for text in texts) and all(map(_FIELD_NAME.fullmatch, texts))
        if not typed and not named:
            break
        explained += 1
    return explained


def _score(row: Sequence[Value], resource: Resource, mapping: Mapping[str, Any]) -> int:
    """How many different fields a row's texts name, if it were the header."""
    named = set()
    for value in row:
        if isinstance(value, str) and len(value) <= MAX_TITLE:
            found = match(take_apart(value), resource)
            if value.strip() in mapping or value.strip() in _SYSTEM:
                named.add(value)
            elif found is not None:
                named.add(found[1].name)
    return len(named)


def _assign(table: Table, header: Sequence[Value], mapping: Mapping[str, Any], extra: Extra) -> None:
    """Decide for each column what it fills. Of two that name one field the better spelling does."""
    titles = {index: str(value).strip() for index, value in enumerate(header) if value not in (None, "")}
    matches: dict[int, Match] = {}
    for index, title in titles.items():
        found = _mapped(title, table, mapping) if title in mapping else match(take_apart(title), table.resource)
        if found is not None:
            matches[index] = found
    best: dict[Field, int] = {}
    for index, (rank, item, _) in matches.items():
        if item not in best or rank < matches[best[item]][0]:
            best[item] = index
    for index, title in titles.items():
        if title in _SYSTEM:
            use, name = _SYSTEM[title]
            table.columns.append(Column(index, title, use, table.resource.fields[name] if name else None))
        elif title in mapping and not mapping[title]:
            table.columns.append(Column(index, title, Use.IGNORED))
        elif title.startswith(ATTRIBUTE_PREFIX) and "attributes" in table.resource.fields:
            key = title.removeprefix(ATTRIBUTE_PREFIX)
            table.columns.append(Column(index, title, Use.ATTRIBUTE, attribute=key))
        elif index in matches:
            table.columns.append(
                _filled(table, index, title, matches[index], wins=best[matches[index][1]] == index, extra=extra)
            )
        else:
            _question(table, index, title, best, extra)
            table.columns.append(_kept(table, index, title, extra))
    _name_by_another(table)


def _leave_out(table: Table) -> None:
    """Leave out the rows whose status says so: the example of a template, and what an operator skips."""
    places = [column.index for column in table.columns if column.use is Use.STATUS]
    if not places:
        return
    for number, cells in table.rows():
        if any(at < len(cells) and key_of(str(cells[at] or "")) in LEAVES_OUT for at in places):
            table.left_out.add(number)
    if table.left_out:
        rows = ", ".join(map(str, sorted(table.left_out)[:_MOST_NAMED]))
        more = ", …" if len(table.left_out) > _MOST_NAMED else ""
        table.notes.append(f"Left out, because {STATUS} says so: row {rows}{more}.")


def _name_by_another(table: Table) -> None:
    """Where no column holds the name, let one stand in for it whose title is an alias of both fields."""
    label = table.resource.fields[table.resource.model.label]
    if table.column_of(label.name) is not None:
        return
    aliases = {key_of(alias) for alias in label.aliases}
    for column in table.columns:
        if column.use is Use.FIELD and key_of(without_marks(column.title)) in aliases:
            table.columns.append(replace(column, field=label))
            table.notes.append(f"{column.title} stands in for {label.title}, which no column holds.")
            return


def _mapped(title: str, table: Table, mapping: Mapping[str, Any]) -> Match | None:
    name = mapping[title]
    item = table.resource.fields.get(name) or table.resource.references.get(name) if name else None
    if name and item is None:
        table.problems.append(problem("unknown_field", f"The mapping of {title} names no field: {name}."))
    return (-1, item, 1.0) if item is not None else None


def _filled(table: Table, index: int, title: str, found: Match, *, wins: bool, extra: Extra) -> Column:
    _, item, scale = found
    if item.read_only:
        table.notes.append(f"{title} is set by the platform alone; the column is ignored.")
        return Column(index, title, Use.IGNORED, item)
    if wins:
        return Column(index, title, Use.FIELD, item, scale=scale)
    table.notes.append(f"{title} would fill {item.title} too, which another column fills.")
    return _kept(table, index, title, extra)


def _question(table: Table, index: int, title: str, best: Mapping[Field, int], extra: Extra) -> None:
    """Note what is wrong with a title that names no field: it misspells one, or strangers are refused."""
    where = {"column": letters(index), "title": title}
    label = near_miss(take_apart(title), table.resource, best)
    if label is not None:
        message = f"There is no column {title}. Did you mean {label}?"
        table.problems.append(problem("misspelt_column", message, **where, suggestion=label))
    elif extra is Extra.REFUSE:
        table.problems.append(problem("unknown_column", f"There is no column {title}.", **where))


def _kept(table: Table, index: int, title: str, extra: Extra) -> Column:
    """A column that is nobody's field: kept as an attribute where the resource has attributes."""
    if extra is Extra.KEEP and "attributes" in table.resource.fields:
        taken = {column.attribute for column in table.columns}
        key = attribute_key(title) or f"column_{letters(index).lower()}"
        while key in taken:
            key = f"{key[:60]}_{letters(index).lower()}"
        return Column(index, title, Use.ATTRIBUTE, attribute=key)
    table.notes.append(f"{title} is not a column of {table.resource.titles[0].lower()}; it is ignored.")
    return Column(index, title, Use.IGNORED)


def attribute_key(title: str) -> str:
    """The name of the attribute that keeps a column: `GPU Share (milli)` is `gpu_share_milli`."""
    return re.sub(r"[\W_]+", "_", without_marks(title).lower()).strip("_")[:64]


def problem(rule: str, message: str, **facts: Any) -> dict[str, Any]:
    return {"rule": rule, "message": message, **facts}
