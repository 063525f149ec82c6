"""`GET /api/<resource>/<id>/history`: the audit records of one object, for everybody who may read it."""

import sqlalchemy as sa
from flask import request

from app.audit_logs.names import require_known_terms
from app.audit_logs.schemas import HistorySchema
from app.catalog import CATALOG
from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.errors import NotFound
from app.core.http.access import current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.values import MAX_ID
from app.resource import (
    ListQuery,
    Resource,
    document_list,
    get,
    parse_query,
    select_page,
    singular,
)

# A resource of its own, without ip_address and user_agent: a filter or a sort by a hidden field would reveal it.
records = Resource(
    model=AuditLog,
    schema=HistorySchema,
    titles=("History", "历史"),
    search=(AuditLog.username, AuditLog.resource_name, AuditLog.reason),
)
logs = AuditLog.__table__

blueprint = Blueprint("history", __name__, url_prefix="/api", description="The audit records of an object")


def _add_history(resource: Resource) -> None:
    @blueprint.get(f"{resource.path.removeprefix('/api')}/<int:object_id>/history", endpoint=f"history_{resource.name}")
    @requires(resource.read)
    @document_list(
        blueprint,
        records,
        summary=f"The audit records of one {singular(resource)}; sort by -id for the latest first.",
        operationId=f"list{resource.noun}History",
    )
    @blueprint.response(200, HistorySchema, many=True)
    def history(object_id: int) -> Page:
        query = parse_query(records, request.args)
        require_known_terms(query)
        _require_visible(resource, object_id)
        return select_page(records, _about(resource, object_id, query))


def _require_visible(resource: Resource, object_id: int) -> None:
    """Raise NotFound, unless the acting user may read the object or an administrator asks about a deleted one."""
    try:
        get(resource, object_id)
    except NotFound:
        if not current_actor().is_admin or object_id > MAX_ID or not _is_recorded(resource, object_id):
            raise


def _is_recorded(resource: Resource, object_id: int) -> bool:
    is_about = sa.and_(logs.c.resource_type == resource.model.__tablename__, logs.c.resource_id == object_id)
    statement = sa.select(logs.c.id).where(is_about, logs.c.version.is_not(None))
    return db.session.scalar(statement.limit(1)) is not None


def _about(resource: Resource, object_id: int, query: ListQuery) -> ListQuery:
    """The query narrowed to one object. Denied requests are for administrators only."""
    query = query.where(resource_type=resource.name, resource_id=object_id)
    return query if current_actor().is_admin else query.where(action__ne="denied")


for _resource in CATALOG.values():
    _add_history(_resource)
