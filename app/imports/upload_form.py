"""The form of an upload: its file, and what it sets about how the file is understood."""

from io import BytesIO
from typing import Any

import orjson
from flask import current_app, request
from marshmallow import ValidationError

from app.catalog import IMPORTABLE
from app.core.db.dialects.registry import current_dialect
from app.core.db.unit_of_work import db
from app.core.errors import Invalid, TooLarge
from app.core.http.access import current_actor
from app.core.http.envelope import loads
from app.core.messages import tr
from app.core.values import clean_text
from app.imports.map.headers import MAX_TITLE
from app.imports.mappings import service as mappings
from app.imports.settings_checks import check_file_settings
from app.imports.settings_schemas import MAX_MAPPED, SettingsSchema
from app.sheets.cells import split_list
from app.sheets.limits import REASONS
from app.sheets.workbook import UnreadableWorkbook, check_file


def read_file() -> tuple[bytes, str]:
    """The uploaded file and its name; raises Invalid or TooLarge."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Invalid(errors={"file": [tr("A file is required.", rule="required")]})
    limit = current_app.config["MAX_IMPORT_MB"] * 1024 * 1024
    content = file.stream.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(tr("The file is larger than {limit_mb} MB.", limit_mb=current_app.config["MAX_IMPORT_MB"]))
    filename = file.filename.replace("\x00", "")[-255:]
    try:
        check_file(BytesIO(content), filename)
    except UnreadableWorkbook as error:
        raise Unreadable(error.args[0], reason=error.reason, errors={"file": [error.args[0]]}) from None
    _require_storable(len(content))
    return content, filename


def _require_storable(size: int) -> None:
    """Raise TooLarge for more bytes than the database takes as one value.

    It begins the transaction of the request, which on SQLite takes the lock of all writers: the file is checked before.
    """
    limit = current_dialect().connections.largest_file(db.session.connection())
    if limit is not None and size > limit:
        message = tr(
            "The database takes files of {limit_mb} MB: its administrator can raise max_allowed_packet.",
            limit_mb=limit // (1024 * 1024),
        )
        raise TooLarge(message)


class Unreadable(Invalid):
    """The file cannot be read as a workbook; `reason` says why."""

    reason, message = "damaged", tr("The file cannot be read as a workbook.")
    other_reasons = tuple(sorted(REASONS - {reason}))


def read_mapping(text: str | None) -> dict[str, str | None]:
    if not text:
        return {}
    saved = mappings.find(text)
    if saved is not None:
        return saved.mapping
    try:
        mapping = loads(text)
    except orjson.JSONDecodeError:
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(v, str | None) for v in mapping.values()):
        message = tr(
            'Must be JSON such as {"Serial No.": "serial_number"}, or the name of a saved mapping.', rule="format"
        )
        raise Invalid(errors={"mapping": [message]})
    texts = [*mapping, *filter(None, mapping.values())]
    if len(mapping) > MAX_MAPPED or any(len(text) > MAX_TITLE or "\0" in text for text in texts):
        raise Invalid(
            errors={
                "mapping": [
                    tr(
                        "May have at most {titles} titles, each of {characters} characters.",
                        rule="length",
                        titles=MAX_MAPPED,
                        characters=MAX_TITLE,
                    )
                ]
            }
        )
    return mapping


def read_form_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What the form sets about all sheets, as it is stored; raises Invalid."""
    sent: dict[str, Any] = {
        name: options.pop(name) for name in ("constants", "create_missing", "use_formats") if name in options
    }
    if not sent:
        return {}
    if "create_missing" in sent:
        sent["create_missing"] = split_list(sent["create_missing"])
    if "constants" in sent:
        try:
            sent["constants"] = loads(sent["constants"])
        except orjson.JSONDecodeError:
            message = tr('Must be JSON such as {"server": "gpu-01"}.', rule="format")
            raise Invalid(errors={"constants": [message]}) from None
    try:
        settings: dict[str, Any] = SettingsSchema().load(sent)
    except ValidationError as error:
        raise Invalid(errors=error.messages_dict) from None
    errors: dict[str, list[str]] = {}
    resource = IMPORTABLE.get(options.get("resource") or "")
    for name, wrong in check_file_settings(settings, current_actor().role, resource):
        errors.setdefault(name, []).append(wrong)
    if errors:
        raise Invalid(errors=errors)
    return settings


def read_mapping_name(options: dict[str, Any]) -> str | None:
    """The name under which the mapping is to be saved, if any."""
    if "remember" not in options:
        return None
    try:
        name = clean_text(options.pop("remember"))
    except ValueError as error:
        raise Invalid(errors={"remember": [error.args[0]]}) from None
    if not name or not options["mapping"]:
        raise Invalid(errors={"remember": [tr("A name and a mapping are needed to save a mapping.", rule="required")]})
    return name


def check_resource_and_match(options: dict[str, Any]) -> None:
    """Raise Invalid for a resource that cannot be imported, and for a field to match by that none of them has."""
    resource = options.get("resource")
    if resource is not None and resource not in IMPORTABLE:
        raise Invalid(
            errors={"resource": [tr("Must be one of {choices}.", rule="choice", choices=", ".join(IMPORTABLE))]}
        )
    match = options.get("match")
    resources = [IMPORTABLE[resource]] if resource else list(IMPORTABLE.values())
    if match is not None and not any(match in item.fields for item in resources):
        raise Invalid(
            errors={
                "match": [
                    tr(
                        "{match} is not a field of {resource}.",
                        rule="unknown",
                        match=match,
                        resource=resource or "any resource",
                    )
                ]
            }
        )
