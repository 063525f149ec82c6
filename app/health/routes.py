"""`GET /api/health` and `/api/health/ready`: liveness, and readiness of database, cache, queue, sealing and files."""

import sqlalchemy as sa
from flask import current_app
from marshmallow import Schema, fields
from sqlalchemy.exc import SQLAlchemyError

from app.core.cache.generations import reachable
from app.core.cache.replica import replica_of_app
from app.core.db.unit_of_work import db
from app.core.errors import Unavailable
from app.core.http.access import public
from app.core.http.api import Blueprint
from app.core.jobs.runner import runner_of
from app.core.storage.storage import storage
from app.proof.sealer import is_late

blueprint = Blueprint("health", __name__, url_prefix="/api/health", description="Health of the platform")


_PUNCTUALITY = {"enum": ["ok", "late"], "enumeration": "Punctuality"}


class AliveSchema(Schema):
    status = fields.String(required=True, metadata={"enum": ["ok"]})


class ReadySchema(Schema):
    status = fields.String(required=True, metadata={"enum": ["ok", "degraded", "down"], "enumeration": "Readiness"})
    database = fields.String(required=True, metadata={"enum": ["ok", "down"], "enumeration": "DatabaseState"})
    cache = fields.String(required=True, metadata={"enum": ["ok", "down", "in process"], "enumeration": "CacheState"})
    queue = fields.String(
        required=True,
        metadata={**_PUNCTUALITY, "description": "Whether a worker executes the jobs that are due."},
    )
    audit = fields.String(required=True, metadata={**_PUNCTUALITY, "description": "Whether records are sealed."})
    storage = fields.String(
        required=True,
        metadata={"enum": ["ok", "down"], "enumeration": "StorageState", "description": "Whether images can be read."},
    )
    replica = fields.String(
        metadata={
            "enum": ["ok", "late", "down"],
            "enumeration": "ReplicaState",
            "description": "Whether the standby answers and is up to date; absent where there is none.",
        },
    )


@blueprint.get("")
@public
@blueprint.response(200, AliveSchema)
def get_health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@blueprint.get("/ready")
@public
@blueprint.response(200, ReadySchema)
def get_readiness() -> dict[str, str]:
    """Whether database, cache and storage answer, jobs are executed and records sealed; 503 without a database."""
    states = {"database": _database(), "cache": reachable()}
    if states["database"] == "down":
        raise Unavailable(**states)
    states["queue"] = "late" if runner_of(current_app).is_late() else "ok"
    states["audit"] = "late" if is_late() else "ok"
    states["storage"] = "ok" if storage().is_up() else "down"
    if replica := replica_of_app():
        states["replica"], _ = replica.state()
    return {"status": "degraded" if {"down", "late"} & {*states.values()} else "ok", **states}


def _database() -> str:
    try:
        db.session.execute(sa.text("SELECT 1"))
    except SQLAlchemyError:
        db.session.rollback()
        return "down"
    return "ok"
