"""My own audit trail: what I did, and what was tried with my name."""

from dataclasses import replace
from typing import Any

from flask import request

from app.audit_logs.routes import resource as audit_logs
from app.audit_logs.schemas import AuditLogSchema
from app.core.api import Blueprint
from app.core.security import Role, current_actor, requires
from app.resource.documentation import list_parameters
from app.resource.filters import parse_filter
from app.resource.query import Matching, parse_query, select_page

blueprint = Blueprint("activity", __name__, url_prefix="/api/auth/me/activity", description="My own audit trail")


@blueprint.get("")
@requires(Role.USER)
@blueprint.doc(parameters=list_parameters(audit_logs))
@blueprint.response(200, AuditLogSchema, many=True)
def list_activity() -> Any:
    """What I did, and what was tried with my name; sort by -id for the latest first."""
    query = parse_query(audit_logs, request.args)
    mine, me = parse_filter(audit_logs, "user_id", [str(current_actor().id)])
    # Beside whatever else is asked for, also another user_id: nobody widens it.
    name = f"p{len(query.matching.filters)}"
    return select_page(
        audit_logs,
        replace(
            query,
            matching=Matching((*query.matching.filters, mine), searched=query.matching.searched),
            values={**query.values, name: me},
        ),
    )
