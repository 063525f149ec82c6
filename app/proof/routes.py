"""`GET /api/audit-logs/verify`: a quick verification of the audit log."""

from typing import Any

from marshmallow import Schema, fields

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.proof.report import FindingKind, Status
from app.proof.verification import verify

NEWEST_RECORDS = 20_000
"""The records that a request verifies; `flask audit verify` verifies a longer log as a whole."""

blueprint = Blueprint("audit_proof", __name__, url_prefix="/api/audit-logs", description="Proof of the audit log")


class RangeSchema(Schema):
    first = fields.Integer(required=True, data_key="from")
    last = fields.Integer(required=True, data_key="to")


class FindingSchema(Schema):
    kind = fields.String(required=True, metadata={"enum": [kind.value for kind in FindingKind]})
    message = fields.String(required=True)
    record_id = fields.Integer(required=True, allow_none=True)
    resource_type = fields.String(required=True, allow_none=True)
    resource_id = fields.Integer(required=True, allow_none=True)
    range = fields.Nested(RangeSchema, required=True, allow_none=True, metadata={"description": "Positions."})


class VerificationSchema(Schema):
    status = fields.String(required=True, metadata={"enum": [status.name.lower() for status in Status]})
    records = fields.Integer(required=True, metadata={"description": "Records that were verified."})
    unsealed = fields.Integer(required=True, metadata={"description": "Of those, the ones not sealed yet."})
    checkpoints = fields.Integer(required=True)
    size = fields.Integer(required=True, metadata={"description": "The size of the tree."})
    first = fields.Integer(required=True, data_key="from", metadata={"description": "The first position verified."})
    rows = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Live rows compared; null if none were."}
    )
    count = fields.Integer(required=True, metadata={"description": "The number of findings; the first 100 are listed."})
    findings = fields.List(fields.Nested(FindingSchema), required=True)
    doubts = fields.List(fields.String(), required=True, metadata={"description": "Why it cannot be decided."})


@blueprint.get("/verify")
@requires(Role.ADMIN)
@blueprint.response(200, VerificationSchema)
def verify_audit_log() -> dict[str, Any]:
    """Verify the audit log, or the newest records of a long one."""
    return verify(newest=NEWEST_RECORDS).as_dict()
