"""Exports: a list as a file, and several resources as one workbook."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Response, request

from app.catalog import CATALOG, IMPORTABLE
from app.core.audit import recorder
from app.core.db.unit_of_work import writing
from app.core.errors import UnknownParameter
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import dumps
from app.core.http.file_responses import XLSX, file_answer, read_format
from app.core.http.openapi.operations import camel_case, file_responses, query_parameter
from app.core.messages import tr
from app.exports.columns import columns_of
from app.resource import Resource
from app.resource.query.documentation import document_list
from app.resource.query.filters import unknown
from app.resource.query.list_query import ListQuery, parse_query
from app.resource.query.select import select_all
from app.sheets.writers import Item, OutputSheet, write_csv, write_workbook

CONTENT_TYPES = {"xlsx": XLSX, "csv": "text/csv", "json": "application/json"}
FILE_SCHEMA: dict[str, Any] = {"type": "string", "format": "binary"}
FORMAT = query_parameter(
    "format",
    {"$ref": "#/components/schemas/ExportFormat"},
    "The kind of file. Default: `xlsx`.",
)
RESOURCES = query_parameter(
    "resources",
    {"type": "string", "example": "servers,gpus"},
    f"The resources, separated by commas; without it, all: {', '.join(IMPORTABLE)}.",
)
PAGING = frozenset({"page", "page_size", "cursor", "total"})

blueprint = Blueprint("exports", __name__, url_prefix="/api", description="Spreadsheets out")
blueprint.shared_schemas["ExportFormat"] = {"type": "string", "enum": list(CONTENT_TYPES)}


@blueprint.get("/export.xlsx")
@requires(Role.USER)
@blueprint.doc(parameters=[RESOURCES])
@blueprint.file_response(XLSX, "A workbook with a sheet for each resource.")
def export_workbook() -> Response:
    """Download several resources, or all, as one workbook that can be imported again."""
    resources = _parse_resources()

    def write(path: Path) -> dict[str, int]:
        return write_workbook(path, (_sheet(resource, ListQuery()) for resource in resources))

    return _download(write, "export.xlsx", XLSX, "exports")


def _parse_resources() -> list[Resource]:
    """The resources that the request names, in the order of the catalog; raises BadRequest."""
    for name in request.args:
        if name != "resources":
            raise unknown("parameter", name, ["resources"])
    names = {name.strip() for name in request.args.get("resources", ",".join(IMPORTABLE)).split(",")}
    for name in names:
        if name not in IMPORTABLE:
            raise unknown("type", name, IMPORTABLE, parameter="resources")
    return [resource for name, resource in IMPORTABLE.items() if name in names]


def export_schema(resource: Resource) -> dict[str, Any]:
    """What an export as JSON has: the objects as a list shows them."""
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{resource.noun}"}}
    members = {"code": {"type": "integer"}, "message": {"type": "string"}, "data": items}
    return {"type": "object", "required": list(members), "properties": members}


def _add_export(resource: Resource) -> None:
    """Add the route that exports a resource."""
    as_json = export_schema(resource)
    content = {kind: {"schema": as_json if name == "json" else FILE_SCHEMA} for name, kind in CONTENT_TYPES.items()}

    @blueprint.get(f"{resource.path.removeprefix('/api')}/export", endpoint=f"export_{resource.name}")
    @requires(resource.read)
    @document_list(
        blueprint,
        resource,
        without=PAGING,
        more=[FORMAT],
        responses=file_responses("The file.", content),
        summary=f"Download {resource.titles[0]}, with the filters, the order and, if named, the fields of the list.",
        operationId=camel_case("export", resource.name),
    )
    def export() -> Response:
        kind, query = _parse_export(resource)

        def write(path: Path) -> dict[str, int]:
            title = resource.titles[0]
            if kind == "json":
                return {title: write_json(path, select_all(resource, query))}
            sheet = _sheet(resource, query)
            return {title: write_csv(path, sheet)} if kind == "csv" else write_workbook(path, [sheet])

        return _download(write, f"{resource.name}.{kind}", CONTENT_TYPES[kind], resource.name)


def _parse_export(resource: Resource) -> tuple[str, ListQuery]:
    """The kind of file and the list query of a request; raises BadRequest."""
    for name in PAGING & set(request.args):
        raise UnknownParameter(tr("An export has no {name}.", name=name), parameter=name, did_you_mean=[])
    kind, others = read_format(CONTENT_TYPES)
    return kind, parse_query(resource, others, own=("format",))


def _sheet(resource: Resource, query: ListQuery) -> OutputSheet:
    """The sheet of a list. The columns are read from whole objects, also where the query names only some fields."""
    columns = columns_of(resource, None if query.fields is None else frozenset(query.fields))
    return OutputSheet(resource.titles[0], columns, select_all(resource, replace(query, fields=None)))


def write_json(path: Path, items: Iterable[Item]) -> int:
    """Write the objects as a list shows them, in the envelope; returns their number."""
    count = 0
    with path.open("wb") as file:
        file.write(b'{"code":0,"message":"success","data":[')
        for count, item in enumerate(items, 1):
            file.write((b"," if count > 1 else b"") + dumps(dict(item)))
        file.write(b"]}")
    return count


def _download(write: Callable[[Path], dict[str, int]], name: str, content_type: str, subject: str) -> Response:
    """Write a file, record the export with its number of rows, and send the file."""
    response, counts = file_answer(write, name, content_type)
    changes: dict[str, dict[str, Any]] = {title: {"old": None, "new": count} for title, count in counts.items()}
    with writing():
        recorder.record("export", subject, None, name, changes)
    return response


for _resource in CATALOG.values():
    _add_export(_resource)
