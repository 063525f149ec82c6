"""The answers to bulk requests: a result for each item, and the failure of a request that is all or nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flask import Response, request

from app.core.audit.refusals import RefusedRequest, record_refusals
from app.core.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotApplied,
    NotFound,
    PreconditionFailed,
)
from app.core.http.dry_run import is_dry_run
from app.core.http.envelope import failure_body, localized, success_body
from app.core.http.openapi.failures import BULK_STATUS
from app.core.messages import tr
from app.resource.among import select_among
from app.resource.bulk.item import Item
from app.resource.declaration import Resource

_BULK_FAILURE = {"reason": "bulk_failed", "message": tr("Nothing was stored: some items are wrong.")}
_BULK_FAILED = {
    kind.status: type(f"Bulk{kind.__name__}", (kind,), _BULK_FAILURE)
    for kind in (BadRequest, Forbidden, NotFound, Conflict, PreconditionFailed, Invalid)
}
"""The failure of an atomic bulk write, by the status of its first wrong item."""


def conclude_items(
    resource: Resource,
    items: Sequence[Item],
    mode: str,
    *,
    creating: bool = False,
    changing: bool = False,
    shown: bool = True,
) -> Response:
    """Answer with a result for each item; where all or nothing was asked for and some are wrong, fail as the first.

    The dry run of a change says of each object what would change.
    """
    wrong = next((item.error for item in items if item.error is not None), None)
    if mode == "atomic" and wrong is not None:
        count = sum(item.error is not None for item in items)
        for item in items:
            item.error = item.error or NotApplied()
            item.object_id = None if creating else item.object_id
        message = tr("Nothing was stored: {count} of {total} items are wrong.", count=count, total=len(items))
        results = [_result(item, None) for item in items]
        raise _BULK_FAILED[wrong.status](message, results=results)
    stored = [item.object_id for item in items if item.error is None and item.object_id is not None]
    objects = {}
    if shown:
        objects = {each["id"]: each for each in select_among(resource, "id", stored)}
    results = [_result(item, objects.get(item.object_id)) for item in items]
    if changing and is_dry_run():
        for item, result in zip(items, results, strict=True):
            result["changes"] = item.changes if item.error is None else None
    _record_denied(resource, items)
    counts = Counter(result["status"] for result in results)
    data = {"results": results, "counts": {name: counts[name] for name in BULK_STATUS["enum"]}}
    return localized(success_body(data), 201 if creating and counts["ok"] == len(items) else 200)


def _result(item: Item, shown: dict[str, Any] | None) -> dict[str, Any]:
    error = item.error
    return {
        "status": "ok" if error is None else _status_of(error),
        "id": item.object_id,
        "data": shown if error is None else None,
        "error": None if error is None else failure_body(error),
    }


def _status_of(error: ApiError) -> str:
    for kind, status in ((NotFound, "not_found"), (Forbidden, "forbidden"), (Conflict, "conflict")):
        if isinstance(error, kind):
            return status
    return "error"


def _record_denied(resource: Resource, items: Sequence[Item]) -> None:
    """Refusals are recorded, also where the rest of the request goes on."""
    path = f"{request.method} {request.path}"
    table = resource.model.__tablename__
    refused = [RefusedRequest(table, item.object_id, path) for item in items if isinstance(item.error, Forbidden)]
    record_refusals(refused, route=path)
