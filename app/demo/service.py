"""Import the sample estate into an empty installation."""

import tempfile
from pathlib import Path

import sqlalchemy as sa

from app.catalog import IMPORTABLE
from app.core.db.unit_of_work import db
from app.core.errors import Conflict
from app.core.messages import tr
from app.core.values import utcnow
from app.demo.estate import write_estate
from app.imports import service as imports
from app.imports.models import PENDING, Import
from app.resource import plural

FILENAME = "sample-estate.xlsx"


class NotEmpty(Conflict):
    reason, message = "not_empty", tr("The sample estate is for an empty installation.")


class UnderWay(Conflict):
    reason, message = "under_way", tr("The sample estate is being imported already.")


def request_estate() -> int:
    """Queue the import of the sample estate and return its id; raises NotEmpty and UnderWay.

    Its undo is that of any import: whatever people have changed meanwhile stands in its way, and is named.
    """
    under_way = sa.select(Import.id).where(Import.is_sample, Import.status.in_(PENDING))
    if db.session.scalar(sa.select(sa.exists(under_way))):
        raise UnderWay
    for name, resource in IMPORTABLE.items():
        # The first environments are there from the beginning.
        if name != "environments" and db.session.scalar(sa.select(sa.exists(sa.select(resource.model.id)))):
            raise NotEmpty(
                tr(
                    "The sample estate is for an empty installation; this one has {resource} already.",
                    resource=plural(resource),
                )
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILENAME
        write_estate(path, utcnow().date())
        return imports.upload(path.read_bytes(), FILENAME, {"apply_at_once": True, "is_sample": True})
