"""Refuse values that another row or object already has, and warn of those that are rarely shared."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from app.core.db.rules import SoftUnique
from app.core.messages import Message, Term, tr
from app.core.values import as_json
from app.imports.parse.rows import ParsedRow
from app.resource import Resource, singular
from app.resource.fields import defaults_of
from app.resource.rows import visible_ids
from app.resource.uniqueness import (
    Key,
    MemberRule,
    index_rules,
    key_of,
    member_rules,
    shared_key,
    shared_with,
    taken_keys,
)


@dataclass(frozen=True, slots=True)
class _Handover:
    """A unique value that one row takes from the object of another, with the error if that keeps it after all."""

    giver: ParsedRow
    taker: ParsedRow
    add_error: Callable[[], None]


def check_unique(resource: Resource, rows: Sequence[ParsedRow]) -> None:
    """Add an error to each row with a unique value that an earlier row has, or a stored object that keeps it."""
    handovers: list[_Handover] = []
    for fields, folded in index_rules(resource.model):
        handovers += _check_rule(resource, rows, fields, folded)
    for rule in member_rules(resource.model):
        handovers += _check_member_rule(resource, rows, rule)
    by_giver = defaultdict(list)
    for handover in handovers:
        by_giver[id(handover.giver)].append(handover)
    # A row with an error gives nothing up, and so on along the chain.
    failed = [row for row in rows if row.errors and id(row) in by_giver]
    while failed:
        for handover in by_giver.pop(id(failed.pop()), ()):
            handover.add_error()
            failed.append(handover.taker)


def warn_shared(resource: Resource, rows: Sequence[ParsedRow]) -> None:
    """Add a warning to each row whose object would share a value that objects rarely share, such as a rack unit."""
    defaults = defaults_of(resource.model)
    for rule in resource.model.rarely_shared:
        concerned = frozenset(rule.fields)
        first_rows: dict[Key, ParsedRow] = {}
        claims: dict[Key, ParsedRow] = {}
        moving: set[int] = set()
        for row in rows:
            if row.errors or concerned.isdisjoint(row.values):
                continue
            base = defaults if row.existing is None else row.existing
            key = shared_key(rule, resource.model, {name: row.values.get(name, base[name]) for name in rule.fields})
            is_claim = row.existing is None or not concerned.isdisjoint(row.old)
            if row.existing is not None and is_claim:
                moving.add(row.existing["id"])
            if key is None:
                continue
            first = first_rows.setdefault(key, row)
            if first is not row:
                _add_shared_warning(row, rule, _place(first, row))
            elif is_claim:
                claims[key] = row
        stored = shared_with(resource, rule, claims, moving)
        name_of = _namer(resource, stored.values())
        for key, holder in stored.items():
            _add_shared_warning(claims[key], rule, name_of(holder))


def _check_rule(
    resource: Resource, rows: Sequence[ParsedRow], fields: Sequence[str], folded: Sequence[str]
) -> Iterator[_Handover]:
    concerned = frozenset(fields)
    first_rows: dict[Key, ParsedRow] = {}
    claims: dict[Key, ParsedRow] = {}
    after: dict[int, tuple[ParsedRow, Collection[Key | None]]] = {}
    defaults = defaults_of(resource.model)
    for row in rows:
        values = row.values
        if concerned.isdisjoint(values):
            continue
        if row.errors and not concerned.isdisjoint(error["field"] for error in row.errors):
            continue
        base = defaults if row.existing is None else row.existing
        key = key_of([values[name] if name in values else base[name] for name in fields], fields, folded)
        if row.existing is not None:
            after[row.existing["id"]] = row, (key,)
        if key is None:
            continue
        first = first_rows.setdefault(key, row)
        if first is not row:
            add_duplicate_error(row, first, fields[-1])
        elif row.existing is None or any(name in row.old for name in fields):
            claims[key] = row
    item = resource.fields[fields[-1]]

    def add_error(row: ParsedRow, _key: Key, holder: Message) -> None:
        value = row.reference_names.get(item.name, row.values.get(item.name))
        message = tr(
            "{holder} already has the {field} “{value}”: write another one, or change that object too.",
            holder=holder,
            field=item.term,
            value=as_json(value),
        )
        row.add_error(item.name, "taken", message)

    return _settle(resource, claims, taken_keys(resource, claims, fields, folded), after, add_error)


def _check_member_rule(resource: Resource, rows: Sequence[ParsedRow], rule: MemberRule) -> Iterator[_Handover]:
    concerned = {rule.field, *rule.own}
    first_rows: dict[Key, ParsedRow] = {}
    claims: dict[Key, ParsedRow] = {}
    after: dict[int, tuple[ParsedRow, Collection[Key | None]]] = {}
    defaults = defaults_of(resource.model)
    for row in rows:
        if concerned.isdisjoint(row.values) or not concerned.isdisjoint(error["field"] for error in row.errors):
            continue
        keys = set(rule.keys({**(defaults if row.existing is None else row.existing), **row.values}))
        if row.existing is not None:
            after[row.existing["id"]] = row, keys
        for key in keys:
            first = first_rows.setdefault(key, row)
            if first is not row:
                _add_member_error(row, rule, key, "duplicate", _place(first, row))
            elif row.existing is None or not concerned.isdisjoint(row.old):
                claims[key] = row

    def add_error(row: ParsedRow, key: Key, holder: Message) -> None:
        _add_member_error(row, rule, key, "taken", holder)

    # The database knows owners by id: an object that the file itself creates has no stored members yet.
    stored = rule.taken(key for key in claims if not any(isinstance(part, ParsedRow) for part in key))
    return _settle(resource, claims, stored, after, add_error)


def _settle(
    resource: Resource,
    claims: Mapping[Key, ParsedRow],
    stored: Mapping[Key, int],
    after: Mapping[int, tuple[ParsedRow, Collection[Key | None]]],
    add_error: Callable[[ParsedRow, Key, Message], None],
) -> Iterator[_Handover]:
    """Add an error to the rows whose claims are stored with other objects, except those that a row lets go of them.

    `stored` has the object of each key, `after` its row with the keys that it has then. Writing keeps the order of
    handovers: see write_order.py.
    """
    holders = {key: holder for key, holder in stored.items() if holder != claims[key].object_id}
    name_of = _namer(resource, holders.values())
    for key, holder in holders.items():
        refuse = partial(add_error, claims[key], key, name_of(holder))
        giver, keys_after = after.get(holder, (None, ()))
        if giver is None or key in keys_after:
            refuse()
        else:
            yield _Handover(giver, claims[key], refuse)


def _add_member_error(row: ParsedRow, rule: MemberRule, key: Key, code: str, holder: Message) -> None:
    """Add the error to the cell of the list, or to that of the owner where the row does not fill the list."""
    fields = row.table.resource.fields
    field = next((name for name in (rule.field, *rule.own) if name in row.values), rule.field)
    member = "/".join(str(part) for part in reversed(key[len(rule.own) :]))
    terms = [fields[name].term for name in rule.own]
    owner = Term(" and ".join(terms), "和".join(each.chinese for each in terms))
    message = tr(
        "{holder} already has {member} on this {owner}: write another one.", holder=holder, member=member, owner=owner
    )
    row.add_error(field, code, message, value=member)


def _namer(resource: Resource, ids: Iterable[int]) -> Callable[[int], Message]:
    """What to call the object that has a value: with its id only where the acting user sees it."""
    shown, what = visible_ids(resource.model, set(ids)), singular(resource)

    def name_of(holder: int) -> Message:
        if holder in shown:
            return tr("Another {what} ({object_id})", what=what, object_id=holder)
        return tr("Another {what}", what=what)

    return name_of


def _add_shared_warning(row: ParsedRow, rule: SoftUnique, holder: Message) -> None:
    field = next(name for name in reversed(rule.fields) if name in row.values)
    value = row.reference_names.get(field, row.values[field])
    message = tr("{holder} has this {noun} too: check which of the two is right.", holder=holder, noun=rule.noun)
    row.add_warning(row.table.column_of(field), value, "shared", message)


def add_duplicate_error(row: ParsedRow, first: ParsedRow, field: str) -> None:
    what = singular(row.table.resource)
    message = tr("{place} describes the same {what}: leave one of the two out.", place=_place(first, row), what=what)
    row.add_error(field, "duplicate", message)


def _place(other: ParsedRow, row: ParsedRow) -> Message:
    """Where another row stands: with the name of its sheet where that is not the row's own."""
    if other.table is row.table:
        return tr("Row {row}", row=other.number)
    return tr("Row {row} of {sheet}", row=other.number, sheet=other.table.sheet.name)
