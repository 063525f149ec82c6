"""The gpus resource: assignment, its extension and release, history of assignments, availability and utilization."""

from typing import Any

from flask import Response, request
from werkzeug.datastructures import MultiDict

from app.core.audit.recorder import audited
from app.core.http.access import Role, current_actor, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.http.openapi.operations import LOCALIZED
from app.core.http.paging import PageSchema
from app.gpus import availability, service, utilization
from app.gpus.models import Gpu
from app.gpus.schemas import (
    AssignmentRecordSchema,
    AssignmentSchema,
    AvailabilityQuerySchema,
    AvailabilitySchema,
    ExtensionSchema,
    GpuSchema,
    JointAssignmentSchema,
    JointExtensionSchema,
    SelectedGpusSchema,
    UtilizationQuerySchema,
    UtilizationSchema,
)
from app.resource import (
    Resource,
    act_on_all,
    allowed_if,
    answer,
    button,
    get,
    get_locked,
    parse_conditions,
    resource_blueprint,
    results_schema,
)

resource = Resource(
    model=Gpu,
    schema=GpuSchema,
    titles=("GPUs", "GPU", "显卡"),
    search=(Gpu.model, Gpu.uuid, Gpu.serial_number, Gpu.purpose),
    natural_key=(("uuid",), ("server_id", "slot")),
    recognised_by=("serial_number",),
)
blueprint: Blueprint = resource_blueprint(resource)


@blueprint.post("/<int:gpu_id>/assign")
@requires(Role.USER)
@allowed_if(service.may_assign)
@blueprint.arguments(AssignmentSchema)
@blueprint.response(200, GpuSchema)
@audited("assign")
def assign_gpu(body: dict[str, Any], gpu_id: int) -> Response:
    """Assign a GPU to a user."""
    service.assign(get_locked(resource, gpu_id), **body)
    return answer(resource, gpu_id)


@blueprint.post("/<int:gpu_id>/extend")
@requires(Role.USER)
@allowed_if(service.may_release)
@blueprint.arguments(ExtensionSchema)
@blueprint.response(200, GpuSchema)
@audited("extend")
def extend_gpu(body: dict[str, Any], gpu_id: int) -> Response:
    """Let the assignment of a GPU end at another time."""
    service.extend(get_locked(resource, gpu_id), **body)
    return answer(resource, gpu_id)


@blueprint.post("/<int:gpu_id>/release")
@requires(Role.USER)
@allowed_if(service.may_release)
@button("Release", "释放")
@blueprint.response(200, GpuSchema)
@audited("release")
def release_gpu(gpu_id: int) -> Response:
    """Release a GPU."""
    service.release(get_locked(resource, gpu_id))
    return answer(resource, gpu_id)


@blueprint.post("/assign")
@requires(Role.USER)
@blueprint.arguments(JointAssignmentSchema)
@blueprint.alt_response(404, "NotFound")
@blueprint.response(200, results_schema(resource), headers=LOCALIZED)
@audited("assign")
def assign_gpus(body: dict[str, Any]) -> Response:
    """Assign several GPUs to a user: all of them, or none."""
    gpu_ids = body.pop("gpu_ids")
    service.check_assignment(body["user_id"], body["expires_at"])
    return act_on_all(resource, gpu_ids, lambda gpu: service.assign(gpu, **body))


@blueprint.post("/extend")
@requires(Role.USER)
@blueprint.arguments(JointExtensionSchema)
@blueprint.alt_response(404, "NotFound")
@blueprint.response(200, results_schema(resource), headers=LOCALIZED)
@audited("extend")
def extend_gpus(body: dict[str, Any]) -> Response:
    """Let the assignments of several GPUs end at another time: all of them, or none."""
    gpu_ids = body.pop("gpu_ids")
    service.check_end(body["expires_at"])
    return act_on_all(resource, gpu_ids, lambda gpu: service.extend(gpu, **body))


@blueprint.post("/release")
@requires(Role.USER)
@blueprint.arguments(SelectedGpusSchema)
@blueprint.alt_response(404, "NotFound")
@blueprint.response(200, results_schema(resource), headers=LOCALIZED)
@audited("release")
def release_gpus(body: dict[str, Any]) -> Response:
    """Release several GPUs: all of them, or none."""
    return act_on_all(resource, body["gpu_ids"], service.release)


@blueprint.get("/<int:gpu_id>/assignments")
@requires(Role.USER)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, AssignmentRecordSchema, many=True)
def list_gpu_assignments(query: dict[str, int], gpu_id: int) -> Page:
    """List a GPU's assignments, the latest first."""
    return service.select_assignments(get(resource, gpu_id).id, **query)


@blueprint.get("/available")
@requires(Role.USER)
@blueprint.arguments(AvailabilityQuerySchema, location="query")
@blueprint.parameter("GpuFilter")
@blueprint.parameter("Related")
@blueprint.response(200, AvailabilitySchema)
def find_available_gpus(query: dict[str, Any]) -> dict[str, Any]:
    """Find available GPUs by model and count, also on one server, and by the filters of their list."""
    own = AvailabilityQuerySchema._declared_fields
    filters = MultiDict((name, text) for name, text in request.args.items(multi=True) if name not in own)
    conditions, values = parse_conditions(resource, filters)
    return availability.find_available(
        query.get("model"), query["count"], same_server=query["same_server"], conditions=conditions, values=values
    )


@blueprint.get("/utilization")
@requires(Role.USER)
@blueprint.arguments(UtilizationQuerySchema, location="query")
@blueprint.response(200, UtilizationSchema)
def measure_gpu_utilization(query: dict[str, Any]) -> dict[str, Any]:
    """Show the utilization of GPUs over time, by model, datacenter or user."""
    period = utilization.period_of(query.get("since"), query.get("until"), query["bucket"])
    actor = current_actor()
    return utilization.measure(period, query["by"], query["limit"], None if actor.is_admin else actor.id)
