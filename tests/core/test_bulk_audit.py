"""The records of creations that are made column by column, beside those that the session's listener makes."""

from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pytest
from flask import Flask

from app.assets.models import AssetType
from app.assets.routes import resource as assets
from app.core.audit.models import STORED
from app.core.audit.recorder import created
from app.core.db.unit_of_work import db
from app.core.values import json_text
from app.resource import Resource
from app.resource.bulk import writer
from app.servers.models import ServerStatus
from app.servers.routes import resource as servers

LOG = STORED


def _record(resource: Resource, identity: int) -> dict[str, Any]:
    where = LOG.c.resource_type == resource.name, LOG.c.resource_id == identity
    return dict(db.session.execute(LOG.select().where(*where)).mappings().one())


def _alike(resource: Resource, **values: Any) -> list[dict[str, Any]]:
    """The records of an object that the session creates, and of one of the same values that is written in a set."""
    name = resource.model.label
    one = resource.model(**values, **{name: "one"})
    db.session.add(one)
    db.session.flush()
    (identity,) = writer.allocate_ids(resource, 1)
    writer.insert(resource, [identity], [{**values, name: "two"}], None)
    return [_record(resource, object_id) for object_id in (one.id, identity)]


@pytest.mark.parametrize(
    ("resource", "values"),
    [
        (
            servers,
            {
                "status": ServerStatus.MAINTENANCE,
                "memory_gb": 128.0,
                "disk_gb": 0.5,
                "purchase_date": date(2027, 1, 31),
                "rack": 'R "1"\\é',
                "tags": ["a", "b"],
                "attributes": {"share": 1.5, "名": None},
            },
        ),
        (assets, {"asset_type": AssetType.LAPTOP, "purchase_price": Decimal("12.50")}),
    ],
    ids=["servers", "assets"],
)
def test_a_creation_in_a_set_is_recorded_like_one_alone(app: Flask, resource: Resource, values: dict[str, Any]) -> None:
    with app.app_context():
        alone, in_set = _alike(resource, **values)
        for record in (alone, in_set):
            changes = orjson.loads(record["changes"])
            assert changes.pop("name")["new"] == record["resource_name"]
            record["changes"] = orjson.dumps(changes)
        differing = {name for name, value in alone.items() if in_set[name] != value}
        assert differing == {"id", "created_at", "resource_id", "resource_name", "mac"}
        db.session.rollback()


def test_its_text_is_the_one_that_the_log_has_always_had(app: Flask) -> None:
    with app.app_context():
        (identity,) = writer.allocate_ids(servers, 1)
        writer.insert(servers, [identity], [{"name": "n1", "cpu_cores": 4}], None)
        record = _record(servers, identity)
        changes = created(dict(db.session.execute(servers.model.__table__.select()).mappings().one()), servers.model)
        assert record["changes"] == json_text(changes)
        db.session.rollback()
