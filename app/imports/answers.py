"""Imports as the API shows them."""

from typing import Any

import sqlalchemy as sa

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import db
from app.imports.models import RUNNING, Import, last_progress
from app.imports.plan.summary import choosable_fields
from app.users.models import User


def render_one(import_: Import) -> dict[str, Any]:
    return render(import_, usernames({import_.created_by_id} if import_.created_by_id else set()))


def usernames(ids: set[int]) -> dict[int, str]:
    if not ids:
        return {}
    return dict(db.session.execute(sa.select(User.id, User.username).where(User.id.in_(ids))).all())


def render(import_: Import, names: dict[int, str]) -> dict[str, Any]:
    owner = import_.created_by_id
    return {
        "id": import_.id,
        "revision": import_.revision,
        "status": import_.status,
        "filename": import_.filename,
        "mode": import_.mode,
        "extra": import_.extra,
        "encoding": import_.encoding,
        "dates": import_.dates,
        "progress": _progress(import_),
        "settings": import_.settings,
        "sheets": [_render_sheet(sheet) for sheet in import_.sheets],
        "problem": import_.problem,
        "reversal": import_.reversal,
        "request_id": import_.request_id,
        "created_at": import_.created_at,
        "finished_at": import_.finished_at,
        "created_by": None if owner is None else {"id": owner, "name": names[owner]},
    }


def _render_sheet(sheet: dict[str, Any]) -> dict[str, Any]:
    resource = IMPORTABLE.get(sheet["resource"] or "")
    return {**sheet, "choices": [] if resource is None else choosable_fields(resource)}


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
