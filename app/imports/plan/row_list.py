"""The rows of a plan as the API lists them: filtered, by pages or by a cursor."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from app.catalog import IMPORTABLE
from app.core.db.models import Entity
from app.core.db.statements import any_of
from app.core.db.unit_of_work import db
from app.core.errors import InvalidCursor
from app.core.http.envelope import CursorPage, Page, Pagination
from app.core.messages import tr
from app.imports.models import ImportPart, RowAction
from app.imports.plan.store import PlannedRow, PlanPart, explained, find_part
from app.imports.plan.summary import column_letters
from app.resource.rows import visible, visible_ids

parts = ImportPart.__table__


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of a plan are listed; None is any.

    `rule` and `column` are those of one error or warning of the row; a column is named by its letters, its title or
    its field.
    """

    status: RowAction | None = None
    sheet: str | None = None
    rule: str | None = None
    column: str | None = None
    has_warnings: bool | None = None

    def is_counted(self) -> bool:
        """Whether the parts of a plan know how many of their rows match."""
        return (self.rule, self.column, self.has_warnings) == (None, None, None)

    def accepts(self, row: PlannedRow) -> bool:
        if self.status is not None and row.action != self.status.value:
            return False
        if self.has_warnings is not None and row.has_warnings() is not self.has_warnings:
            return False
        if self.rule is None and self.column is None:
            return True
        return any(self._is_about(message) for message in (*row.errors, *row.warnings))

    def _is_about(self, message: dict[str, Any]) -> bool:
        columns = (column_letters(message), message["column"], message["field"])
        return self.rule in (None, message["rule"]) and (self.column is None or self.column in columns)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Conditions on the parts that may have such rows."""
        conditions = []
        if self.sheet is not None:
            conditions.append(parts.c.sheet == self.sheet[:255])
        if self.status is not None:
            conditions.append(parts.c[self.status.value] > 0)
        if self.has_warnings:
            conditions.append(parts.c.warned > 0)
        if self.rule is not None or self.column is not None:
            conditions.append(sa.or_(parts.c.error > 0, parts.c.warned > 0))
        return conditions


def select_page(import_id: int, row_filter: RowFilter, page: int, page_size: int) -> Page:
    """A page of the rows by its number, with the number of all rows that match."""
    begin, end = (page - 1) * page_size, page * page_size
    items: list[dict[str, Any]] = []
    total = 0
    for first, counted in _counted_parts(import_id, row_filter):
        if row_filter.is_counted() and not (total < end and total + counted > begin):
            total += counted
            continue
        rows = [item for _, item in _items(find_part(import_id, first), row_filter)]
        items += rows[max(begin - total, 0) : max(end - total, 0)]
        total += len(rows)
    return Page(items, Pagination(page, page_size, total))


def select_after(import_id: int, revision: int, row_filter: RowFilter, cursor: str, page_size: int) -> Page:
    """The rows after a cursor; an empty one is the beginning. Raises InvalidCursor for one of another plan."""
    position = _read_cursor(cursor, import_id, revision) if cursor else 0
    selected: list[tuple[int, dict[str, Any]]] = []
    # The last part that begins at the cursor or before holds the row after it, unless the next one does.
    begin = sa.select(sa.func.max(parts.c.first)).where(parts.c.import_id == import_id, parts.c.first <= position + 1)
    start = db.session.scalar(begin) or 0
    for first, _ in _counted_parts(import_id, row_filter, start):
        selected += [row for row in _items(find_part(import_id, first), row_filter) if row[0] > position]
        if len(selected) > page_size:
            break
    shown = selected[:page_size]
    next_cursor = _write_cursor(import_id, revision, shown[-1][0]) if len(selected) > page_size else None
    return Page([item for _, item in shown], CursorPage(page_size, None, next_cursor, None))


def complete_for_reader(items: Sequence[dict[str, Any]]) -> None:
    """Hide what the acting user may not see in the rows of a page, and name what the others refer to."""
    _hide_unseen(items)
    _name_old_references(items)


def _hide_unseen(items: Sequence[dict[str, Any]]) -> None:
    """Leave out what changes of private objects that the acting user sees no more: whose plan it is, may be demoted."""
    for name in {item["resource"] for item in items}:
        model = IMPORTABLE[name].model
        own = [item for item in items if item["resource"] == name and item["id"] is not None]
        seen = visible_ids(model, [item["id"] for item in own])
        for item in own:
            if item["id"] not in seen:
                item["changes"] = {}


def _name_old_references(items: Sequence[dict[str, Any]]) -> None:
    """Show the old value of a reference as {"id", "name"}, as the new one is; the name of a deleted object is null.

    One query for each model that the rows of the page refer to.
    """
    changes: dict[type[Entity], list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        fields = IMPORTABLE[item["resource"]].fields
        for name, change in item["changes"].items():
            target = fields[name].target
            if target is not None and change["old"] is not None:
                changes[target].append(change)
    for target, own in changes.items():
        table = target.__table__
        is_old = any_of(table.c.id, {change["old"] for change in own})
        names = dict(
            db.session.execute(sa.select(table.c.id, table.c[target.label]).where(is_old, *visible(target))).all()
        )
        for change in own:
            change["old"] = {"id": change["old"], "name": names.get(change["old"])}


def _counted_parts(import_id: int, row_filter: RowFilter, start: int = 0) -> list[tuple[int, int]]:
    """The first position of each part that may have such rows, and the number of its rows with that status."""
    actions = RowAction if row_filter.status is None else (row_filter.status,)
    count = sum((parts.c[action.value] for action in actions), sa.literal(0)).label("count")
    where = parts.c.import_id == import_id, parts.c.first >= start, *row_filter.conditions()
    return [tuple(row) for row in db.session.execute(sa.select(parts.c.first, count).where(*where).order_by("first"))]


def _items(part: PlanPart | None, row_filter: RowFilter) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a part that pass the filter, each with its position; none of a part that was deleted meanwhile."""
    if part is None:
        return
    created = iter(part.created_ids or ())
    for position, row in enumerate(part.rows, part.first):
        object_id = next(created, None) if row.action == RowAction.CREATE.value else row.object_id
        if not row_filter.accepts(row):
            continue
        old = row.old or {}
        yield (
            position,
            {
                "sheet": part.sheet,
                "row": row.row,
                "resource": part.resource,
                "action": row.action,
                "id": object_id,
                "changes": {name: {"old": old.get(name), "new": value} for name, value in row.new.items()},
                "errors": explained(row.errors),
                "warnings": explained(row.warnings),
                "more_warnings": row.more_warnings,
            },
        )


def _read_cursor(text: str, import_id: int, revision: int) -> int:
    try:
        plan, position = _serializer().loads(text)
    except (BadData, ValueError, TypeError):
        raise InvalidCursor(parameter="cursor") from None
    if plan != [import_id, revision]:
        raise InvalidCursor(tr("This cursor belongs to another plan."), parameter="cursor")
    return int(position)


def _write_cursor(import_id: int, revision: int, position: int) -> str:
    return str(_serializer().dumps([[import_id, revision], position]))


def _serializer() -> URLSafeSerializer:
    # Signed, so that what comes back can be trusted to be a position.
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="cursor of import rows")
