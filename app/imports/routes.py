"""HTTP routes of imports: upload, plan, apply, cancel, revert."""

from hashlib import sha1
from io import BytesIO
from typing import Any

import orjson
import sqlalchemy as sa
from flask import Response, current_app, request
from marshmallow import ValidationError

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import db
from app.core.errors import Invalid, PreconditionFailed, TooLarge
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint, read_form
from app.core.http.envelope import FailureSchema, Pagination, envelope_of, localized, success_body
from app.core.http.paging import PageSchema
from app.core.messages import tr
from app.core.values import clean_text
from app.imports import service
from app.imports.corrections import correct
from app.imports.map.headers import MAX_TITLE
from app.imports.mappings import service as mappings
from app.imports.models import RUNNING, Import
from app.imports.plan.row_list import RowFilter, complete_for_reader, select_after, select_page
from app.imports.schemas import (
    ApplySchema,
    ImportSchema,
    OptionsSchema,
    RowQuerySchema,
    RowSchema,
    UploadSchema,
)
from app.imports.settings_checks import check_file_settings
from app.imports.settings_schemas import MAX_MAPPED, CorrectionSchema, SettingsSchema
from app.resource import WriteQuerySchema, conclude
from app.sheets.cells import split_list
from app.sheets.limits import REASONS
from app.sheets.workbook import UnreadableWorkbook, check_file

_ENVELOPE = envelope_of(ImportSchema, many=False, nullable=False)

blueprint = Blueprint("imports", __name__, url_prefix="/api/imports", description="Spreadsheets in")


@blueprint.post("")
@requires(Role.USER)
@blueprint.multipart(UploadSchema)
@blueprint.response(202, ImportSchema)
def create_import() -> Response:
    """Upload a workbook; its plan is made in the background."""
    options = read_form(OptionsSchema())
    content, filename = _read_file()
    options["apply_at_once"] = options.pop("apply")
    options["mapping"] = _read_mapping(options.get("mapping"))
    name = _read_mapping_name(options)
    _check_names(options)
    options["settings"] = _read_settings(options)
    import_id = service.upload(content, filename, options)
    if name is not None:
        mappings.save(name, options["mapping"], import_id)
    return _response(import_id, 202)


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, ImportSchema, many=True)
def list_imports(query: dict[str, int]) -> Response:
    """My imports, the latest first; all for administrators."""
    actor = current_actor()
    visible = sa.true() if actor.is_admin else Import.created_by_id == actor.id
    total = db.session.scalar(sa.select(sa.func.count()).select_from(Import).where(visible)) or 0
    page, size = query["page"], query["page_size"]
    imports = db.session.scalars(
        sa.select(Import).where(visible).order_by(Import.id.desc()).limit(size).offset((page - 1) * size)
    ).all()
    names = service.usernames({import_.created_by_id for import_ in imports if import_.created_by_id})
    items = [service.render(import_, names) for import_ in imports]
    return localized(success_body(items, Pagination(page, size, total)))


@blueprint.get("/<int:import_id>")
@requires(Role.USER)
@blueprint.response(200, ImportSchema)
def get_import(import_id: int) -> Response:
    """The status and progress of an import, and its plan by sheet."""
    return _response(import_id).make_conditional(request)  # type: ignore[return-value]


@blueprint.get("/<int:import_id>/rows")
@requires(Role.USER)
@blueprint.arguments(RowQuerySchema, location="query")
@blueprint.response(200, RowSchema, many=True)
def list_import_rows(query: dict[str, Any], import_id: int) -> Response:
    """The plan row by row: what changes, and which errors a row has."""
    import_ = service.get(import_id)
    page, size = query.pop("page"), query.pop("page_size")
    cursor, wanted = query.pop("cursor", None), RowFilter(**query)
    if cursor is None:
        rows = select_page(import_id, wanted, page, size)
    else:
        rows = select_after(import_id, import_.revision, wanted, cursor, size)
    complete_for_reader(rows.items)
    return localized(success_body(rows.items, rows.pagination))


@blueprint.patch("/<int:import_id>")
@requires(Role.USER)
@blueprint.arguments(CorrectionSchema)
@blueprint.parameter("IfMatch")
@blueprint.response(202, ImportSchema, headers=["ETag"])
def correct_import(body: dict[str, Any], import_id: int) -> Response:
    """Say how the stored file is to be understood, and plan it again; `{}` only plans it again."""
    import_ = service.get(import_id, to_change=True)
    _check_revision(import_, body.pop("revision", None))
    name = body.pop("remember", None)
    correct(import_, body)
    if name:
        mappings.save(name, {}, import_id)
    db.session.flush()
    return _response(import_id, 202)


