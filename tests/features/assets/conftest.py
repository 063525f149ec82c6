"""The upload directory, and uploads of images."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app.assets.models import Asset
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
