"""HTTP routes of imports: upload, plan, apply, cancel, revert."""

from hashlib import sha1
from typing import Any

from flask import Response, request

from app.core.db.unit_of_work import db
from app.core.errors import PreconditionFailed
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint, read_form
from app.core.http.envelope import localized, success_body
from app.core.http.openapi.envelopes import envelope_of
from app.core.http.openapi.operations import LOCALIZED, headers_of
from app.imports import service
from app.imports.corrections import correct
from app.imports.listing import imports, select_imports
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
from app.imports.settings_schemas import CorrectionSchema
from app.imports.upload_form import (
    check_resource_and_match,
    read_file,
    read_form_settings,
    read_mapping,
    read_mapping_name,
)
from app.resource import document_list

ANSWERED = ("ETag", "Retry-After", *LOCALIZED)
ACCEPTED = ("Location", *ANSWERED)
_ENVELOPE = envelope_of(ImportSchema, many=False, nullable=False)

blueprint = Blueprint("imports", __name__, url_prefix="/api/imports", description="Spreadsheets in")


@blueprint.post("")
@requires(Role.USER)
@blueprint.multipart(UploadSchema)
@blueprint.response(202, ImportSchema, headers=ACCEPTED)
def create_import() -> Response:
    """Upload a workbook; its plan is made in the background."""
    options = read_form(OptionsSchema())
    content, filename = read_file()
    options["apply_at_once"] = options.pop("apply")
    options["mapping"] = read_mapping(options.get("mapping"))
    name = read_mapping_name(options)
    check_resource_and_match(options)
    options["settings"] = read_form_settings(options)
    import_id = service.upload(content, filename, options)
    if name is not None:
        mappings.save(name, options["mapping"], import_id)
    return _response(import_id, 202)


@blueprint.get("")
@requires(Role.USER)
@document_list(blueprint, imports, without=["fields"])
@blueprint.response(200, ImportSchema, many=True, headers=LOCALIZED)
def list_imports() -> Response:
    """My imports, the latest first; all for administrators."""
    page = select_imports(request.args)
    return localized(success_body(page.items, page.pagination))


@blueprint.get("/<int:import_id>")
@requires(Role.USER)
@blueprint.response(200, ImportSchema, headers=ANSWERED)
def get_import(import_id: int) -> Response:
    """The status and progress of an import, and its plan by sheet."""
    return _response(import_id).make_conditional(request)  # type: ignore[return-value]


@blueprint.get("/<int:import_id>/rows")
@requires(Role.USER)
@blueprint.arguments(RowQuerySchema, location="query")
@blueprint.response(200, RowSchema, many=True, headers=LOCALIZED)
def list_import_rows(query: dict[str, Any], import_id: int) -> Response:
    """The plan row by row: what changes, and which errors a row has."""
    import_ = service.get(import_id)
    page, size = query.pop("page"), query.pop("page_size")
    cursor, row_filter = query.pop("cursor", None), RowFilter(**query)
    if cursor is None:
        rows = select_page(import_id, row_filter, page, size)
    else:
        rows = select_after(import_id, import_.revision, row_filter, cursor, size)
    complete_for_reader(rows.items)
    return localized(success_body(rows.items, rows.pagination))


@blueprint.patch("/<int:import_id>")
@requires(Role.USER)
@blueprint.arguments(CorrectionSchema)
@blueprint.parameter("IfMatch")
@blueprint.stale_response(ImportSchema)
@blueprint.response(202, ImportSchema, headers=ACCEPTED)
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
@blueprint.stale_response(ImportSchema)
@blueprint.response(202, ImportSchema, headers=ACCEPTED)
def apply_import(body: dict[str, Any], import_id: int) -> Response:
    """Apply exactly the plan that was shown."""
    _check_revision(service.get(import_id, to_change=True), body.get("revision"))
    service.request_apply(import_id, body["on_error"])
    db.session.flush()
    return _response(import_id, 202)


@blueprint.post("/<int:import_id>/cancel")
@requires(Role.USER)
@blueprint.response(200, ImportSchema, headers=ANSWERED)
def cancel_import(import_id: int) -> Response:
    """Cancel an import that has not changed anything yet."""
    service.cancel(import_id)
    return _response(import_id)


@blueprint.post("/<int:import_id>/revert")
@requires(Role.USER)
@blueprint.response(200, ImportSchema, headers=ANSWERED)
@blueprint.alt_response(
    202,
    schema=_ENVELOPE,
    headers=headers_of(*ACCEPTED),
    description="A large import is reverted in the background.",
    success=True,
)
def revert_import(import_id: int) -> Response:
    """Revert a whole import: what it created is deleted and what it changed is restored, or nothing happens."""
    done = service.revert(import_id)
    db.session.flush()
    return _response(import_id, 200 if done else 202)


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