@blueprint.post("/<int:import_id>/apply")
@requires(Role.USER)
@blueprint.arguments(ApplySchema)
@blueprint.parameter("IfMatch")
@blueprint.alt_response(412, schema=FailureSchema, description="The import has another revision by now.")
@blueprint.response(202, ImportSchema)
def apply_import(body: dict[str, Any], import_id: int) -> Response:
    """Apply exactly the plan that was shown."""
    _check_revision(service.get(import_id, to_change=True), body.get("revision"))
    service.request_apply(import_id, body["on_error"])
    db.session.flush()
    return _response(import_id, 202)


@blueprint.post("/<int:import_id>/cancel")
@requires(Role.USER)
@blueprint.response(200, ImportSchema)
def cancel_import(import_id: int) -> Response:
    """Cancel an import that has not changed anything yet."""
    service.cancel(import_id)
    return _response(import_id)


@blueprint.post("/<int:import_id>/revert")
@requires(Role.USER)
@blueprint.arguments(WriteQuerySchema, location="query")
@blueprint.response(200, ImportSchema)
@blueprint.alt_response(
    202, schema=_ENVELOPE, description="A large import is reverted in the background.", success=True
)
def revert_import(query: dict[str, bool], import_id: int) -> Response:
    """Revert a whole import: what it created is deleted and what it changed is restored, or nothing happens."""
    done = service.revert(import_id, dry_run=query["dry_run"])
    db.session.flush()
    return conclude(_response(import_id, 200 if done else 202), query)


def _read_file() -> tuple[bytes, str]:
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
    return content, filename


class Unreadable(Invalid):
    """The file cannot be read as a workbook; `reason` says why."""

    reason, message = "damaged", tr("The file cannot be read as a workbook.")
    other_reasons = tuple(sorted(REASONS - {reason}))


def _read_mapping(text: str | None) -> dict[str, str | None]:
    if not text:
        return {}
    saved = mappings.find(text)
    if saved is not None:
        return saved.mapping
    try:
        mapping = orjson.loads(text)
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


def _read_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What the form sets about all sheets, as it is stored; raises Invalid."""
    given: dict[str, Any] = {
        name: options.pop(name) for name in ("constants", "create_missing", "use_formats") if name in options
    }
    if not given:
        return {}
    if "create_missing" in given:
        given["create_missing"] = split_list(given["create_missing"])
    if "constants" in given:
        try:
            given["constants"] = orjson.loads(given["constants"])
        except orjson.JSONDecodeError:
            message = tr('Must be JSON such as {"server": "gpu-01"}.', rule="format")
            raise Invalid(errors={"constants": [message]}) from None
    try:
        settings: dict[str, Any] = SettingsSchema().load(given)
    except ValidationError as error:
        raise Invalid(errors=error.messages_dict) from None
    errors: dict[str, list[str]] = {}
    resource = IMPORTABLE.get(options.get("resource") or "")
    for name, wrong in check_file_settings(settings, current_actor().role, resource):
        errors.setdefault(name, []).append(wrong)
    if errors:
        raise Invalid(errors=errors)
    return settings


def _read_mapping_name(options: dict[str, Any]) -> str | None:
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


def _check_names(options: dict[str, Any]) -> None:
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


def _response(import_id: int, status: int = 200) -> Response:
    import_ = service.get(import_id)
    headers = {"Location": f"/api/imports/{import_id}"} if status == 202 else {}
    if import_.status in RUNNING:
        headers["Retry-After"] = "1"
    response = localized(success_body(service.render_one(import_)), status, headers=headers)
    # The revision, for If-Match; the rest, because the progress changes without it.
    response.set_etag(f"{import_.revision}-{sha1(response.get_data(), usedforsecurity=False).hexdigest()}")
    return response


def _check_revision(import_: Import, seen: int | None) -> None:
    """Refuse a request for another revision than the import has: `revision` in the body, or If-Match."""
    tags = request.if_match
    others = [tag.partition("-")[0] for tag in tags.as_set()]
    is_other_tag = bool(tags) and not tags.star_tag and str(import_.revision) not in others
    if is_other_tag or seen not in (None, import_.revision):
        raise PreconditionFailed(current=service.render_one(import_))
