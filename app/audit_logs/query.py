"""Asking a log that only grows: pages that are read from an index, totals that stop counting.

The kernel's lists count exactly and sort by any column. Of ten million records both are seconds, so here the order is
that of the log, or of time, and a count ends at MOST_COUNTED.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.util import ClauseAdapter
from werkzeug.datastructures import MultiDict

from app.audit_logs.changed import Changed
from app.audit_logs.declaration import resource
from app.core.audit.models import SEARCHED, AuditLog
from app.core.db.statements import any_of, planned_by_value
from app.core.db.unit_of_work import db, reading
from app.core.errors import BadRequest
from app.core.http.envelope import Page, Pagination, Walk
from app.resource.fields import Kind
from app.resource.projection import Projection, projection_of
from app.resource.query.cursor import SortKey, after, read_cursor, sort_keys, write_cursor
from app.resource.query.filters import Clause, clause_of, parse_filter, read_text, unknown
from app.resource.query.list_query import ListQuery, Matching, parse_query

MOST_COUNTED = 1_000
"""Records that are counted; of more, the answer says that there are at least so many."""
LOOKED_THROUGH = 20_000
"""Records that are looked through from the beginning of an order, before an index is asked for all that match."""
PASSED_OVER = 200_000
"""The same where neither texts nor changes are to be compared: they lie side by side, and are read in no time."""
SCATTERED = 5_000
"""The same where a filter leads to them, each on a page of its own."""
FURTHER = 4
"""How many times as far is looked where the first records promise that it is enough."""
ROWS_AT_ONCE = 1000
"""Records that are held in memory while all of them are read."""

SORTS = ("id", "created_at")
OWN_PARAMETERS = ("field", "from", "to")

logs = AuditLog.__table__


@dataclass(frozen=True, slots=True)
class Question:
    """A request for records: what the kernel understands of it, and what only the log has."""

    listed: ListQuery
    changed: Changed
    found: tuple[int, ...] | None = None
    """The ids of all records that match, where they are few and have been looked up."""
    are_many: bool = False
    """Whether more match than are counted, where that is known."""

    def about(self, user_id: int) -> "Question":
        """The same of what one user did, whatever else is asked for: nobody widens it."""
        item, value = parse_filter(resource, "user_id", [str(user_id)])
        matching = self.listed.matching
        name = f"p{len(matching.filters)}"
        narrowed = Matching((*matching.filters, item), searched=matching.searched)
        return replace(self, listed=replace(self.listed, matching=narrowed, values={**self.listed.values, name: value}))

    @property
    def conditions(self) -> list[Clause]:
        if self.found is not None:
            return [any_of(logs.c.id, self.found)]
        found = [clause_of(resource, item, f"p{at}") for at, item in enumerate(self.listed.matching.filters)]
        if self.listed.matching.searched:
            found.append(sa.literal_column(SEARCHED, sa.Text).like(sa.bindparam("q", type_=sa.Text), escape="\\"))
        if self.changed:
            found.append(self.changed.condition)
        return found

    @property
    def is_read_from_one_index(self) -> bool:
        """Whether an index has just what matches, in the order that it is asked for."""
        return self.found is not None or len(self.conditions) == len(self.bounds)

    @property
    def bounds(self) -> list[Clause]:
        """Conditions by which one index leads to the first records of the order."""
        filters = {f"p{at}": item for at, item in enumerate(self.listed.matching.filters)}
        if "created_at" in self.order[0]:
            leading = [name for name, item in filters.items() if item.name == "created_at" and item.operator in _BOUNDS]
        else:
            equal = {item.name: name for name, item in filters.items() if not item.operator and not item.several}
            leading = [equal[name] for name in _INDEXED if name in equal][:1]
        return [clause_of(resource, filters[name], name) for name in leading]

    @property
    def order(self) -> tuple[str, ...]:
        """The columns of the order; within a range of time it is time's, so that the range is where to begin."""
        column, descending = _sort_column(self.listed.sort)
        if any(item.name == "created_at" and item.operator in _BOUNDS for item in self.listed.matching.filters):
            column = "created_at"
        names = ("id",) if column == "id" else ("created_at", "id")
        return tuple(f"-{name}" for name in names) if descending else names


# The rarest first.
_INDEXED = ("request_id", "resource_id", "user_id", "username", "ip_address", "action", "resource_type")
_BOUNDS = frozenset({"", "gt", "gte", "lt", "lte"})


