"""How long uploaded files are kept: as long as somebody may want the report of their import."""

from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.imports.models import Import, ImportFile
from app.imports.report.models import ImportReport


def forget_old_files() -> None:
    """Delete the files and reports of imports that ended long ago; their plans and records stay.

    Each upload does it, so that it needs no clock of its own.
    """
    limit = utcnow() - timedelta(days=current_app.config["IMPORT_FILE_DAYS"])
    old = sa.select(Import.id).where(Import.finished_at < limit)
    for table in (ImportFile.__table__, ImportReport.__table__):
        db.session.execute(sa.delete(table).where(table.c.import_id.in_(old)))
