"""The GPU resource: assignment, release and who held it when."""

from typing import Any

from flask import Response

from app.core.api import Blueprint
from app.core.audit import audited
from app.core.envelope import Page
from app.core.paging import PageSchema
from app.core.security import Role, requires
from app.gpus import service
from app.gpus.models import Gpu
from app.gpus.schemas import AssignmentRecordSchema, AssignmentSchema, GpuSchema
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
