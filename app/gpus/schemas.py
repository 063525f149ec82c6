"""Schemas of GPUs, assignments, availability and utilization."""

from typing import Any

from marshmallow import Schema, fields, pre_load, validate

from app.core.values import MAX_ID
from app.gpus.availability import MAX_GPUS
from app.gpus.models import Gpu
from app.gpus.utilization import Bucket, Grouping
from app.resource import Integer, Moment, QueryTime, ReferenceSchema, ResourceSchema, Text, ids_field


class GpuSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Gpu


class AssignmentSchema(Schema):
    """The user, the purpose and the end of a new assignment."""

    user_id = Integer(required=True, validate=validate.Range(1, MAX_ID))
    purpose = Text(length=255, allow_none=True, load_default=None)
    expires_at = Moment(allow_none=True, load_default=None)


class ExtensionSchema(Schema):
    expires_at = Moment(required=True, allow_none=True, metadata={"description": "The new end; null: none."})


class SelectedGpusSchema(Schema):
    gpu_ids = ids_field("All of them, or none if one is refused.")


class JointAssignmentSchema(SelectedGpusSchema, AssignmentSchema):
    """The GPUs, and the user, the purpose and the end of their new assignments."""


class JointExtensionSchema(SelectedGpusSchema, ExtensionSchema):
    pass


class AssignmentRecordSchema(Schema):
    id = fields.Integer(required=True)
    gpu_id = fields.Integer(required=True)
    user = fields.Nested(ReferenceSchema, required=True, allow_none=True)
    username = fields.String(required=True)
    assigned_by = fields.String(required=True)
    purpose = fields.String(required=True, allow_none=True)
    assigned_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    released_at = fields.AwareDateTime(required=True, allow_none=True)
    released_by = fields.String(required=True, allow_none=True)


class AvailabilityQuerySchema(Schema):
    """How many GPUs of which model, and whether on one server."""

    model = Text(
        length=255,
        metadata={"description": "The name of a model, ignoring case, or words that its name contains."},
    )
    count = fields.Integer(load_default=1, validate=validate.Range(1, 1000))
    same_server = fields.Boolean(
        load_default=False, metadata={"description": "Only servers that have all of them, of one model."}
    )

    @pre_load
    def leave_filters(self, sent: Any, **_: Any) -> dict[str, Any]:
        """The view reads the other parameters as filters of the list, and refuses what is none."""
        return {name: sent[name] for name in self.fields if name in sent}


class AvailableGpuSchema(Schema):
    id = fields.Integer(required=True)
    slot = fields.Integer(required=True, allow_none=True)
    uuid = fields.String(required=True, allow_none=True)
    memory_mb = fields.Integer(required=True, allow_none=True)


class ServerAvailabilitySchema(Schema):
    """Available GPUs of one model on one server."""

    server = fields.Nested(ReferenceSchema, required=True)
    datacenter = fields.Nested(ReferenceSchema, required=True, allow_none=True)
    model = fields.String(required=True)
    available = fields.Integer(required=True, metadata={"description": "How many are available on this server."})
    gpus = fields.List(
        fields.Nested(AvailableGpuSchema), required=True, metadata={"description": "The suggested GPUs, by slot."}
    )


class AvailabilitySchema(Schema):
    """With `same_server`, each server has enough GPUs, and the one with the fewest left over comes first; else the
    servers have them together. If it is not possible, the servers with available GPUs, the one with the most first.
    """

    possible = fields.Boolean(required=True)
    available = fields.Integer(required=True, metadata={"description": "On all active servers."})
    most_on_one_server = fields.Integer(required=True, metadata={"description": "Of one model."})
    at_least = fields.Boolean(
        required=True,
        metadata={
            "description": f"Whether more are available than were looked through, which are about {MAX_GPUS:,}: "
            "`available` and `most_on_one_server` are at least these, and other servers may fit as well or better. "
            "Whether it is `possible` is exact."
        },
    )
    servers = fields.List(fields.Nested(ServerAvailabilitySchema), required=True)


class UtilizationQuerySchema(Schema):
    since = QueryTime(data_key="from", metadata={"description": "Default: the midnight (UTC) 30 days before `to`."})
    until = QueryTime(
        ends=True, data_key="to", metadata={"description": "Default, and at most: now. Of a date, its end in UTC."}
    )
    bucket = fields.Enum(Bucket, by_value=True, load_default=Bucket.DAY)
    by = fields.Enum(Grouping, by_value=True, load_default=Grouping.MODEL)
    limit = fields.Integer(
        load_default=20,
        validate=validate.Range(1, 100),
        metadata={"description": "Number of groups; `total` covers all."},
    )


class GpuHoursSchema(Schema):
    """`utilization` is `held_hours` divided by `existing_hours`, from 0 to 1; null where no GPU existed."""

    held_hours = fields.Float(required=True, metadata={"description": "GPU-hours from assignment to release."})
    existing_hours = fields.Float(
        required=True,
        metadata={"description": "GPU-hours since creation; of a retired GPU, only those in which it was held."},
    )
    utilization = fields.Float(required=True, allow_none=True)


BucketSchema = Schema.from_dict(
    {
        "from": fields.AwareDateTime(required=True),
        "to": fields.AwareDateTime(required=True),
        **GpuHoursSchema._declared_fields,
    },
    name="UtilizationBucketSchema",
)


class GpuHoursSeriesSchema(GpuHoursSchema):
    buckets = fields.List(fields.Nested(BucketSchema), required=True)


class UtilizationGroupSchema(GpuHoursSeriesSchema):
    """A model, a datacenter or a user.

    A model and a deleted user have no id. GPUs without a datacenter are a group with neither id nor name.
    """

    id = fields.Integer(required=True, allow_none=True)
    name = fields.String(required=True, allow_none=True)


UtilizationSchema = Schema.from_dict(
    {
        "from": fields.AwareDateTime(required=True),
        "to": fields.AwareDateTime(required=True),
        "total": fields.Nested(GpuHoursSeriesSchema, required=True),
        "groups": fields.List(
            fields.Nested(UtilizationGroupSchema),
            required=True,
            metadata={"description": "The most used first. By user, administrators see all users, others themselves."},
        ),
    },
    name="UtilizationSchema",
)
