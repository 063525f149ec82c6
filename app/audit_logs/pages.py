"""Pages of the audit log: read from an index, with counts that stop.

The lists of other resources count exactly and sort by any column. Of ten million records both take seconds, so here the
order is that of id or time, and a count ends at MAX_COUNT.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.util import ClauseAdapter

from app.audit_logs.declaration import resource
from app.audit_logs.query import AuditQuery, logs
from app.core.db.models import JsonAsSent, JsonText
from app.core.db.prepared import Prepared
from app.core.db.statements import any_of, planned_by_value
from app.core.db.unit_of_work import db, reading
from app.core.errors import BadRequest
from app.core.http.envelope import Page, Pagination
from app.core.messages import tr
from app.resource.query.conditions import Clause, clause_of
from app.resource.query.list_query import Matching
from app.resource.query.pages.cursor import SortKey, after, cursor_page, read_cursor, sort_keys
from app.resource.rows import Projection, projection_of

MAX_COUNT = 1_000
"""Counting ends here: the answer then has `at_least`."""
SCAN_RECORDS = 20_000
"""Records that are scanned in order before an index is searched for all matches."""
SCAN_RECORDS_IF_CHEAP = 200_000
"""The same where neither texts nor changes are compared: adjacent rows are cheap to read."""
SCAN_RECORDS_BY_FILTER = 5_000
"""The same along the index of a filter, where each record is on a page of its own."""
SCAN_FURTHER = 4
"""How many times as far a second scan goes if the first one found more than a fourth of MAX_COUNT."""
FETCH_RECORDS = 1000
"""Records that are held in memory while all of them are read."""


class PageTooFar(BadRequest):
    reason, message = "page_too_far", tr("Use cursor instead of page to read more records.")


def select_records(query: AuditQuery) -> Page:
    """A page of records, JSON-ready; raises BadRequest for one behind MAX_COUNT."""
    offset = (query.listed.page - 1) * query.listed.page_size
    if query.is_served_by_one_index and query.listed.cursor is None and not query.seen and offset <= MAX_COUNT:
        return _select_indexed_page(query, offset)
    with planned_by_value():
        query = _estimate(query)
        if query.listed.cursor is not None:
            page = _select_cursor_page(query, query.listed.cursor)
        else:
            page = _select_numbered_page(query)
    return replace(page, pagination=replace(page.pagination, left_out=query.left_out))


def _select_indexed_page(query: AuditQuery, offset: int) -> Page:
    """A page whose records and count one index holds, by one statement that is built once for its shape."""
    listed = query.listed
    statement, projection = _indexed_page(
        listed.matching, query.order, listed.fields, listed.page_size, offset, counted=listed.counted
    )
    rows = statement.rows(listed.values)
    total: int | None
    if not listed.counted:
        total, at_least = None, False
    elif len(rows) < listed.page_size and (rows or offset == 0):
        # A page that is not full is the last one, so its end is the total.
        total, at_least = offset + len(rows), False
    else:
        total, at_least = _bounded(rows[0][-1], MAX_COUNT) if rows else count(query)
    return Page(
        [projection.render(row) for row in rows],
        Pagination(listed.page, listed.page_size, total, at_least, left_out=query.left_out),
    )


@functools.lru_cache(maxsize=256)
def _indexed_page(
    matching: Matching,
    order: tuple[str, ...],
    fields: tuple[str, ...] | None,
    page_size: int,
    offset: int,
    *,
    counted: bool,
) -> tuple[Prepared, Projection]:
    """The statement of a page; `counted` adds the count, up to MAX_COUNT, as its last column."""
    projection = projection_of(resource, fields)
    conditions = [clause_of(resource, item, f"p{at}") for at, item in enumerate(matching.filters)]
    # What is sent as it is stored need not be parsed.
    columns = [
        sa.type_coerce(column, JsonAsSent).label(column.name) if isinstance(column.type, JsonText) else column
        for column in projection.statement.selected_columns
    ]
    if counted:
        counted_rows = sa.select(logs.c.id).where(*conditions).limit(_literal(MAX_COUNT + 1)).subquery()
        columns.append(sa.select(sa.func.count()).select_from(counted_rows).scalar_subquery())
    keys = [key.ordered() for key in sort_keys(resource, order)]
    page = projection.statement.with_only_columns(*columns, maintain_column_froms=True).where(*conditions)
    bounded = page.order_by(*keys).limit(_literal(page_size)).offset(_literal(offset) if offset else None)
    # With a parameter, frequent and rare values need different plans; without one PostgreSQL keeps its plan.
    return Prepared(bounded, by_value=bool(matching.filters)), projection


def _literal(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number), sa.Integer)


def _estimate(query: AuditQuery) -> AuditQuery:
    """The query with the ids of the matching records if these are few, or the note that they are many.

    Without an index that holds exactly the matches in the requested order, the planner has to guess whether to scan in
    order until the page is full, or to select all matches and sort them; a wrong guess takes seconds. So it does not
    guess: frequent matches show in a scan of the first records, and rare ones are selected by their indexes, unsorted.
    """
    if query.is_served_by_one_index:
        return query
    count = len(_scan(query, MAX_COUNT + 1))
    # With a fourth of them among the first records, a scan of four times as many most likely finds enough.
    if MAX_COUNT >= count > MAX_COUNT // SCAN_FURTHER:
        count = len(_scan(query, MAX_COUNT + 1, times=SCAN_FURTHER))
    if count > MAX_COUNT:
        return replace(query, has_many=True)
    statement = sa.select(logs.c.id).where(*query.conditions).limit(MAX_COUNT + 1)
    with planned_by_value(from_bitmaps=bool(query.changed or query.listed.matching.filters)):
        ids = db.session.scalars(statement, query.listed.values).all()
    if len(ids) > MAX_COUNT:
        return replace(query, has_many=True)
    return replace(query, matching_ids=tuple(ids))


def _scan(
    query: AuditQuery,
    limit: int,
    *,
    after_cursor: Sequence[Clause] = (),
    cursor_values: Mapping[str, Any] | None = None,
    times: int = 1,
) -> Sequence[int]:
    """The ids of at most `limit` matches, in order, among the first records after a cursor.

    The records are read from one index: that of the order, or that of one filter.
    """
    order = [key.ordered() for key in sort_keys(resource, query.order)]
    conditions = [*query.index_conditions, *after_cursor]
    is_costly = bool(query.changed or query.listed.matching.words)
    records = SCAN_RECORDS if is_costly else SCAN_RECORDS_IF_CHEAP
    if query.index_conditions and "created_at" not in query.order[0]:
        records = SCAN_RECORDS_BY_FILTER
    first = sa.select(logs).where(*conditions).order_by(*order).limit(times * records).subquery("first")
    adapter = ClauseAdapter(first)
    matching = [adapter.traverse(condition) for condition in query.conditions]
    statement = sa.select(first.c.id).where(*matching).limit(limit)
    return db.session.scalars(statement, {**query.listed.values, **(cursor_values or {})}).all()


def _select_numbered_page(query: AuditQuery) -> Page:
    listed = query.listed
    offset = (listed.page - 1) * listed.page_size
    total, at_least = count(query) if offset > MAX_COUNT else (None, False)
    if at_least:
        raise PageTooFar(tr("Use cursor instead of page to read more than {max:,} records.", max=MAX_COUNT))
    projection, statement = _statement(query)
    order = [key.ordered() for key in sort_keys(resource, query.order)]
    page = statement.order_by(*order).limit(listed.page_size)
    # Of many matches, the page is most often among the first records; the planner might sort all of them instead.
    ids = _scan(query, offset + listed.page_size) if query.has_many else ()
    if len(ids) == offset + listed.page_size:
        page = projection.statement.where(any_of(logs.c.id, ids[offset:])).order_by(*order)
    else:
        page = page.offset(offset)
    rows = db.session.execute(page, listed.values).all()
    if not listed.counted:
        total = None
    elif total is None:
        # A page that is not full is the last one, so its end is the total.
        is_last = len(rows) < listed.page_size and (rows or offset == 0)
        total, at_least = (offset + len(rows), False) if is_last else count(query)
    items = [projection.render(row) for row in rows]
    return Page(items, Pagination(listed.page, listed.page_size, total, at_least))


def _select_cursor_page(query: AuditQuery, text: str) -> Page:
    """The page after a cursor; the empty cursor is the beginning."""
    listed, order = query.listed, query.order
    keys = sort_keys(resource, order)
    cursor = read_cursor(text, resource, order) if text else None
    backwards = cursor is not None and cursor.backwards
    projection, statement = _statement(query)
    after_cursor = [] if cursor is None else [after(keys, cursor.nulls, backwards=backwards)]
    cursor_values = cursor.parameters if cursor else {}
    statement = statement.where(*after_cursor)
    if query.has_many and not backwards:
        ids = _scan(query, listed.page_size + 1, after_cursor=after_cursor, cursor_values=cursor_values)
        if len(ids) > listed.page_size:
            statement = projection.statement.where(any_of(logs.c.id, ids))
    # One row more than requested tells whether there is a further page.
    statement = _ordered_with_keys(statement, keys, backwards=backwards).limit(listed.page_size + 1)
    rows = db.session.execute(statement, {**listed.values, **cursor_values}).all()
    total, at_least = count(query) if listed.counted else (None, False)
    return cursor_page(
        resource,
        order,
        cursor,
        rows,
        page_size=listed.page_size,
        render=projection.render,
        total=total,
        at_least=at_least,
    )


def count(query: AuditQuery, limit: int | None = None) -> tuple[int, bool]:
    """The number of matching records up to `limit` or MAX_COUNT, and whether there are more."""
    if query.has_many and limit is None:
        return MAX_COUNT, True
    limit = limit or MAX_COUNT
    matching = sa.select(sa.literal(1)).select_from(logs).where(*query.conditions).limit(limit + 1)
    total = db.session.scalar(sa.select(sa.func.count()).select_from(matching.subquery()), query.listed.values) or 0
    return _bounded(total, limit)


def _bounded(total: int, limit: int) -> tuple[int, bool]:
    return min(total, limit), total > limit


def select_all(query: AuditQuery, last_id: int) -> Iterator[dict[str, Any]]:
    """All matching records up to the id `last_id`, JSON-ready.

    Each FETCH_RECORDS are a query of their own, which continues after the previous one: a slow client holds neither a
    connection nor a snapshot.
    """
    with reading(), planned_by_value():
        query = _estimate(query)
    keys = sort_keys(resource, query.order)
    projection, matching = _statement(query)
    matching = matching.where(logs.c.id <= last_id)
    continued = matching.where(after(keys, [False] * len(keys), backwards=False))
    statement = _ordered_with_keys(matching, keys).limit(FETCH_RECORDS)
    cursor_values: dict[str, Any] = {}
    while True:
        with reading(), planned_by_value():
            rows = db.session.execute(statement, {**query.listed.values, **cursor_values}).all()
        for row in rows:
            yield projection.render(row)
        if len(rows) < FETCH_RECORDS:
            return
        statement = _ordered_with_keys(continued, keys).limit(FETCH_RECORDS)
        cursor_values = {f"k{at}": value for at, value in enumerate(rows[-1][-len(keys) :])}


def _statement(query: AuditQuery) -> tuple[Projection, sa.Select[Any]]:
    """The matching records, without an order."""
    projection = projection_of(resource, query.listed.fields)
    return projection, projection.statement.where(*query.conditions)


def _ordered_with_keys(
    statement: sa.Select[Any], keys: Sequence[SortKey], *, backwards: bool = False
) -> sa.Select[Any]:
    """The statement in the order of the keys, with their values as the last columns of each row."""
    statement = statement.add_columns(*(key.column.label(f"s{at}") for at, key in enumerate(keys)))
    return statement.order_by(*(key.ordered(backwards=backwards) for key in keys))
