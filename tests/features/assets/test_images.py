"""Asset images: accepted formats, what is stored, downloads, replacement and cleanup."""

import gc
import os
import resource
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from PIL import Image

from app.assets import image_store
from app.assets.models import Asset, AssetImage
from app.core.db.unit_of_work import db
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.resource.bulk import writer
from tests.client import Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.assets.conftest import form, refusing, upload
from tests.images import SECRET, decode, decompression_bomb, encoded_image, exif_data
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database


@pytest.fixture
def asset(make: Make, user: Client) -> Asset:
    return make(Asset, created_by_id=user.user.id)


def download(client: Client, url: str) -> bytes:
    return client.send("GET", url).data


def stored_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("kind", "extension", "content_type"),
    [("JPEG", "jpg", "image/jpeg"), ("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")],
)
def test_image_is_stored_and_served(
    user: Client, other: Client, asset: Asset, directory: Path, kind: str, extension: str, content_type: str
) -> None:
    shown = upload(user, asset, encoded_image(kind))
    assert shown["version"] == 2
    name = shown["image_url"].removeprefix("/api/uploads/")
    assert image_store.NAME.fullmatch(name)
    assert name.endswith(extension)
    assert stored_files(directory) == [name]
    answer = other.send("GET", shown["image_url"])
    assert (answer.mimetype, decode(answer.data).format, decode(answer.data).size) == (content_type, kind, (80, 40))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"] == f'inline; filename="{name}"'
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.content_length == len(answer.data) == (directory / name).stat().st_size
    assert other.send("GET", shown["image_url"], headers={"Range": "bytes=0-9"}).data == answer.data
    again = {"If-None-Match": answer.headers["ETag"]}
    assert other.send("GET", shown["image_url"], expect=304, headers=again).data == b""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_metadata_is_dropped_and_the_image_turned_upright(
    user: Client, asset: Asset, directory: Path, kind: str
) -> None:
    comment = {"comment": SECRET} if kind == "JPEG" else {}
    sent = encoded_image(kind, exif=exif_data(), **comment)
    assert SECRET.encode() in sent
    stored = download(user, upload(user, asset, sent)["image_url"])
    assert SECRET.encode() not in stored
    image = decode(stored).convert("RGB")
    assert image.size == (40, 80)
    upper_left, upper_right = image.getpixel((5, 5)), image.getpixel((35, 5))
    assert isinstance(upper_left, tuple)
    assert isinstance(upper_right, tuple)
    assert upper_left[1] > 200
    assert upper_right[0] > 200
    assert not decode(stored).getexif()


def test_data_appended_to_an_image_is_dropped(user: Client, asset: Asset, directory: Path) -> None:
    hidden = b"<script>alert(1)</script>"
    stored = download(user, upload(user, asset, encoded_image("PNG") + hidden)["image_url"])
    assert hidden not in stored


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "1"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("JPEG", "L"),
        ("JPEG", "CMYK"), ("WEBP", "RGBA"),
    ],
)  # fmt: skip
def test_color_modes_are_accepted(user: Client, asset: Asset, directory: Path, kind: str, mode: str) -> None:
    source = encoded_image(kind, mode="L") if mode == "I;16" else encoded_image(kind, mode=mode)
    if mode == "I;16":
        encoded = BytesIO()
        Image.new("I;16", (80, 40), 60_000).save(encoded, "PNG")
        source = encoded.getvalue()
    stored = decode(download(user, upload(user, asset, source)["image_url"]))
    assert (stored.format, stored.size) == (kind, (80, 40))
    assert stored.has_transparency_data == decode(source).has_transparency_data


def test_first_frame_of_an_animation_is_stored(user: Client, asset: Asset, directory: Path) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    encoded = BytesIO()
    frames[0].save(encoded, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    stored = decode(download(user, upload(user, asset, encoded.getvalue())["image_url"]))
    assert getattr(stored, "n_frames", 1) == 1
    first = stored.convert("RGB").getpixel((10, 10))
    assert isinstance(first, tuple)
    assert first[0] > 200


def truncated(kind: str) -> bytes:
    return encoded_image(kind, (400, 400))[:-200]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"RIFF\x00\x00\x01\x00WEBPVP8 " + bytes(100),
        encoded_image("GIF"),
        encoded_image("BMP"),
        encoded_image("TIFF"),
        encoded_image("ICO"),
        truncated("JPEG"),
        truncated("PNG"),
        truncated("WEBP"),
    ],
    ids=[
        "empty", "text", "svg", "eps", "png header only", "jpeg header only", "webp header only", "gif", "bmp", "tiff",
        "ico", "truncated jpeg", "truncated png", "truncated webp",
    ],
)  # fmt: skip
def test_other_files_are_refused(user: Client, asset: Asset, directory: Path, content: bytes) -> None:
    answer = upload(user, asset, content, expect=422)
    assert answer["reason"] == "not_a_picture"
    assert "JPEG, PNG or WebP" in answer["errors"]["file"][0]
    assert stored_files(directory) == []
    assert user.call("GET", f"/api/assets/{asset.id}")["data"]["version"] == 1


