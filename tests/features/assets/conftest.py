"""The upload directory, and uploads of images."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask
from psycopg import errors as postgres
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.assets.models import Asset
from app.core.db.unit_of_work import db
from tests.client import Body, Client


@pytest.fixture
def directory(app: Flask) -> Iterator[Path]:
    """The upload directory; empty after each test."""
    directory: Path = app.config["UPLOAD_DIR"]
    yield directory
    for path in directory.iterdir():
        path.unlink()


def form(content: bytes, **fields: str) -> dict[str, Any]:
    boundary, body = encode_multipart({"file": FileStorage(BytesIO(content), "image.jpg"), **fields})
    return {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}


def upload(client: Client, asset: Asset, content: bytes, **options: Any) -> Body:
    return client.call("POST", f"/api/assets/{asset.id}/image", **form(content), **options)["data"]


@contextmanager
def refusing(app: Flask, beginning: str) -> Iterator[None]:
    """Let the database fail at statements with this beginning."""

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(beginning):
            raise sa.exc.OperationalError(statement, {}, full)

    with app.app_context():
        engine = db.engine
    full = {
        "postgresql": postgres.DiskFull("disk is full"),
        "sqlite": sqlite3.OperationalError("database or disk is full"),
        "mariadb": pymysql.err.OperationalError(1114, "The table is full"),
    }[engine.url.get_backend_name()]
    sa.event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)
