"""`/api/audit-logs/verify`, `/seal` and `/<id>/proof`: a quick verification, how far the log is sealed, one proof."""

from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields

from app.core.audit.models import STORED
from app.core.db.files import StorageUnavailable
from app.core.db.unit_of_work import db
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.openapi.failures import FailureSchema
from app.core.messages import tr
from app.core.storage.protocol import StorageError
from app.proof import archive
from app.proof.models import checkpoints, leaves
from app.proof.report import FindingKind, Status
from app.proof.sealer import CannotSeal, is_late, verifier_keys
from app.proof.verification import verify

NEWEST_RECORDS = 20_000
"""The records that a request verifies; `flask audit verify` verifies a longer log as a whole."""

blueprint = Blueprint("audit_proof", __name__, url_prefix="/api/audit-logs", description="Proof of the audit log")


class NotSealed(Conflict):
    reason = "not_sealed"
    message = tr("This record is not sealed yet: that takes some seconds. Please try again.")


class LogWithoutName(Unavailable):
    reason = "log_without_name"
    message = tr("The audit log has lost its name, so it cannot be sealed: run `flask audit verify`.")


class RangeSchema(Schema):
    first = fields.Integer(required=True, data_key="from")
    last = fields.Integer(required=True, data_key="to")


class FindingSchema(Schema):
    kind = fields.Enum(FindingKind, by_value=True, required=True)
    message = fields.String(required=True)
    record_id = fields.Integer(required=True, allow_none=True)
    resource_type = fields.String(required=True, allow_none=True)
    resource_id = fields.Integer(required=True, allow_none=True)
    range = fields.Nested(RangeSchema, required=True, allow_none=True, metadata={"description": "Positions."})


class VerificationSchema(Schema):
    status = fields.String(
        required=True,
        metadata={"enum": [status.name.lower() for status in Status], "enumeration": "VerificationStatus"},
    )
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


class CheckpointSchema(Schema):
    size = fields.Integer(required=True, metadata={"description": "How many records it covers."})
    note = fields.String(required=True, metadata={"description": "The signed text (C2SP tlog-checkpoint)."})
    sealed_at = fields.DateTime(required=True)


class SealSchema(Schema):
    """How far the log is sealed."""

    is_late = fields.Boolean(
        required=True, metadata={"description": "Whether records wait and sealing has made no progress for 10 seconds."}
    )
    waiting = fields.Integer(required=True, metadata={"description": "Records after the newest that is sealed."})
    checkpoint = fields.Nested(
        CheckpointSchema, required=True, allow_none=True, metadata={"description": "The newest; null if there is none."}
    )
    keys = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The public keys that verify checkpoints, the current one first."},
    )


class ProofSchema(Schema):
    """A record, and the hashes that lead from it to a signed root: for `flask audit verify --proof` anywhere."""

    record = fields.String(required=True, metadata={"description": "The bytes that are hashed, as UTF-8."})
    index = fields.Integer(required=True, metadata={"description": "Its position in the tree."})
    proof = fields.List(fields.String(), required=True, metadata={"description": "RFC 6962 hashes, as base64."})
    note = fields.String(required=True, metadata={"description": "The signed checkpoint."})


@blueprint.get("/seal")
@requires(Role.ADMIN)
@blueprint.response(200, SealSchema)
def get_seal() -> dict[str, Any]:
    """How far the log is sealed, with the newest checkpoint and the public keys."""
    try:
        return _seal_state()
    except CannotSeal:
        raise LogWithoutName() from None


@blueprint.get("/<int:record_id>/proof")
@requires(Role.ADMIN)
@blueprint.response(200, ProofSchema)
@blueprint.alt_response(409, schema=FailureSchema, description="The record is not sealed yet.")
def prove_audit_log(record_id: int) -> dict[str, Any]:
    """The proof that a record is in the log, to be kept and verified elsewhere."""
    proof = archive.prove(record_id)
    if proof is not None:
        return proof
    if db.session.scalar(sa.select(STORED.c.id).where(STORED.c.id == record_id)) is None:
        raise NotFound()
    raise NotSealed()


@blueprint.get("/verify")
@requires(Role.ADMIN)
@blueprint.response(200, VerificationSchema)
def verify_audit_log() -> dict[str, Any]:
    """Verify the audit log, or the newest records of a long one."""
    try:
        return verify(newest=NEWEST_RECORDS).as_dict()
    except StorageError:
        raise StorageUnavailable() from None


def _seal_state() -> dict[str, Any]:
    """The newest checkpoint, the public keys, and what waits for the next one.

    Raises CannotSeal if the log has no name.
    """
    newest = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.sealed_at)
    row = db.session.execute(newest.order_by(checkpoints.c.size.desc()).limit(1)).one_or_none()
    last_sealed = sa.select(sa.func.coalesce(sa.func.max(leaves.c.record_id), 0)).scalar_subquery()
    waiting = db.session.scalar(sa.select(sa.func.count()).where(STORED.c.id > last_sealed))
    return {
        "is_late": is_late(),
        "waiting": waiting,
        "checkpoint": None if row is None else row._asdict(),
        "keys": [str(key) for key in verifier_keys()],
    }
