"""HTTP routes of imports: upload, plan, apply, cancel, revert."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import orjson
import sqlalchemy as sa
from flask import Response, current_app, request

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import db
from app.core.errors import Invalid, TooLarge
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint, read_form
from app.core.http.envelope import Page, Pagination, envelope_of, success
from app.core.http.paging import PageSchema
from app.core.messages import tr
from app.core.values import clean_text
from app.imports import service
from app.imports.map.tables import MAX_TITLE
from app.imports.mappings import service as mappings
from app.imports.models import RUNNING, Import, last_progress
from app.imports.plan.store import select_page
from app.imports.schemas import ApplySchema, ImportSchema, OptionsSchema, RowQuerySchema, RowSchema, UploadSchema
from app.resource import WriteQuerySchema, conclude
from app.resource.rights import visible_ids
from app.sheets.limits import REASONS
from app.sheets.workbook import UnreadableWorkbook, check_file
from app.users.models import User

MAX_MAPPED = 512

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
    import_id = service.upload(content, filename, options)
    if name is not None:
        mappings.save(name, options["mapping"], import_id)
    return _response(import_id, 202)


@blueprint.get("")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, ImportSchema, many=True)
def list_imports(query: dict[str, int]) -> Page:
    """My imports, the latest first; all for administrators."""
    actor = current_actor()
    visible = sa.true() if actor.is_admin else Import.created_by_id == actor.id
    total = db.session.scalar(sa.select(sa.func.count()).select_from(Import).where(visible)) or 0
    page, size = query["page"], query["page_size"]
    imports = db.session.scalars(
        sa.select(Import).where(visible).order_by(Import.id.desc()).limit(size).offset((page - 1) * size)
    ).all()
    names = _usernames({import_.created_by_id for import_ in imports if import_.created_by_id})
    return Page([_render(import_, names) for import_ in imports], Pagination(page, size, total))


@blueprint.get("/<int:import_id>")
@requires(Role.USER)
@blueprint.response(200, ImportSchema)
def get_import(import_id: int) -> Response:
    """The status and progress of an import, and its plan by sheet."""
    return _response(import_id)


@blueprint.get("/<int:import_id>/rows")
@requires(Role.USER)
@blueprint.arguments(RowQuerySchema, location="query")
@blueprint.response(200, RowSchema, many=True)
def list_import_rows(query: dict[str, Any], import_id: int) -> Page:
    """The plan row by row: what changes, and which errors a row has."""
    service.get(import_id)
    page, size = query["page"], query["page_size"]
    items, total = select_page(import_id, query.get("status"), query.get("sheet"), page, size)
    _hide_unseen(items)
    return Page(items, Pagination(page, size, total))


@blueprint.post("/<int:import_id>/apply")
@requires(Role.USER)
@blueprint.arguments(ApplySchema)
@blueprint.response(202, ImportSchema)
def apply_import(body: dict[str, Any], import_id: int) -> Response:
    """Apply exactly the plan that was shown."""
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


def _hide_unseen(items: Sequence[dict[str, Any]]) -> None:
    """Leave out what changes of private objects that the acting user sees no more: whose plan it is, may be demoted."""
    for name in {item["resource"] for item in items}:
        model = IMPORTABLE[name].model
        own = [item for item in items if item["resource"] == name and item["id"] is not None]
        seen = visible_ids(model, [item["id"] for item in own])
        for item in own:
            if item["id"] not in seen:
                item["changes"] = {}


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
    names = _usernames({import_.created_by_id} if import_.created_by_id else set())
    return success(_render(import_, names), status, headers=headers)


def _usernames(ids: set[int]) -> dict[int, str]:
    if not ids:
        return {}
    return dict(db.session.execute(sa.select(User.id, User.username).where(User.id.in_(ids))).all())


def _render(import_: Import, names: dict[int, str]) -> dict[str, Any]:
    owner = import_.created_by_id
    return {
        "id": import_.id,
        "status": import_.status,
        "filename": import_.filename,
        "mode": import_.mode,
        "extra": import_.extra,
        "encoding": import_.encoding,
        "dates": import_.dates,
        "progress": _progress(import_),
        "sheets": import_.sheets,
        "problem": import_.problem,
        "reversal": import_.reversal,
        "request_id": import_.request_id,
        "created_at": import_.created_at,
        "finished_at": import_.finished_at,
        "created_by": None if owner is None else {"id": owner, "name": names[owner]},
    }


def _progress(import_: Import) -> dict[str, Any]:
    """The progress that the running job shows, or the stored one."""
    stored = {
        "phase": import_.phase,
        "done": import_.done,
        "total": import_.total,
        "rows_per_second": None,
        "seconds_left": None,
    }
    shown = last_progress(import_.id) if import_.status in RUNNING else None
    # The cache may still hold the progress of the phase before.
    return shown if shown is not None and shown["phase"] == import_.status.value else stored
