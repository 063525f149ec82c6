"""`GET /api/auth/me/activity`: the audit records of the signed-in user."""

from flask import request

from app.audit_logs.documentation import document_log
from app.audit_logs.pages import select_records
from app.audit_logs.query import parse_audit_query
from app.audit_logs.schemas import AuditLogSchema
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page

blueprint = Blueprint("activity", __name__, url_prefix="/api/auth/me/activity", description="My own audit trail")


@blueprint.get("")
@requires(Role.USER)
@document_log(blueprint)
@blueprint.response(200, AuditLogSchema, many=True)
def list_my_activity() -> Page:
    """What I did, and what others tried with my username; sort by -id for the latest first."""
    return select_records(parse_audit_query(request.args).about(current_actor().id))
