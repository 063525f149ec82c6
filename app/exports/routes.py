"""Downloading a list as a file, and the infrastructure as one workbook."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Response, request
from werkzeug.datastructures import MultiDict

from app.catalog import CATALOG, IMPORTABLE
from app.core.audit import recorder
from app.core.db.unit_of_work import writing
from app.core.errors import BadRequest
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.file_responses import XLSX, file_answer
from app.exports.columns import columns_of
from app.exports.files import Sheet, write_csv, write_json, write_workbook
from app.resource import Resource
from app.resource.query.documentation import list_parameters
from app.resource.query.list_query import ListQuery, parse_query, select_all

CONTENT_TYPES = {"xlsx": XLSX, "csv": "text/csv", "json": "application/json"}
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
ALL_OF_THEM: dict[str, Any] = {
    "type": "object",
    "required": ["code", "message", "data"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "data": {"type": "array", "items": {"type": "object"}},
    },
}
FORMAT = {
    "in": "query",
    "name": "format",
    "schema": {"type": "string", "enum": list(CONTENT_TYPES), "default": "xlsx"},
    "description": "The kind of file.",
}
RESOURCES = {
    "in": "query",
    "name": "resources",
    "schema": {"type": "string", "example": "servers,gpus"},
    "description": f"Which, separated by commas; all where it is left out: {', '.join(IMPORTABLE)}.",
}
PAGING = frozenset({"page", "page_size", "fields", "total"})

blueprint = Blueprint("exports", __name__, url_prefix="/api", description="Spreadsheets out")


@blueprint.get("/export.xlsx")
@requires(Role.USER)
@blueprint.doc(parameters=[RESOURCES])
@blueprint.file_response(XLSX, "A workbook with a sheet for each resource.")
def export_all() -> Response:
    """Download several resources, or all, as one workbook that can be imported again."""
    wanted = _read_resources()

    def write(path: Path) -> dict[str, int]:
        return write_workbook(path, (_sheet(resource, ListQuery()) for resource in wanted))

    return _download(write, "export.xlsx", XLSX, "exports")


def _read_resources() -> list[Resource]:
    for name in request.args:
        if name != "resources":
            raise BadRequest(f"There is no parameter {name[:100]}.", reason="unknown_parameter", did_you_mean=[])
    names = {name.strip() for name in request.args.get("resources", ",".join(IMPORTABLE)).split(",")}
    for name in names:
        if name not in IMPORTABLE:
            raise BadRequest(
                f"There is no resource {name[:100]} to export.", reason="invalid_parameter", did_you_mean=[]
            )
    return [resource for name, resource in IMPORTABLE.items() if name in names]


def _add_export(resource: Resource) -> None:
    """Give a resource its download."""
    content = {kind: {"schema": ALL_OF_THEM if name == "json" else BINARY} for name, kind in CONTENT_TYPES.items()}

    @blueprint.get(f"{resource.path.removeprefix('/api')}/export", endpoint=f"export_{resource.name}")
    @requires(resource.read)
    @blueprint.doc(
        parameters=[FORMAT, *(item for item in list_parameters(resource) if item["name"] not in PAGING)],
        responses={200: {"description": "The file.", "content": content}},
        summary=f"Download {resource.titles[0]}, with the filters and the order of the list.",
    )
    def export() -> Response:
        kind, query = _read_query(resource)

        def write(path: Path) -> dict[str, int]:
            title = resource.titles[0]
            if kind == "json":
                return {title: write_json(path, select_all(resource, query))}
            sheet = _sheet(resource, query)
            return {title: write_csv(path, sheet)} if kind == "csv" else write_workbook(path, [sheet])

        return _download(write, f"{resource.name}.{kind}", CONTENT_TYPES[kind], resource.name)


def _read_query(resource: Resource) -> tuple[str, ListQuery]:
    """The kind of file, and which objects go into it; raises BadRequest."""
    for name in PAGING & set(request.args):
        raise BadRequest(f"An export has no {name}.", reason="unknown_parameter", did_you_mean=[])
    kinds = request.args.getlist("format") or ["xlsx"]
    if len(kinds) > 1 or kinds[0] not in CONTENT_TYPES:
        raise BadRequest(f"format must be one of {', '.join(CONTENT_TYPES)}.", reason="invalid_parameter")
    others = MultiDict((name, value) for name, value in request.args.items(multi=True) if name != "format")
    return kinds[0], parse_query(resource, others)


def _sheet(resource: Resource, query: ListQuery) -> Sheet:
    return Sheet(resource.titles[0], columns_of(resource), select_all(resource, query))


def _download(write: Callable[[Path], dict[str, int]], name: str, content_type: str, about: str) -> Response:
    """Write a file, record that it was taken, and send it."""
    response, counts = file_answer(write, name, content_type)
    changes: dict[str, dict[str, Any]] = {title: {"old": None, "new": count} for title, count in counts.items()}
    with writing():
        recorder.record("export", about, None, name, changes)
    return response


for _resource in CATALOG.values():
    _add_export(_resource)
