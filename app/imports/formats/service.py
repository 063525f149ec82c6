"""Read the known formats of spreadsheets: those of this package, and those in the operator's folder.

A format is a saved mapping that comes from a file: by its titles it is recognised, and what it sets goes after what a
user sets. A file that is wrong stops the start of the application, because a format that silently does not apply is
found only in the data.
"""

import functools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Flask
from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf

from app.catalog import IMPORTABLE
from app.core.values import Inexact
from app.imports.mappings.service import FORMATS
from app.imports.plan.missing import CREATABLE
from app.imports.settings import IGNORE, SavedMapping, SheetSettings
from app.imports.settings_checks import check_resource_settings, find_target
from app.imports.settings_schemas import MAX_MAPPED, SheetSettingsSchema

_BUILT_IN = Path(__file__).parent
MIN_TITLES = 2
"""Titles by which a sheet is recognised at least: one alone stands in too many others."""


class FormatError(ValueError):
    """A file is no format of a spreadsheet; the message names the file and everything that is wrong."""

    def __init__(self, path: Path, errors: Iterable[tuple[str, object]]) -> None:
        lines = [f"  {name}: {message}" for name, message in errors]
        super().__init__("\n".join([f"{path} is not a format of a spreadsheet:", *lines]))


class FormatSchema(Schema):
    """What a file of a format may hold; all but the first three can be left out."""

    name = fields.String(required=True, validate=Length(1, 100))
    resource = fields.String(required=True, validate=OneOf(list(IMPORTABLE)))
    known_by = fields.List(
        fields.List(fields.String(), validate=Length(MIN_TITLES, MAX_MAPPED)), required=True, validate=Length(1)
    )
    create_missing = fields.List(fields.String(validate=OneOf(CREATABLE)))
    leave_out = fields.List(fields.String())
    columns = fields.Dict(keys=fields.String(), values=fields.String())
    values = SheetSettingsSchema().fields["values"]
    inexact = SheetSettingsSchema().fields["values"]
    units = SheetSettingsSchema().fields["units"]
    constants = SheetSettingsSchema().fields["constants"]
    fallbacks = SheetSettingsSchema().fields["fallbacks"]
    match = SheetSettingsSchema().fields["match"]


def init_app(app: Flask) -> None:
    """Read the formats of the application; raises FormatError."""
    folder = app.config["IMPORT_FORMATS_DIR"]
    own = read_folder(folder) if folder else ()
    # Of two that know equally many titles, the first applies: the operator's own.
    app.extensions[FORMATS] = (*own, *_built_in())


def read_folder(folder: Path) -> Sequence[SavedMapping]:
    """The formats in a folder, in the order of their files' names; raises FormatError."""
    return [mapping for path in sorted(folder.glob("*.toml")) for mapping in _read_file(path)]


@functools.cache
def _built_in() -> Sequence[SavedMapping]:
    return read_folder(_BUILT_IN)


def _read_file(path: Path) -> list[SavedMapping]:
    """The format of a file, once for each set of titles that it is known by."""
    try:
        loaded: dict[str, Any] = FormatSchema().load(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        raise FormatError(path, _messages(error).items()) from None
    except (OSError, ValueError) as error:
        # ValueError: neither UTF-8 nor TOML.
        raise FormatError(path, [("file", error)]) from None
    name, resource = loaded.pop("name"), IMPORTABLE[loaded.pop("resource")]
    known_by, columns = loaded.pop("known_by"), _stripped(loaded.pop("columns", {}))
    of_file = {name: loaded.pop(name, ()) for name in ("create_missing", "leave_out")}
    inexact = loaded.pop("inexact", {})
    for target, texts in inexact.items():
        marked = {text: Inexact(meaning) for text, meaning in texts.items()}
        loaded.setdefault("values", {})[target] = {**marked, **loaded.get("values", {}).get(target, {})}
    settings = SheetSettings(**loaded)
    errors = list(check_resource_settings(settings, resource))
    errors += [(f"inexact.{target}", "It is no field.") for target in inexact if target not in resource.fields]
    for title, target in columns.items():
        if target != IGNORE:
            column, message = find_target(resource, target)
            if column is None:
                errors.append((f"columns.{title}", message))
    if errors:
        raise FormatError(path, errors)
    return [
        SavedMapping(None, name, None, resource.name, frozenset(titles), columns, settings, **of_file)
        for titles in known_by
    ]


def _messages(error: ValidationError) -> Mapping[str, object]:
    messages = error.messages
    return messages if isinstance(messages, dict) else {"file": messages}


def _stripped(columns: Mapping[str, str]) -> dict[str, str]:
    return {title.strip(): target for title, target in columns.items()}
