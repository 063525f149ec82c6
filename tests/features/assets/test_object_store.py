"""Asset images in an object store: as in a folder, and while it hangs, loses files, or is moved to."""

import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.assets import image_store
from app.assets.models import Asset, AssetImage
from app.core.db.unit_of_work import db
from app.core.storage.folder import Folder
from app.core.storage.storage import storage_at
from app.core.values import utcnow
from tests.client import Client
from tests.documents.blocks import commands_of
from tests.factories import Make
from tests.features.assets.conftest import form, refusing, upload
from tests.images import decode, encoded_image
from tests.object_store import ObjectStore
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database


@pytest.fixture
def asset(make: Make, user: Client) -> Asset:
    return make(Asset, created_by_id=user.user.id)


@pytest.fixture
def bucket(app: Flask, object_store: ObjectStore) -> Iterator[str]:
    """The name of a new bucket, in which the application keeps its images."""
    name = object_store.new_bucket()
    with stored_in(app, object_store.settings(name)):
        yield name


@contextmanager
def stored_in(app: Flask, settings: dict[str, Any]) -> Iterator[None]:
    """Have the application use the object store of these settings."""
    before, used = dict(app.config), app.extensions["storage"]
    app.config.update(settings)
    app.extensions["storage"] = storage_at(settings["STORAGE_URL"], app.config)
    try:
        yield
    finally:
        app.config.update({name: before[name] for name in settings})
        app.extensions["storage"] = used


def name_of(shown: dict[str, Any]) -> str:
    return str(shown["image_url"]).removeprefix("/api/uploads/")


def test_image_is_stored_served_and_replaced(
    user: Client, asset: Asset, bucket: str, object_store: ObjectStore
) -> None:
    first = upload(user, asset, encoded_image())
    assert object_store.names(bucket) == [name_of(first)]
    answer = user.send("GET", first["image_url"])
    assert decode(answer.data).size == (80, 40)
    assert answer.headers["Content-Length"] == str(len(answer.data))
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["ETag"] == f'"{name_of(first)}"'
    unchanged = user.send("GET", first["image_url"], headers={"If-None-Match": answer.headers["ETag"]}, expect=304)
    assert unchanged.data == b""
    second = upload(user, asset, encoded_image("PNG"))
    assert object_store.names(bucket) == [name_of(second)]
    user.call("DELETE", f"/api/assets/{asset.id}/image")
    assert object_store.names(bucket) == []


def test_concurrent_uploads_leave_one_image(user: Client, asset: Asset, bucket: str, object_store: ObjectStore) -> None:
    run_concurrently([lambda: upload(user, asset, encoded_image())] * 4)
    assert object_store.names(bucket) == [name_of(user.call("GET", f"/api/assets/{asset.id}")["data"])]


def test_file_is_removed_when_the_transaction_fails(
    app: Flask, user: Client, asset: Asset, bucket: str, object_store: ObjectStore
) -> None:
    with refusing(app, "INSERT INTO audit_logs"):
        user.call("POST", f"/api/assets/{asset.id}/image", expect=(500, 503), **form(encoded_image()))
    assert object_store.names(bucket) == []


def test_an_object_that_somebody_deleted_is_not_found(
    user: Client, asset: Asset, bucket: str, object_store: ObjectStore
) -> None:
    shown = upload(user, asset, encoded_image())
    object_store.client().delete_object(Bucket=bucket, Key=name_of(shown))
    user.call("GET", shown["image_url"], expect=404)
    assert upload(user, asset, encoded_image())["image_url"] != shown["image_url"]


def test_unneeded_objects_are_deleted(
    app: Flask, user: Client, asset: Asset, bucket: str, object_store: ObjectStore
) -> None:
    """Those of an upload whose process died; not those of current images, nor objects of others."""
    shown = upload(user, asset, encoded_image())
    lost = "0" * 32 + ".png"
    for name in (lost, "not-ours.txt"):
        object_store.client().put_object(Bucket=bucket, Key=name, Body=b"")
    with app.app_context():
        now = utcnow()
        row = AssetImage(name=lost, asset_id=asset.id, content_type="image/png", created_at=now, delete_at=now)
        db.session.add(row)
        db.session.commit()
        assert image_store.delete_unneeded() == 1
    assert object_store.names(bucket) == sorted([name_of(shown), "not-ours.txt"])


