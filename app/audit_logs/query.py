"""Queries of the audit log: parsing of the request, the conditions, and the order in which an index serves them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from werkzeug.datastructures import MultiDict

from app.audit_logs.change_filter import ChangeFilter
from app.audit_logs.declaration import resource
from app.audit_logs.names import require_known_terms
from app.audit_logs.own_trail import hide_private
from app.core.audit.models import SEARCHED, AuditLog
from app.core.db.statements import any_of
from app.core.errors import BadParameter, RepeatedParameter
from app.core.messages import tr
from app.resource.fields import Kind
from app.resource.query.conditions import Clause, clause_of
from app.resource.query.filters import parse_filter, unknown
from app.resource.query.list_query import ListQuery, Matching, parse_query
from app.resource.query.parameter_values import read_text
from app.resource.query.text_search import has_words

SORTS = ("id", "created_at")
CREATE = "create"
CHANGE_PARAMETERS = ("field", "from", "to")

logs = AuditLog.__table__


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """A query of the audit log: what every list has, and what must have changed."""

    listed: ListQuery
    changed: ChangeFilter
    matching_ids: tuple[int, ...] | None = None
    """The ids of all matching records, if they are few and have been selected."""
    has_many: bool = False
    """Whether more records match than are counted, if that is known."""
    seen: tuple[Clause, ...] = ()
    """Conditions that leave out what the acting user does not see: few records, in whatever order they are read."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The actions whose records are not searched."""
        return (CREATE,) if self.changed and not self.changed.in_creations else ()

    def about(self, user_id: int) -> "AuditQuery":
        """The same query, narrowed to what one user did and still sees; no filter of the request can widen it."""
        item, value = parse_filter(resource, "user_id", [str(user_id)])
        matching = self.listed.matching
        name = f"p{len(matching.filters)}"
        narrowed = Matching((*matching.filters, item), words=matching.words)
        listed = replace(self.listed, matching=narrowed, values={**self.listed.values, name: value})
        return replace(self, listed=listed, seen=tuple(hide_private(user_id)))

    @property
    def conditions(self) -> list[Clause]:
        if self.matching_ids is not None:
            return [any_of(logs.c.id, self.matching_ids)]
        return [*self._requested, *self.seen]

    @property
    def _requested(self) -> list[Clause]:
        conditions = [clause_of(resource, item, f"p{at}") for at, item in enumerate(self.listed.matching.filters)]
        if self.listed.matching.words:
            conditions.append(has_words(sa.literal_column(SEARCHED, sa.Text), self.listed.matching.words, plain=True))
        if self.changed:
            conditions.append(self.changed.condition)
        return conditions

    @property
    def is_served_by_one_index(self) -> bool:
        """Whether one index holds exactly the matching records, in the requested order."""
        return self.matching_ids is not None or len(self._requested) == len(self.index_conditions)

    @property
    def index_conditions(self) -> list[Clause]:
        """The conditions that select a contiguous range of one index, in the requested order."""
        filters = {f"p{at}": item for at, item in enumerate(self.listed.matching.filters)}
        if "created_at" in self.order[0]:
            names = [name for name, item in filters.items() if item.name == "created_at" and item.operator in _BOUNDS]
        else:
            equal = {item.name: name for name, item in filters.items() if item.is_equality}
            names = [equal[name] for name in _INDEXED if name in equal][:1]
        return [clause_of(resource, filters[name], name) for name in names]

    @property
    def order(self) -> tuple[str, ...]:
        """The columns of the order; with a range of created_at it is by time, so that the index is read from there."""
        column, descending = _sort_column(self.listed.sort)
        if any(item.name == "created_at" and item.operator in _BOUNDS for item in self.listed.matching.filters):
            column = "created_at"
        names = ("id",) if column == "id" else ("created_at", "id")
        return tuple(f"-{name}" for name in names) if descending else names


# The most selective first.
_INDEXED = ("request_id", "resource_id", "user_id", "username", "ip_address", "action", "resource_type")
_BOUNDS = frozenset({"", "gt", "gte", "lt", "lte"})


def parse_audit_query(arguments: MultiDict[str, str]) -> AuditQuery:
    """Parse the parameters of a request for records; raises BadRequest."""
    others = MultiDict((name, value) for name, value in arguments.items(multi=True) if name not in CHANGE_PARAMETERS)
    listed = parse_query(resource, others)
    field, old, new = (_read_text(arguments, name) for name in CHANGE_PARAMETERS)
    changed = ChangeFilter(field, old, new, in_creations=_asks_for_creations(listed))
    _sort_column(listed.sort)
    require_known_terms(listed)
    changed.check()
    return AuditQuery(listed, changed)


def _asks_for_creations(query: ListQuery) -> bool:
    """Whether `create` is among the actions that a query asks for by name."""
    return any(
        CREATE in (value if item.several else [value])
        for position, item in enumerate(query.matching.filters)
        if (item.name, item.operator) == ("action", "") and (value := query.values[f"p{position}"])
    )


def _read_text(arguments: MultiDict[str, str], name: str) -> str | None:
    texts = arguments.getlist(name)
    if len(texts) > 1:
        raise RepeatedParameter(tr("{name} may be given only once.", name=name), parameter=name)
    return read_text(name, texts[0], Kind.TEXT, None) if texts else None


def _sort_column(sort: Sequence[str]) -> tuple[str, bool]:
    """The column of the order, and whether it descends; raises BadRequest."""
    names = [name.removeprefix("-") for name in sort] or ["id"]
    for name in names:
        if name not in SORTS:
            raise unknown("sort column", name, SORTS, parameter="sort")
    directions = {name.startswith("-") for name in sort} or {False}
    if len(directions) > 1:
        raise BadParameter(tr("All columns of sort must have the same direction."), parameter="sort")
    return names[0], directions.pop()
