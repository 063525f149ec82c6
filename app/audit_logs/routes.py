"""`/api/audit-logs`: lists, single records, export and restore, for administrators."""

from typing import Any

from flask import Response, request

from app.audit_logs import documentation
from app.audit_logs.declaration import resource
from app.audit_logs.export import CONTENT_TYPES, export
from app.audit_logs.pages import select_records
from app.audit_logs.query import parse_audit_query
from app.audit_logs.restore import restore
from app.audit_logs.schemas import AuditLogSchema, RestorationSchema
from app.core.errors import UnknownParameter
from app.core.http.access import requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page, success
from app.core.http.file_responses import read_format
from app.core.messages import tr
from app.resource import read

blueprint = Blueprint("audit-logs", __name__, url_prefix=resource.path, description=resource.titles[0])


@blueprint.get("")
@requires(resource.read)
@documentation.document_log(blueprint)
@blueprint.response(200, AuditLogSchema, many=True)
def list_audit_logs() -> Page:
    """List the audit records: who changed what, when, from where and why."""
    return select_records(parse_audit_query(request.args))


@blueprint.get("/<int:object_id>")
@requires(resource.read)
@blueprint.response(200, AuditLogSchema)
def get_audit_log(object_id: int) -> dict[str, Any]:
    """Read one record."""
    return read(resource, object_id)


@blueprint.get("/export")
@requires(resource.read)
@documentation.document_log(
    blueprint, without=documentation.NOT_IN_EXPORTS, more=[documentation.FORMAT], responses=documentation.FILES
)
def export_audit_logs() -> Response:
    """Download the matching records as a file; the download is recorded too."""
    for name in documentation.NOT_IN_EXPORTS & set(request.args):
        raise UnknownParameter(
            tr("An export does not take the parameter {name}.", name=name), parameter=name, did_you_mean=[]
        )
    kind, others = read_format(CONTENT_TYPES)
    return export(parse_audit_query(others), kind, request.query_string.decode())


@blueprint.post("/<int:object_id>/restore")
@requires(resource.write)
@blueprint.response(200, RestorationSchema)
def restore_audit_log(object_id: int) -> Response:
    """Restore what a deletion removed, or the old values of a change."""
    return success(restore(object_id).as_dict())
