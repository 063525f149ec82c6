"""The parameters of a list: from a query string to a ListQuery, its shape apart from its values."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from werkzeug.datastructures import MultiDict

from app.core.errors import BadParameter, RepeatedParameter
from app.core.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE, MAX_PAGE_SIZE
from app.core.messages import tr
from app.core.values import fold
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.resource.query.conditions import bound_value, bound_values
from app.resource.query.filters import LIST_PARAMETERS, Filter, filter_names, unknown
from app.resource.query.json_filters import ATTRIBUTE
from app.resource.query.known_names import check_attribute
from app.resource.query.parameter_values import read_text
from app.resource.query.paths import parse_condition
from app.resource.query.text_search import is_among_searched, search_values, words_of

MAX_SEARCH = 200

_LISTS = frozenset({"sort", "fields"})
"""May be repeated: some clients send a list so, and others separate its items by commas."""

_UNSORTABLE = frozenset({Kind.LIST, Kind.OBJECTS, Kind.ATTRIBUTES, Kind.DOCUMENT})


@dataclass(frozen=True, slots=True)
class Matching:
    """Which rows: the shape of the condition, without its values."""

    filters: tuple[Filter, ...] = ()
    words: tuple[int, ...] = ()
    """The words of `q`, each by the number of its spellings."""
    searched: tuple[int, ...] = ()
    """The filters, by their places, whose text is looked for in the search table first, which has an index."""
    own: bool = False
    """Only what the acting user created; set when rows are selected, not by the request."""

    @property
    def is_planned_by_value(self) -> bool:
        """Whether a filter compares for more than equality: one plan does not fit both narrow and wide ranges.

        To plan a page anew takes 0.4 ms, so filters of equality keep their plan as long as PostgreSQL finds it good.
        """
        return not all(item.is_equality or item.is_inequality for item in self.filters)

    @property
    def is_planned_once(self) -> bool:
        """Whether one plan is the best for all values: most rows match whatever they are, or it has the value."""
        return not (self.words or self.own) and all(item.is_inequality or item.choice for item in self.filters)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list request, parsed: its shape and its values."""

    matching: Matching = Matching()
    values: dict[str, Any] = field(default_factory=dict)
    sort: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    total: Literal["exact", "none"] | None = None
    """Without it, counting ends at MAX_TOTAL."""
    cursor: str | None = None

    @property
    def counted(self) -> bool:
        return self.total != "none"

    def where(self, **conditions: Any) -> "ListQuery":
        """The query narrowed by conditions of the application's own, named like a list's parameters.

        `query.where(service_id=3, action__ne="denied")`. The fields must exist; the values are not checked.
        """
        filters, values = list(self.matching.filters), dict(self.values)
        for parameter, value in conditions.items():
            name, _, operator = parameter.partition("__")
            item = Filter(name, operator, several=isinstance(value, list))
            values[f"p{len(filters)}"] = bound_value(item, value)
            filters.append(item)
        return replace(self, matching=replace(self.matching, filters=tuple(filters)), values=values)


def parse_query(resource: Resource, arguments: MultiDict[str, str], own: Collection[str] = ()) -> ListQuery:
    """Read the parameters of a list request; raises BadRequest for anything that is not understood.

    `own` are further parameters of the route, which a misspelt one may have meant.
    """
    filters: list[Filter] = []
    searched: list[int] = []
    values: dict[str, Any] = {}
    # Of werkzeug's dictionary, an absent parameter is an exception that is made and caught.
    sent = dict(arguments.lists())
    for parameter, texts in sent.items():
        if parameter in LIST_PARAMETERS:
            if len(texts) > 1 and parameter not in _LISTS:
                raise RepeatedParameter(tr("{name} may be given only once.", name=parameter), parameter=parameter)
            continue
        if own and "." not in parameter and parameter.partition("__")[0] not in (names := filter_names(resource)):
            raise unknown("parameter", parameter, [*names, *LIST_PARAMETERS, *own])
        item, value = parse_condition(resource, parameter, texts)
        values |= bound_values(item, value, f"p{len(filters)}")
        if is_among_searched(resource, item, value):
            searched.append(len(filters))
            values |= search_values([(fold(value),)], f"p{len(filters)}_")
        filters.append(item)
    text = read_text("q", sent["q"][0], Kind.TEXT, None) if "q" in sent else ""
    if len(text) > MAX_SEARCH:
        raise BadParameter(
            tr("{parameter} may have at most {max} characters.", parameter="q", max=MAX_SEARCH), parameter="q"
        )
    words = words_of(text)
    values |= search_values(words)
    if "cursor" in sent and "page" in sent:
        raise BadParameter(tr("Give either page or cursor."), parameter="cursor")
    total = _first(sent, "total")
    if total not in (None, "exact", "none"):
        raise BadParameter(
            tr("{parameter} must be one of {choices}.", parameter="total", rule="choice", choices="exact, none"),
            parameter="total",
        )
    return ListQuery(
        matching=Matching(tuple(filters), tuple(map(len, words)), tuple(searched)),
        values=values,
        sort=_parse_sort(resource, ",".join(sent.get("sort", ()))),
        fields=_parse_fields(resource, ",".join(sent["fields"]) if "fields" in sent else None),
        page=_parse_size(sent, "page", 1, MAX_PAGE),
        page_size=_parse_size(sent, "page_size", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
        total=cast("Any", total),
        cursor=_first(sent, "cursor"),
    )


def _first(sent: Mapping[str, Sequence[str]], name: str) -> str | None:
    return sent[name][0] if name in sent else None


def _parse_size(sent: Mapping[str, Sequence[str]], name: str, default: int, largest: int) -> int:
    if (text := _first(sent, name)) is None:
        return default
    size: int = read_text(name, text, Kind.INTEGER, None)
    if not 1 <= size <= largest:
        raise BadParameter(
            tr("{name} must be between 1 and {max}.", rule="range", name=name, min=1, max=largest), parameter=name
        )
    return size


def _parse_sort(resource: Resource, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    valid = sortable(resource)
    for name in names:
        if name.removeprefix("-").startswith(ATTRIBUTE) and "attributes" in resource.fields:
            check_attribute(resource, name.removeprefix("-"), "sort")
        elif name.removeprefix("-") not in valid:
            raise unknown("sort column", name.removeprefix("-"), valid, parameter="sort")
    if len({name.removeprefix("-") for name in names}) < len(names):
        raise BadParameter(tr("{parameter} names a column twice.", parameter="sort"), parameter="sort")
    return names


@functools.cache
def sortable(resource: Resource) -> Sequence[str]:
    """What every list can be sorted by: every simple field, and references by the name of their object.

    An attribute too, as `attributes.<key>`.
    """
    plain = [item.name for item in resource.fields.values() if item.kind not in _UNSORTABLE]
    return [*plain, *resource.references]


def _parse_fields(resource: Resource, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    valid = [*resource.fields, *resource.references]
    names = {name.strip() for name in text.split(",")}
    for name in names:
        if name not in valid:
            raise unknown("field", name, valid, parameter="fields")
    return tuple(sorted(names))