def test_decompression_bomb_is_refused_before_it_is_decoded(user: Client, asset: Asset, directory: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = decompression_bomb()
    assert len(content) < 100_000
    answer = upload(user, asset, content, expect=422)
    assert "50 million pixels" in answer["errors"]["file"][0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


def test_file_above_the_size_limit_is_refused(build_app: BuildApp, user: Client, asset: Asset, directory: Path) -> None:
    small = Client(build_app(MAX_UPLOAD_MB=1), user.document, user.token, user.user)
    noise = os.urandom(1024 * 1024 + 1)
    assert "1 MB" in small.call("POST", f"/api/assets/{asset.id}/image", expect=413, **form(noise))["message"]
    # A body above the limit of the whole form is refused by its Content-Length.
    small.call("POST", f"/api/assets/{asset.id}/image", expect=413, **form(noise * 3))


def test_form_must_hold_one_image_and_nothing_else(user: Client, asset: Asset, directory: Path) -> None:
    path = f"/api/assets/{asset.id}/image"
    assert "file" in user.call("POST", path, expect=422, data={}, content_type="multipart/form-data")["data"]["errors"]
    named = form(encoded_image(), image_url="/elsewhere")
    assert "image_url" in user.call("POST", path, expect=422, **named)["data"]["errors"]
    user.call("POST", path, expect=415, json={"file": "p.jpg"})
    user.call("POST", path, expect=415, data=encoded_image(), content_type="image/jpeg")
    user.call("POST", "/api/assets/4711/image", expect=404, **form(encoded_image()))
    refused = user.call("PATCH", f"/api/assets/{asset.id}", json={"image_url": "/elsewhere"}, expect=422)
    assert "image_url" in refused["data"]["errors"]


def test_new_image_replaces_the_old_one(user: Client, asset: Asset, directory: Path) -> None:
    first = upload(user, asset, encoded_image())["image_url"]
    second = upload(user, asset, encoded_image("PNG"))["image_url"]
    assert stored_files(directory) == [second.removeprefix("/api/uploads/")]
    user.send("GET", first, expect=404)
    download(user, second)


def test_image_can_be_removed(user: Client, asset: Asset, directory: Path) -> None:
    url = upload(user, asset, encoded_image())["image_url"]
    path = f"/api/assets/{asset.id}/image"
    user.call("DELETE", path, headers={"If-Match": '"1"'}, expect=412)
    assert stored_files(directory) != []
    assert user.call("DELETE", path, headers={"If-Match": '"2"'})["data"] is None
    assert stored_files(directory) == []
    now = user.call("GET", f"/api/assets/{asset.id}")["data"]
    assert (now["image_url"], now["version"]) == (None, 3)
    user.send("GET", url, expect=404)
    user.call("DELETE", path, expect=404)


@pytest.mark.parametrize("name", ["none.jpg", "..%2f..%2fetc%2fpasswd", "%00", "a" * 3000, "0" * 32 + ".svg"])
def test_only_images_of_assets_are_served(user: Client, directory: Path, name: str) -> None:
    (directory / "none.jpg").write_bytes(b"somebody else's")
    user.call("GET", f"/api/uploads/{name}", expect=404)


def test_each_change_of_an_image_is_audited(user: Client, admin: Client, asset: Asset, directory: Path) -> None:
    url = upload(user, asset, encoded_image())["image_url"]
    user.call("DELETE", f"/api/assets/{asset.id}/image")
    query = {"resource_type": "assets", "resource_id": asset.id, "sort": "id"}
    _, given, taken = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert given["changes"] == {"image_url": {"old": None, "new": url}}
    assert taken["changes"] == {"image_url": {"old": url, "new": None}}
    assert given["user_id"] == taken["user_id"] == user.user.id


@pytest.mark.race
def test_concurrent_uploads_leave_one_image(user: Client, asset: Asset, directory: Path) -> None:
    urls = [shown["image_url"] for shown in run_concurrently([lambda: upload(user, asset, encoded_image())] * 4)]
    now = user.call("GET", f"/api/assets/{asset.id}")["data"]
    assert now["version"] == 5
    assert now["image_url"] in urls
    assert stored_files(directory) == [now["image_url"].removeprefix("/api/uploads/")]


def test_no_lock_is_held_while_an_image_is_decoded(
    user: Client, asset: Asset, directory: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held lock would block every other writer on SQLite."""
    read = Image.open

    def open_slowly(*args: Any, **kwargs: Any) -> Any:
        run_concurrently([lambda: make(Datacenter)])
        return read(*args, **kwargs)

    monkeypatch.setattr(Image, "open", open_slowly)
    upload(user, asset, encoded_image())


def test_file_is_removed_when_the_transaction_fails(app: Flask, user: Client, asset: Asset, directory: Path) -> None:
    """The audit record cannot be written, so the change is rolled back, and the file deleted."""
    with refusing(app, "INSERT INTO audit_logs"):
        user.call("POST", f"/api/assets/{asset.id}/image", expect=(500, 503), **form(encoded_image()))
    assert stored_files(directory) == []
    assert user.call("GET", f"/api/assets/{asset.id}")["data"]["image_url"] is None


def test_file_stays_when_its_replacement_fails(app: Flask, user: Client, asset: Asset, directory: Path) -> None:
    url = upload(user, asset, encoded_image())["image_url"]
    with refusing(app, "INSERT INTO audit_logs"):
        user.call("POST", f"/api/assets/{asset.id}/image", expect=(500, 503), **form(encoded_image()))
        user.call("DELETE", f"/api/assets/{asset.id}/image", expect=(500, 503))
    download(user, url)
    assert stored_files(directory) == [url.removeprefix("/api/uploads/")]


# Werkzeug leaves the temporary file that it could not write to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("room", [-100_000, 100_000], ids=["while receiving", "while storing"])
def test_full_disk_is_reported_and_leaves_no_partial_file(
    user: Client, asset: Asset, directory: Path, room: int
) -> None:
    """RLIMIT_FSIZE limits every file: the database writes smaller ones, the stored image would be larger."""
    noise = Image.frombytes("RGB", (2400, 2400), os.urandom(2400 * 2400 * 3))
    encoded = BytesIO()
    noise.save(encoded, "JPEG", quality=50)
    content = encoded.getvalue()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + room, hard))
    try:
        answer = user.send("POST", f"/api/assets/{asset.id}/image", expect=503, **form(content))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        gc.collect()
    assert b"storage_unavailable" in answer.data
    assert answer.headers["Retry-After"]
    assert stored_files(directory) == []
    assert user.call("GET", f"/api/assets/{asset.id}")["data"]["version"] == 1


def test_unneeded_files_are_deleted_after_their_retention(
    app: Flask, user: Client, admin: Client, make: Make, directory: Path
) -> None:
    """Those of an uncommitted upload and of a deleted asset; not those of current images, nor foreign files."""
    shown, deleted = (make(Asset, created_by_id=user.user.id) for _ in range(2))
    urls = [upload(user, asset, encoded_image())["image_url"] for asset in (shown, deleted)]
    used, gone = (url.removeprefix("/api/uploads/") for url in urls)
    user.call("DELETE", f"/api/assets/{deleted.id}")
    user.send("GET", urls[1], expect=404)
    uncommitted = "0" * 32 + ".png"
    (directory / f"{uncommitted}.part").write_bytes(b"half")
    (directory / "not-ours.txt").write_bytes(b"")
    now = utcnow()

    def set_delete_at(name: str, when: Any) -> None:
        table = AssetImage.__table__
        db.session.execute(sa.update(table).where(table.c.name == name).values(delete_at=when))
        db.session.commit()

    with app.app_context():
        lost = AssetImage(name=uncommitted, asset_id=shown.id, content_type="image/png", created_at=now, delete_at=now)
        db.session.add(lost)
        db.session.commit()
        assert image_store.delete_unneeded() == 1
        assert stored_files(directory) == sorted([used, gone, "not-ours.txt"])
        set_delete_at(gone, now - timedelta(seconds=1))
        set_delete_at(used, now - timedelta(seconds=1))
        assert (image_store.delete_unneeded(), image_store.delete_unneeded()) == (1, 0)
    assert stored_files(directory) == sorted([used, "not-ours.txt"])
    download(user, urls[0])


def test_restored_asset_has_its_image(app: Flask, user: Client, asset: Asset, directory: Path) -> None:
    shown = upload(user, asset, encoded_image())
    user.call("DELETE", f"/api/assets/{asset.id}")
    with app.app_context():
        image_store.delete_unneeded()
        # As the restore action does: the version continues.
        values = {column.key: getattr(asset, column.key) for column in Asset.__table__.columns}
        values |= {"image_url": shown["image_url"], "version": shown["version"] + 2}
        writer.restore(Asset, [values])
        db.session.commit()
        image_store.delete_unneeded()
        assert db.session.scalar(sa.select(AssetImage.delete_at)) is None
    download(user, shown["image_url"])
