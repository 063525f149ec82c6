"""The GPU resource: assignment, release and who held it when."""

from typing import Any

from flask import Response

from app.core.audit.recorder import audited
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.http.paging import PageSchema
from app.gpus import availability, service, utilization
from app.gpus.models import Gpu
from app.gpus.schemas import (
    AssignmentRecordSchema,
    AssignmentSchema,
    AvailabilityQuerySchema,
    AvailabilitySchema,
    GpuSchema,
    UtilizationQuerySchema,
    UtilizationSchema,
)
from app.resource import Resource, resource_blueprint
from app.resource.routes import answer

resource = Resource(
    name="gpus",
    model=Gpu,
    schema=GpuSchema,
    titles=("GPUs", "GPU", "显卡"),
    search=(Gpu.model, Gpu.uuid, Gpu.serial_number),
    natural_key=(("uuid",), ("server_id", "slot")),
)
blueprint: Blueprint = resource_blueprint(resource)


@blueprint.post("/<int:gpu_id>/assign")
@requires(Role.USER)
@blueprint.arguments(AssignmentSchema)
@blueprint.response(200, GpuSchema)
@audited("assign")
def assign(body: dict[str, Any], gpu_id: int) -> Response:
    """Give an available GPU to somebody."""
    service.assign(service.locked(gpu_id), **body)
    return answer(resource, gpu_id)


@blueprint.post("/<int:gpu_id>/release")
@requires(Role.USER)
@blueprint.response(200, GpuSchema)
@audited("release")
def release(gpu_id: int) -> Response:
    """Take a GPU back."""
    service.release(service.locked(gpu_id))
    return answer(resource, gpu_id)


@blueprint.get("/<int:gpu_id>/assignments")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, AssignmentRecordSchema, many=True)
def assignments(query: dict[str, int], gpu_id: int) -> Page:
    """Who has held the GPU, the latest first."""
    return service.assignments(gpu_id, **query)


@blueprint.get("/available")
@requires(Role.USER)
@blueprint.arguments(AvailabilityQuerySchema, location="query")
@blueprint.response(200, AvailabilitySchema)
def available(query: dict[str, Any]) -> dict[str, Any]:
    """Whether so many GPUs can be had now, and which to take."""
    return availability.find(query.get("model"), query["count"], same_server=query["same_server"])


@blueprint.get("/utilization")
@requires(Role.USER)
@blueprint.arguments(UtilizationQuerySchema, location="query")
@blueprint.response(200, UtilizationSchema)
def show_utilization(query: dict[str, Any]) -> dict[str, Any]:
    """How much of the GPUs' time is used, by model, datacenter or user."""
    span = utilization.span_of(query.get("since"), query.get("until"), query["bucket"])
    actor = current_actor()
    return utilization.measure(span, query["by"], query["limit"], None if actor.is_admin else actor.id)