def test_a_silent_store_delays_nobody_for_long(
    app: Flask, user: Client, anonymous: Client, asset: Asset, bucket: str, object_store: ObjectStore
) -> None:
    """Each request is answered within five seconds; a removed image is deleted once the store is back."""
    shown = upload(user, asset, encoded_image())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with stored_in(app, object_store.settings(bucket) | away):
            for method, url, options in (
                ("GET", shown["image_url"], {}),
                ("POST", f"/api/assets/{asset.id}/image", form(encoded_image())),
            ):
                begun = time.monotonic()
                answer = user.send(method, url, expect=503, **options)
                assert time.monotonic() - begun < 5
                assert answer.headers["Retry-After"]
                assert answer.json["data"]["reason"] == "storage_unavailable"
            assert user.call("GET", f"/api/assets/{asset.id}")["data"]["image_url"] == shown["image_url"]
            state = anonymous.call("GET", "/api/health/ready")["data"]
            assert (state["status"], state["storage"]) == ("degraded", "down")
            user.call("DELETE", f"/api/assets/{asset.id}/image")
    assert object_store.names(bucket) == [name_of(shown)]
    with app.app_context():
        # The upload that failed is taken for dead after an hour.
        later = sa.update(AssetImage).values(delete_at=utcnow() - timedelta(seconds=1))
        db.session.execute(later)
        db.session.commit()
        assert image_store.delete_unneeded() == 2
    assert object_store.names(bucket) == []


def test_images_move_into_a_bucket_and_back(
    app: Flask, user: Client, make: Make, directory: Path, object_store: ObjectStore, tmp_path: Path
) -> None:
    assets = [make(Asset, created_by_id=user.user.id) for _ in range(12)]
    urls = [upload(user, asset, encoded_image())["image_url"] for asset in assets]
    contents = {url: user.send("GET", url).data for url in urls}
    (directory / "not-ours.txt").write_bytes(b"")
    bucket = object_store.new_bucket()
    settings = object_store.settings(bucket) | {"STORAGE_URL": f"s3://{bucket}/images"}
    with stored_in(app, settings):
        user.call("GET", urls[0], expect=404)
        assert "Copied 12 images; 0 were there already." in copy_as_the_page_says(app, directory, settings)
        assert "Copied 0 images; 12 were there already." in copy(app, directory, settings["STORAGE_URL"])
        assert {url: user.send("GET", url).data for url in urls} == contents
        assert len(object_store.names(bucket)) == 12
        copy(app, settings["STORAGE_URL"], tmp_path)
    app.extensions["storage"], used = Folder(tmp_path), app.extensions["storage"]
    try:
        assert {url: user.send("GET", url).data for url in urls} == contents
        lost = urls[3].removeprefix("/api/uploads/")
        (tmp_path / lost).unlink()
        (directory / lost).unlink()
        assert f"1 images are in neither: {lost}" in copy(app, tmp_path, directory, code=1)
    finally:
        app.extensions["storage"] = used


def copy_as_the_page_says(app: Flask, directory: Path, settings: dict[str, Any]) -> str:
    """Execute the command of docs/configuring.md with this folder and bucket."""
    (block,) = commands_of("docs/configuring.md", on="store")
    replaced = {"instance/uploads": str(directory), "s3://itam/images": settings["STORAGE_URL"]}
    program, *arguments = (replaced.get(word, word) for word in shlex.split(block.text))
    assert (program, arguments[-2:]) == ("flask", list(replaced.values()))
    return run(app, arguments)


def copy(app: Flask, source: object, target: object, code: int = 0) -> str:
    return run(app, ["storage", "copy", str(source), str(target)], code)


def run(app: Flask, arguments: list[str], code: int = 0) -> str:
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_commands_name_what_is_wrong(app: Flask, object_store: ObjectStore, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    with stored_in(app, object_store.settings("no-such-bucket")):
        checked = run(args=["storage", "check"])
        assert (checked.exit_code, checked.output) == (
            1,
            "Error: s3://no-such-bucket: there is no such bucket: create it, or correct STORAGE_URL.\n",
        )
        copied = run(args=["storage", "copy", str(tmp_path), "s3://no-such-bucket"])
        assert copied.exit_code == 1
        assert "there is no such bucket" in copied.output
        assert "There is no folder" in run(args=["storage", "copy", f"{tmp_path}/none", "s3://no-such-bucket"]).output
    assert run(args=["storage", "check"]).output == "The storage works.\n"
