"""Check what is set about sheets, by a correction, an upload or a known format, against their resources."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from app.catalog import CATALOG, IMPORTABLE
from app.core.http.access import Role
from app.core.messages import tr
from app.imports.map.columns import ColumnMapping, ColumnUse, target_column
from app.imports.parse.cells import read_attribute, reader_of
from app.imports.parse.set_values import read_constant
from app.imports.plan.missing import CREATABLE, may_create
from app.imports.settings import SheetSettings
from app.resource import Kind, Resource, plural
from app.resource.json_fields import ATTRIBUTE_KEY
from app.sheets.cells import CellError, unit_factor
from app.sheets.reserved_titles import ATTRIBUTE_PREFIX

_MATCHED_KINDS = (Kind.TEXT, Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.REFERENCE)

Errors = Iterator[tuple[str, str]]
"""What is wrong with which setting, by its dotted name."""


def check_resource_settings(settings: SheetSettings, resource: Resource) -> Errors:
    """Errors of the settings that name fields, apart from `columns`."""
    yield from _value_errors(settings, resource)
    yield from check_constants(settings.constants, resource)
    yield from _unit_errors(settings, resource)
    yield from _fallback_errors(settings, resource)
    yield from _match_errors(settings, resource)


def check_constants(constants: Mapping[str, Any], resource: Resource) -> Errors:
    for target, value in constants.items():
        column, error = find_target(resource, target)
        if column is None:
            yield f"constants.{target}", error
        elif message := _refusal(partial(read_constant, column), value):
            yield f"constants.{target}", message


def check_file_settings(settings: Mapping[str, Any], role: Role | None, resource: Resource | None = None) -> Errors:
    """Errors of what is set about all sheets of a file, for a user with a role; None where there is no such user."""
    yield from check_missing(settings.get("create_missing", ()), role)
    yield from check_file_constants(settings.get("constants", {}), resource)


def check_file_constants(constants: Mapping[str, Any], resource: Resource | None) -> Errors:
    """Errors of constants that are set for all sheets of a file: some importable resource has to take each of them."""
    resources = [resource] if resource else list(IMPORTABLE.values())
    for target, value in constants.items():
        errors = [list(check_constants({target: value}, item)) for item in resources]
        if all(errors):
            # That of the resource which has such a field, if there is one.
            yield from next(
                (own_errors for item, own_errors in zip(resources, errors, strict=True) if takes(item, target)),
                errors[0],
            )


def takes(resource: Resource, target: str) -> bool:
    """Whether a resource has a field, or attributes, that a column may fill."""
    return find_target(resource, target)[0] is not None


def check_missing(names: Sequence[str], role: Role | None) -> Errors:
    """Errors of the resources whose missing objects are to be created by a user with a role."""
    for name in names:
        if name not in CREATABLE:
            yield (
                "create_missing",
                tr("{value} is not one of {choices}.", rule="choice", value=name, choices=", ".join(CREATABLE)),
            )
        elif role is None or not may_create(CATALOG[name], role):
            yield (
                "create_missing",
                tr(
                    "The user of this import is not allowed to create {resource}.",
                    rule="forbidden",
                    resource=plural(CATALOG[name]),
                ),
            )


def find_target(resource: Resource, target: str) -> tuple[ColumnMapping | None, str]:
    """The column that would fill a target, or None and what is wrong with it."""
    column = target_column(resource, 0, "", ColumnUse.FIELD, target)
    if column is None:
        names = [item.reads_as for item in resource.fields.values() if not item.read_only]
        closest = difflib.get_close_matches(target, names, n=1)
        facts = {"name": target, "resource": plural(resource)}
        if closest:
            return None, tr(
                "{name} is not a field of {resource}. Did you mean {near}?", rule="unknown", near=closest[0], **facts
            )
        text = tr(
            "{name} is not a field of {resource}. Its fields are {fields}.",
            rule="unknown",
            fields=", ".join(names),
            **facts,
        )
        return None, text
    if column.field is not None and column.field.read_only:
        return None, tr("Only the platform sets {field}.", rule="read_only", field=column.field.title)
    if column.field is None and not ATTRIBUTE_KEY.fullmatch(target.removeprefix(ATTRIBUTE_PREFIX)):
        return None, tr(
            "The name of an attribute begins with a letter or a digit and has at most 64 characters.", rule="format"
        )
    return column, ""


def _value_errors(settings: SheetSettings, resource: Resource) -> Errors:
    for target, meanings in settings.values.items():
        column, error = find_target(resource, target)
        if column is None:
            yield f"values.{target}", error
            continue
        read = read_attribute if column.field is None else reader_of(column.field)
        for text, meaning in meanings.items():
            if meaning and (message := _refusal(read, meaning)):
                yield f"values.{target}.{text}", message


def _unit_errors(settings: SheetSettings, resource: Resource) -> Errors:
    for target, unit in settings.units.items():
        column, error = find_target(resource, target)
        if column is None:
            yield f"units.{target}", error
        elif column.field is None or unit_factor(unit, column.field.unit) is None:
            yield f"units.{target}", tr("Numbers of {field} have no unit {unit}.", rule="unit", field=target, unit=unit)


def _fallback_errors(settings: SheetSettings, resource: Resource) -> Errors:
    for target, source in settings.fallbacks.items():
        for name in (target, source):
            column, error = find_target(resource, name)
            if column is None:
                yield f"fallbacks.{target}", error
            elif column.field is not None and column.field.kind is not Kind.TEXT:
                yield f"fallbacks.{target}", tr("{field} is not a text.", rule="type", field=column.field.title)


def _match_errors(settings: SheetSettings, resource: Resource) -> Errors:
    for target in settings.match:
        column, error = find_target(resource, target)
        if column is None:
            yield "match", error
        elif column.field is not None and column.field.kind not in _MATCHED_KINDS:
            yield "match", tr("Objects are not found by {field}.", rule="type", field=column.field.title)


def _refusal(read: Callable[[Any], Any], value: Any) -> str | None:
    """Why a value cannot be that of a field."""
    try:
        read(value)
    except CellError as error:
        return error.message
    return None
