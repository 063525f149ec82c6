"""What each column of a table fills: a field, an attribute, or nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.imports.map.tables import Column, Table, Use, problem
from app.imports.map.titles import Match, key_of, match, near_miss, take_apart, without_marks
from app.imports.models import Extra
from app.resource.fields import Field
from app.sheets.column_letters import letters
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX, IDENTITY, SKIPPED, STATUS, VERSION
from app.sheets.workbook import Value

SYSTEM = {IDENTITY: (Use.IDENTITY, "id"), VERSION: (Use.VERSION, "version"), STATUS: (Use.STATUS, None)}
"""The columns by which an export says which object a row was made of, and when, and a report what becomes of it."""

_MOST_NAMED = 20


def assign(table: Table, header: Sequence[Value], mapping: Mapping[str, Any], extra: Extra) -> None:
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
        if title in SYSTEM:
            use, name = SYSTEM[title]
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
    _leave_out(table)


def _leave_out(table: Table) -> None:
    """Leave out the rows whose status says so: the example of a template, and what an operator skips."""
    places = [column.index for column in table.columns if column.use is Use.STATUS]
    if not places:
        return
    for number, cells in table.rows():
        if any(at < len(cells) and key_of(str(cells[at] or "")) in SKIPPED for at in places):
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
