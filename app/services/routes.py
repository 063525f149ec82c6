"""The services resource, its health check action and the history of its checks."""

from dataclasses import replace

from flask import Response, request

from app.core.db.unit_of_work import reading
from app.core.http.access import Role, requires
from app.core.http.envelope import Page, success
from app.resource import (
    Resource,
    button,
    document_list,
    get,
    parse_query,
    read,
    resource_blueprint,
    select_page,
)
from app.services import service
from app.services.models import Service, ServiceCheck
from app.services.schemas import ServiceCheckSchema, ServiceSchema

resource = Resource(
    model=Service,
    schema=ServiceSchema,
    titles=("Services", "服务"),
    search=(Service.name, Service.port, Service.service_type, Service.health_check),
    natural_key=(("container_id", "server_id", "name"),),
)
blueprint = resource_blueprint(resource)

checks = Resource(
    model=ServiceCheck,
    schema=ServiceCheckSchema,
    titles=("Health checks", "健康检查"),
    search=(ServiceCheck.problem, ServiceCheck.checked_by),
)


@blueprint.post("/<int:service_id>/check")
@requires(Role.USER)
@button("Check now", "立即检查")
@blueprint.response(200, ServiceCheckSchema)
def check_service(service_id: int) -> Response:
    """Run a service's health check now."""
    with reading():
        target = service.target_of(get(resource, service_id, to_change=True))
    return success(read(checks, service.check_now(target)))


@blueprint.get("/<int:service_id>/checks")
@requires(Role.USER)
@document_list(blueprint, checks)
@blueprint.response(200, ServiceCheckSchema, many=True)
def list_service_checks(service_id: int) -> Page:
    """List a service's health checks, the latest first."""
    get(resource, service_id)
    query = parse_query(checks, request.args).where(service_id=service_id)
    return select_page(checks, replace(query, sort=query.sort or ("-id",)))
