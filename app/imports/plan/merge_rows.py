"""One object from several rows: sheets that describe the same things, and names that say a number."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from app.core.values import as_json, fold
from app.imports.map.tables import Table
from app.imports.parse.rows import Draft
from app.resource.declaration import Resource
from app.resource.fields import Kind

Planned = tuple[Table, list[Draft]]
Key = tuple[Any, ...]


def number_by_name(resource: Resource, drafts: Sequence[Draft]) -> None:
    """Read the number of a part out of a name such as `node-7:3`, where no column holds it.

    It is done for natural keys of a parent and a number, from texts that repeat the parent's name.
    """
    for key in resource.natural_key:
        *parents, last = key
        if len(parents) != 1 or resource.fields[last].kind is not Kind.INTEGER:
            continue
        if not drafts or drafts[0].table.column_of(last) is not None:
            continue
        for draft in drafts:
            parent = draft.names.get(parents[0])
            if parent is None or last in draft.values:
                continue
            named = re.compile(rf"{re.escape(parent)}[:/#](\d{{1,4}})", re.IGNORECASE)
            texts = [value for value in draft.attributes.values() if isinstance(value, str)]
            numbers = {int(found[1]) for found in map(named.fullmatch, texts) if found}
            if len(numbers) == 1:
                draft.values[last] = numbers.pop()


def meet(planned: Sequence[Planned]) -> None:
    """Let rows of later sheets complete those of earlier ones that describe the same object.

    Two rows of one sheet never meet: there, the second is a mistake.
    """
    if len(planned) < 2:
        return
    resource = planned[0][0].resource
    by_key: dict[tuple[str, ...], dict[Key, Draft]] = {key: {} for key in resource.natural_key}
    by_last: dict[str, dict[Any, list[Draft]]] = defaultdict(lambda: defaultdict(list))
    for _, drafts in planned:
        own: list[Draft] = []
        for draft in drafts:
            first = next(_same(draft, resource, by_key, by_last), None)
            if first is None:
                own.append(draft)
            else:
                _complete(first, draft)
        for draft in own:
            for key in resource.natural_key:
                if draft.values.get(key[-1]) is not None:
                    by_key[key].setdefault(_key(draft, key), draft)
                    by_last[key[-1]][_folded(draft.values[key[-1]])].append(draft)


def _same(
    draft: Draft,
    resource: Resource,
    by_key: dict[tuple[str, ...], dict[Key, Draft]],
    by_last: dict[str, dict[Any, list[Draft]]],
) -> Iterator[Draft]:
    """The earlier row of the same object: of the same natural key, or of the same name where one says no parent."""
    for key in resource.natural_key:
        *parents, last = key
        if draft.values.get(last) is None:
            continue
        if found := by_key[key].get(_key(draft, key)):
            yield found
        alike = by_last[last].get(_folded(draft.values[last]), [])
        if parents and len(alike) == 1 and resource.fields[last].kind is Kind.TEXT:
            one = alike[0]
            if not any(name in row.names for row in (draft, one) for name in parents) or not (
                all(name in row.names for row in (draft, one) for name in parents)
            ):
                yield one


def _key(draft: Draft, key: tuple[str, ...]) -> Key:
    return tuple(_folded(draft.values.get(name)) for name in key)


def _folded(value: Any) -> Any:
    return fold(value) if isinstance(value, str) else value


def _complete(first: Draft, later: Draft) -> None:
    """Give what the later row says to the first; what they say differently is a mistake of the later one."""
    where = f"row {first.row} of {first.table.sheet.name}"
    later.completes = first
    if first.errors:
        later.fail(None, "reference", f"It describes the same object as {where}, which has mistakes.")
    for name, value in later.values.items():
        if name in first.values and _folded(first.values[name]) != _folded(value):
            said = first.names.get(name, as_json(first.values[name]) if name not in first.names else None)
            later.fail(name, "contradiction", f"The same object is described in {where}, which says {said}.")
    for name, value in later.attributes.items():
        if name in first.attributes and first.attributes[name] != value:
            later.fail("attributes", "contradiction", f"{where.capitalize()} says {first.attributes[name]} of {name}.")
    if not later.errors:
        first.values = {**later.values, **first.values}
        first.names = {**later.names, **first.names}
        first.attributes = {**later.attributes, **first.attributes}
        later.warn(None, None, "completes", f"This row completes {where}, which describes the same object.")
