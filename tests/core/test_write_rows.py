"""Many rows written at once: all of them or none, in however many statements."""

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db import statements
from app.core.db.statements import write_rows
from app.core.db.unit_of_work import db
from app.core.jobs.queue import Job
from app.core.values import utcnow

COLUMNS = ("kind", "subject_id", "origin", "state", "attempts", "created_at")


def write(*subjects: int | None) -> None:
    now = utcnow()
    write_rows(Job.__table__, COLUMNS, (("test", subject, {"by": "a test"}, "queued", 0, now) for subject in subjects))


def stored(app: Flask) -> list[int]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Job.subject_id).order_by(Job.id)))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_every_part_is_written(app: Flask, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(statements, "ROWS_A_COPY", 2)
    with app.app_context():
        write(*range(count))
        db.session.commit()
    assert stored(app) == list(range(count))


def test_one_that_is_refused_undoes_them_all(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "ROWS_A_COPY", 2)
    with app.app_context():
        with pytest.raises(sa.exc.IntegrityError):
            write(1, 2, 3, None)
        db.session.rollback()
    assert stored(app) == []