def parse_question(arguments: MultiDict[str, str]) -> Question:
    """Read the parameters of a request for records; raises BadRequest for anything that is not understood."""
    others = MultiDict((name, value) for name, value in arguments.items(multi=True) if name not in OWN_PARAMETERS)
    listed = parse_query(resource, others)
    question = Question(listed, Changed(*(_read_own(arguments, name) for name in OWN_PARAMETERS)))
    _sort_column(listed.sort)
    return question


def _read_own(arguments: MultiDict[str, str], name: str) -> str | None:
    texts = arguments.getlist(name)
    if len(texts) > 1:
        raise BadRequest(f"{name} may be given only once.", reason="repeated_parameter")
    return read_text(name, texts[0], Kind.TEXT, None) if texts else None


def _sort_column(sort: Sequence[str]) -> tuple[str, bool]:
    """The column of a permitted order, and whether it descends; raises BadRequest."""
    names = [name.removeprefix("-") for name in sort] or ["id"]
    for name in names:
        if name not in SORTS:
            raise unknown("sort column", name, SORTS)
    directions = {name.startswith("-") for name in sort} or {False}
    if len(directions) > 1:
        raise BadRequest("The log is sorted in one direction.", reason="invalid_parameter")
    return names[0], directions.pop()


def select_records(question: Question) -> Page:
    """A page of records, JSON-ready, and where it stands; raises BadRequest for one that is too far to count to."""
    with planned_by_value():
        question = _looked_up(question)
        if question.listed.cursor is not None:
            return _walk(question, question.listed.cursor)
        return _turn_to(question)


def _looked_up(question: Question) -> Question:
    """The question with the ids of its records, where they are few, or that they are many.

    Where no index has just what matches in its order, the planner has to guess whether to read an order until the page
    is full or to find all and to sort them, and a wrong guess takes seconds. What is frequent is many already among the
    first records; the rest is found from the indexes, in no order. If that is little, there is nothing more to do.
    """
    if question.is_read_from_one_index:
        return question
    near = len(_among_the_first(question, MOST_COUNTED + 1))
    # Nearly many are most likely many a little further on.
    if MOST_COUNTED >= near > MOST_COUNTED // FURTHER:
        near = len(_among_the_first(question, MOST_COUNTED + 1, times=FURTHER))
    if near > MOST_COUNTED:
        return replace(question, are_many=True)
    some = sa.select(logs.c.id).where(*question.conditions).limit(MOST_COUNTED + 1)
    with planned_by_value(from_bitmaps=bool(question.changed or question.listed.matching.filters)):
        found = db.session.scalars(some, question.listed.values).all()
    if len(found) > MOST_COUNTED:
        return replace(question, are_many=True)
    return replace(question, found=tuple(found))


def _among_the_first(
    question: Question,
    most: int,
    *,
    beyond: Sequence[Clause] = (),
    places: Mapping[str, Any] | None = None,
    times: int = 1,
) -> Sequence[int]:
    """The ids of at most so many that match, in order, among the first records of the order `beyond` some place.

    These are read from one index: that of the order's range, or of one filter.
    """
    ordered = [key.ordered() for key in sort_keys(resource, question.order)]
    bounds = [*question.bounds, *beyond]
    is_costly = bool(question.changed or question.listed.matching.searched)
    looked_through = LOOKED_THROUGH if is_costly else PASSED_OVER
    if question.bounds and "created_at" not in question.order[0]:
        looked_through = SCATTERED
    first = sa.select(logs).where(*bounds).order_by(*ordered).limit(times * looked_through).subquery("first")
    among = ClauseAdapter(first)
    matching = [among.traverse(condition) for condition in question.conditions]
    statement = sa.select(first.c.id).where(*matching).limit(most)
    return db.session.scalars(statement, {**question.listed.values, **(places or {})}).all()


def _turn_to(question: Question) -> Page:
    listed = question.listed
    offset = (listed.page - 1) * listed.page_size
    total, at_least = count(question) if offset > MOST_COUNTED else (None, False)
    if at_least:
        raise BadRequest(f"Beyond {MOST_COUNTED:,} records, walk by cursor.", reason="page_too_far")
    projection, statement = _statement(question)
    order = [key.ordered() for key in sort_keys(resource, question.order)]
    page = statement.order_by(*order).limit(listed.page_size)
    # Of many, a page is most often among the first; the planner might sort all of them to find out.
    near = _among_the_first(question, offset + listed.page_size) if question.are_many else ()
    if len(near) == offset + listed.page_size:
        page = projection.statement.where(any_of(logs.c.id, near[offset:])).order_by(*order)
    else:
        page = page.offset(offset)
    rows = db.session.execute(page, listed.values).all()
    if not listed.counted:
        total = None
    elif total is None:
        # A page that is not full is the last one: what is before it is all that there is.
        is_last = len(rows) < listed.page_size and (rows or offset == 0)
        total, at_least = (offset + len(rows), False) if is_last else count(question)
    items = [projection.render(row) for row in rows]
    return Page(items, Pagination(listed.page, listed.page_size, total, at_least))


