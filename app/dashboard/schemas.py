"""The dashboard as JSON."""

import functools
from typing import Any

from marshmallow import Schema, fields, validate

from app.assets.models import AssetStatus, AssetType
from app.containers.models import ContainerStatus
from app.core.values import Choice
from app.dashboard.growth import DEFAULT_DAYS, MAX_DAYS, MODELS
from app.gpus.models import GpuStatus
from app.servers.models import ServerStatus, ServerType
from app.services.models import ServiceStatus, ServiceType


def _count_by(choices: type[Choice]) -> fields.Nested:
    """The number of objects with each value of an enumeration."""
    return fields.Nested(_counts_schema(choices), required=True)


@functools.cache
def _counts_schema(choices: type[Choice]) -> type[Schema]:
    members: dict[str, fields.Field[Any]] = {choice.value: fields.Integer(required=True) for choice in choices}
    return Schema.from_dict(members, name=f"NumberOfEach{choices.__name__}Schema")


class PlaceCountSchema(Schema):
    """Servers per datacenter or environment; those without one are counted under null."""

    id = fields.Integer(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)
    count = fields.Integer(required=True)


class ModelCountSchema(Schema):
    model = fields.String(required=True)
    count = fields.Integer(required=True)
    by_status = _count_by(GpuStatus)


class ServersSchema(Schema):
    by_status = _count_by(ServerStatus)
    by_type = _count_by(ServerType)
    by_datacenter = fields.List(fields.Nested(PlaceCountSchema), required=True)
    by_environment = fields.List(fields.Nested(PlaceCountSchema), required=True)


class ContainersSchema(Schema):
    by_status = _count_by(ContainerStatus)


class ServicesSchema(Schema):
    by_status = _count_by(ServiceStatus)
    by_type = _count_by(ServiceType)


class GpusSchema(Schema):
    by_status = _count_by(GpuStatus)
    by_model = fields.List(fields.Nested(ModelCountSchema), required=True)


class AssetsSchema(Schema):
    by_status = _count_by(AssetStatus)
    by_type = _count_by(AssetType)


class WarrantySchema(Schema):
    type = fields.String(required=True, metadata={"enum": ["servers", "assets"], "enumeration": "WarrantedResource"})
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    warranty_expires = fields.Date(required=True)


class WarrantiesSchema(Schema):
    """Of servers and assets that are neither retired nor lost."""

    within_30_days = fields.Integer(required=True)
    within_90_days = fields.Integer(required=True)
    next = fields.List(fields.Nested(WarrantySchema), required=True)


class OpenTaskSchema(Schema):
    id = fields.Integer(required=True)
    title = fields.String(required=True)
    due_date = fields.Date(required=True, allow_none=True)


class MineSchema(Schema):
    """Of the signed-in user only, also for administrators."""

    gpus = fields.Integer(required=True, metadata={"description": "GPUs that you hold."})
    open_tasks = fields.Integer(required=True)
    overdue_tasks = fields.Integer(required=True)
    next_tasks = fields.List(
        fields.Nested(OpenTaskSchema), required=True, metadata={"description": "Open ones, the most urgent first."}
    )


class RecentChangeSchema(Schema):
    id = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True)
    username = fields.String(required=True, allow_none=True)
    action = fields.String(required=True)
    resource_type = fields.String(required=True)
    resource_id = fields.Integer(required=True, allow_none=True)
    resource_name = fields.String(required=True, allow_none=True)


class TotalsSchema(Schema):
    datacenters = fields.Integer(required=True)
    environments = fields.Integer(required=True)
    servers = fields.Integer(required=True)
    containers = fields.Integer(required=True)
    services = fields.Integer(required=True)
    gpus = fields.Integer(required=True)
    assets = fields.Integer(required=True)
    users = fields.Integer(required=True, allow_none=True, metadata={"description": "For administrators, else null."})


class DashboardSchema(Schema):
    totals = fields.Nested(TotalsSchema, required=True)
    servers = fields.Nested(ServersSchema, required=True)
    containers = fields.Nested(ContainersSchema, required=True)
    services = fields.Nested(ServicesSchema, required=True)
    gpus = fields.Nested(GpusSchema, required=True)
    assets = fields.Nested(AssetsSchema, required=True)
    warranties = fields.Nested(WarrantiesSchema, required=True)
    mine = fields.Nested(MineSchema, required=True)
    recent_changes = fields.List(
        fields.Nested(RecentChangeSchema),
        required=True,
        allow_none=True,
        metadata={"description": "The latest records of the audit log for administrators, else null."},
    )


class GrowthQuerySchema(Schema):
    days = fields.Integer(
        load_default=DEFAULT_DAYS,
        validate=validate.Range(1, MAX_DAYS),
        metadata={"description": "Days in UTC that end with today."},
    )


SeriesSchema = Schema.from_dict(
    {model.__tablename__: fields.List(fields.Integer(), required=True) for model in MODELS}, name="GrowthSeriesSchema"
)


class GrowthSchema(Schema):
    days = fields.List(fields.Date(), required=True, metadata={"description": "In order; the last is today."})
    series = fields.Nested(
        SeriesSchema,
        required=True,
        metadata={"description": "Of each resource the objects at the end of each day, in the order of `days`."},
    )