def _walk(question: Question, text: str) -> Page:
    """A page of a walk by cursor; the empty cursor is its beginning."""
    listed, order = question.listed, question.order
    keys = sort_keys(resource, order)
    cursor = read_cursor(text, resource, order, keys) if text else None
    backwards = cursor is not None and cursor.backwards
    projection, statement = _statement(question)
    beyond = [] if cursor is None else [after(keys, cursor.nulls, backwards=backwards)]
    places = cursor.parameters if cursor else {}
    statement = statement.where(*beyond)
    if question.are_many and not backwards:
        near = _among_the_first(question, listed.page_size + 1, beyond=beyond, places=places)
        if len(near) > listed.page_size:
            statement = projection.statement.where(any_of(logs.c.id, near))
    # One row more than asked for tells whether there is a further page.
    statement = _with_places(statement, keys, backwards=backwards).limit(listed.page_size + 1)
    rows = db.session.execute(statement, {**listed.values, **places}).all()
    further, rows = len(rows) > listed.page_size, rows[: listed.page_size]
    rows = rows[::-1] if backwards else rows
    has_next, has_previous = (bool(cursor), further) if backwards else (further, bool(cursor))

    def place(at: int, *, backwards: bool) -> str:
        return write_cursor(resource, order, rows[at][-len(keys) :], backwards=backwards)

    total, at_least = count(question) if listed.counted else (None, False)
    return Page(
        [projection.render(row) for row in rows],
        Walk(
            page_size=listed.page_size,
            total=total,
            next_cursor=place(-1, backwards=False) if rows and has_next else None,
            prev_cursor=place(0, backwards=True) if rows and has_previous else None,
            at_least=at_least,
        ),
    )


def count(question: Question, most: int | None = None) -> tuple[int, bool]:
    """How many records match, and whether that is only where the count ended: at `most`, or at MOST_COUNTED."""
    if question.are_many and most is None:
        return MOST_COUNTED, True
    most = most or MOST_COUNTED
    some = sa.select(sa.literal(1)).select_from(logs).where(*question.conditions).limit(most + 1)
    found = db.session.scalar(sa.select(sa.func.count()).select_from(some.subquery()), question.listed.values) or 0
    return min(found, most), found > most


def walk_all(question: Question, until: int) -> Iterator[dict[str, Any]]:
    """Every record that matches, up to the id `until`, JSON-ready.

    Each thousand is a query of its own, which begins where the one before it ended: nothing is held while the client
    takes its time, neither a connection nor a snapshot.
    """
    with reading(), planned_by_value():
        question = _looked_up(question)
    keys = sort_keys(resource, question.order)
    projection, matching = _statement(question)
    matching = matching.where(logs.c.id <= until)
    first = _with_places(matching, keys).limit(ROWS_AT_ONCE)
    further = _with_places(matching.where(after(keys, [False] * len(keys), backwards=False)), keys).limit(ROWS_AT_ONCE)
    statement = first
    places: dict[str, Any] = {}
    while True:
        with reading(), planned_by_value():
            rows = db.session.execute(statement, {**question.listed.values, **places}).all()
        for row in rows:
            yield projection.render(row)
        if len(rows) < ROWS_AT_ONCE:
            return
        statement, places = further, {f"k{at}": value for at, value in enumerate(rows[-1][-len(keys) :])}


def _statement(question: Question) -> tuple[Projection, sa.Select[Any]]:
    """The records that match, still without an order."""
    projection = projection_of(resource, question.listed.fields)
    return projection, projection.statement.where(*question.conditions)


def _with_places(statement: sa.Select[Any], keys: Sequence[SortKey], *, backwards: bool = False) -> sa.Select[Any]:
    """In the order of the keys, whose values stand behind the columns of the answer."""
    statement = statement.add_columns(*(key.column.label(f"s{at}") for at, key in enumerate(keys)))
    return statement.order_by(*(key.ordered(backwards=backwards) for key in keys))
