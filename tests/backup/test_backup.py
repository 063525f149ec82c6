"""Backups are made while others write, and restored elsewhere, on a database of either kind."""

import json
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from app import create_app
from app.assets.models import Asset
from app.audit_logs.routes import resource as audit_resource
from app.backup import manifest
from app.backup.creation import count_rows
from app.core.audit.recorder import record
from app.core.db.unit_of_work import db, writing
from app.core.jobs.runner import runner_of
from app.core.mail import outbox
from app.core.messages import tr
from app.core.values import utcnow
from app.datacenters.models import Datacenter
from app.proof.report import Status
from app.proof.sealer import checkpoint_log, seal
from app.proof.verification import verify
from app.servers.models import Server
from tests import backends, mariadb
from tests.backends import Backend
from tests.client import Client
from tests.conftest import close
from tests.counters import assert_counters_match_objects
from tests.factories import Make
from tests.features.assets.conftest import upload
from tests.images import encoded_image
from tests.object_store import ObjectStore
from tests.spread import any_database
from tests.threads import wait_until

restored_on = pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("sqlite", "sqlite"),
        ("postgresql", "postgresql"),
        ("postgresql", "sqlite"),
        ("mariadb", "mariadb"),
        ("mariadb", "sqlite"),
    ],
    indirect=["backend"],
)
"""The kinds of databases from which and to which a backup is moved."""


def run(app: Flask, *arguments: object, code: int = 0) -> Result:
    result = app.test_cli_runner().invoke(args=[str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@contextmanager
def elsewhere(backend: Backend, directory: Path, kind: str = "", **places: Any) -> Iterator[Flask]:
    """An application on another machine: a database of this kind without a schema, and folders of its own."""
    directory.mkdir()
    with ExitStack() as stack:
        url = f"sqlite:///{directory / 'other.db'}"
        if (kind or backend.name) != "sqlite":
            url = stack.enter_context(new_database(kind or backend.name)).render_as_string(hide_password=False)
        prefix = f"itam-elsewhere-{secrets.token_hex(4)}"
        settings = backends.testing(url, backend.settings().REDIS_URL, directory / "uploads", prefix)
        for name, value in places.items():
            setattr(settings, name, value)
        app = create_app(settings)
        stack.callback(close, app)
        yield app


@contextmanager
def new_database(kind: str) -> Iterator[sa.URL]:
    """A database without a schema on a server of this kind."""
    module: Any = mariadb if kind == "mariadb" else backends
    url = module.own_url(secrets.token_hex(4))
    with module.database(url):
        yield url


@contextmanager
def writing_meanwhile(client: Client) -> Iterator[list[str]]:
    """Create datacenters in a thread as fast as it goes; the list has the names of those that were acknowledged."""
    stopping, names = threading.Event(), list[str]()

    def write() -> None:
        while not stopping.is_set():
            name = f"written {len(names)}"
            client.call("POST", "/api/datacenters", json={"name": name}, expect=201)
            names.append(name)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: len(names) > 2)
        yield names
    finally:
        stopping.set()
        thread.join()


@pytest.fixture
def filled(app: Flask, admin: Client, make: Make) -> Iterator[str]:
    """The sample estate, sealed, with an asset's image; the URL of the image."""
    run(app, "demo")
    runner_of(app).run_pending()
    shown = upload(admin, make(Asset, created_by_id=admin.user.id), encoded_image())
    with app.app_context():
        seal()
    yield shown["image_url"]
    for image in app.config["UPLOAD_DIR"].iterdir():
        image.unlink()


def counts(app: Flask) -> dict[str, int]:
    with app.app_context(), db.engine.connect().execution_options(access="read") as connection:
        return count_rows(connection)


def assert_intact(app: Flask) -> None:
    with app.app_context():
        report = verify()
    assert (report.status, list(report.lines())[1:]) == (Status.INTACT, [])


@restored_on
def test_a_backup_taken_while_others_write_is_restored_elsewhere(
    app: Flask, admin: Client, backend: Backend, filled: str, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "backup"
    with writing_meanwhile(admin) as names:
        before = list(names)
        run(app, "backup", folder)
        wait_until(lambda: len(names) > len(before) + 2)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    written = manifest.read(folder)
    with elsewhere(backend, tmp_path / "machine", kind) as other:
        checked = run(other, "restore", "--check", folder)
        assert checked.output.startswith("Intact: ")
        assert not (tmp_path / "machine" / "other.db").exists()
        run(other, "restore", folder)
        restored = counts(other)
        assert restored == written.counts
        assert_intact(other)
        assert_counters_match_objects(other)
        client = Client(other, admin.document, admin.token, admin.user)
        with other.app_context():
            rows = db.session.execute(sa.select(Datacenter.id, Datacenter.name).order_by(Datacenter.id)).all()
        restored_names = [row.name for row in rows if row.name.startswith("written ")]
        assert restored_names == names[: len(restored_names)]
        assert len(before) <= len(restored_names) < len(names)
        assert client.send("GET", filled).data == admin.send("GET", filled).data
        assert client.call("GET", "/api/search?q=H100")["data"]
        # It goes on: ids are not given again, and sealing continues.
        created = client.call("POST", "/api/datacenters", json={"name": "afterwards"}, expect=201)["data"]
        assert created["id"] > rows[-1].id
        run(other, "audit", "seal")
        assert_intact(other)
        if backend.name != "sqlite":
            run(other, "backup", tmp_path / "again")
            assert manifest.read(tmp_path / "again").counts["datacenters"] == restored["datacenters"] + 1


@restored_on
def test_a_restored_database_is_the_same_installation(
    app: Flask, admin: Client, make: Make, backend: Backend, tmp_path: Path, kind: str
) -> None:
    make(Server, name="n1")
    content = admin.send("GET", "/api/servers/export?format=xlsx").data
    run(app, "backup", tmp_path / "backup")
    with elsewhere(backend, tmp_path / "machine", kind) as other:
        run(other, "restore", tmp_path / "backup")
        client = Client(other, admin.document, admin.token, admin.user)
        started = client.call("POST", "/api/imports", expect=202, data={"file": (BytesIO(content), "servers.xlsx")})
        runner_of(other).run_pending()
        (sheet,) = client.call("GET", f"/api/imports/{started['data']['id']}")["data"]["sheets"]
    assert sheet["unchanged"] == 1
    assert [note for note in sheet["sheet_notes"] if note["rule"] == "foreign_ids"] == []


@backends.on_sqlite
def test_a_backup_has_the_checkpoints_of_its_database(
    app: Flask, filled: str, backend: Backend, tmp_path: Path
) -> None:
    """The log is sealed between the copy of the file of checkpoints and that of the database."""
    with app.app_context():
        seal()
        (checkpoints,) = Path(app.config["AUDIT_CHECKPOINTS"]).glob("*.jsonl")
        sealed = checkpoints.read_bytes()
        checkpoints.unlink()
    run(app, "backup", tmp_path / "backup")
    assert (tmp_path / "backup" / "checkpoints" / checkpoints.name).read_bytes() == sealed
    with elsewhere(backend, tmp_path / "elsewhere", AUDIT_CHECKPOINTS=tmp_path / "kept") as other:
        run(other, "restore", tmp_path / "backup")
        assert_intact(other)


def test_ids_of_deleted_objects_are_not_given_again(
    app: Flask, admin: Client, make: Make, backend: Backend, tmp_path: Path
) -> None:
    gone = make(Server).id
    admin.call("DELETE", f"/api/servers/{gone}")
    run(app, "backup", tmp_path / "backup")
    with elsewhere(backend, tmp_path / "machine") as other:
        run(other, "restore", tmp_path / "backup")
        assert Make(other)(Server).id > gone


@backends.on_postgresql
def test_data_is_given_up_by_name_only(
    app: Flask, admin: Client, make: Make, backend: Backend, filled: str, tmp_path: Path
) -> None:
    with elsewhere(backend, tmp_path / "machine") as other:
        run(app, "backup", tmp_path / "backup")
        run(other, "restore", tmp_path / "backup")
        server = Make(other)(Server)
        name = "other.db" if backend.name == "sqlite" else sa.make_url(other.config["SQLALCHEMY_DATABASE_URI"]).database
        for arguments in ([], ["--replace", "another"]):
            refused = run(other, "restore", tmp_path / "backup", *arguments, code=1)
            assert str(name) in refused.output
            assert counts(other)["servers"] == 25
        run(other, "restore", tmp_path / "backup", "--replace", name)
        assert counts(other)["servers"] == 24
        assert server.name not in {row["name"] for row in _servers(other, admin)}


def _servers(app: Flask, admin: Client) -> list[Any]:
    listed: list[Any] = Client(app, admin.document, admin.token, admin.user).call("GET", "/api/servers")["data"]
    return listed


@backends.on_sqlite
def test_sealing_goes_on_after_an_older_state_was_restored(
    app: Flask, admin: Client, make: Make, backend: Backend, filled: str, tmp_path: Path
) -> None:
    with elsewhere(backend, tmp_path / "machine") as other:
        run(app, "backup", tmp_path / "backup")
        run(other, "restore", tmp_path / "backup")
        assert "nothing was changed" in run(other, "audit", "resume").output
        Make(other)(Server)
        run(other, "audit", "seal")
        name = Path(sa.make_url(other.config["SQLALCHEMY_DATABASE_URI"]).database or "").name
        restored = run(other, "restore", tmp_path / "backup", "--replace", name)
        assert "Sealing has stopped until you run `flask audit resume`." in restored.output
        Make(other)(Server)
        assert "rolled back" in run(other, "audit", "seal", code=1).output
        run(other, "audit", "resume")
        assert_intact(other)
        (aside,) = other.config["AUDIT_CHECKPOINTS"].glob("set-aside-*")
        assert [path.suffix for path in aside.iterdir()].count(".jsonl") == 1
        client = Client(other, admin.document, admin.token, admin.user)
        (record,) = client.call("GET", f"{audit_resource.path}?action=resume")["data"]
        assert (record["username"], record["changes"]["checkpoints"]["new"]) == ("command line", aside.name)
        Make(other)(Server)
        run(other, "audit", "seal")
        assert_intact(other)


@any_database
def test_a_damaged_backup_is_found_and_not_restored(app: Flask, filled: str, backend: Backend, tmp_path: Path) -> None:
    intact = tmp_path / "backup"
    run(app, "backup", intact, "--with-secrets")
    image = filled.removeprefix("/api/uploads/")
    with elsewhere(backend, tmp_path / "machine") as other:
        for number, (name, expected) in enumerate(
            {
                "database.db": "database.db was changed or is damaged.",
                f"uploads/{image}": f"uploads/{image} was changed or is damaged.",
                "secrets.env": "secrets.env was changed or is damaged.",
                "uploads/another.jpg": "uploads/another.jpg is not in the manifest.",
                "manifest.json": "cannot be read",
            }.items()
        ):
            damaged = shutil.copytree(intact, tmp_path / f"damaged {number}")
            with (damaged / name).open("ab") as file:
                file.write(b"x")
            for arguments in (["--check"], []):
                assert expected in run(other, "restore", damaged, *arguments, code=1).output
        (damaged / "manifest.json").unlink()
        assert "no complete backup" in run(other, "restore", damaged, code=1).output
        forged = _forge(shutil.copytree(intact, tmp_path / "forged"))
        assert "row_changed" in run(other, "restore", "--check", forged, code=1).output
        assert "row_changed" in run(other, "restore", forged, code=1).output
        assert not (tmp_path / "machine" / "other.db").exists()


def _forge(folder: Path) -> Path:
    """Change a row of the copy, with a manifest that fits."""
    with closing(sqlite3.connect(folder / "database.db")) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE servers SET cpu_cores = 999 WHERE id = (SELECT min(id) FROM servers)")
        connection.commit()
    content = json.loads((folder / "manifest.json").read_text())
    content["files"]["database.db"] = manifest.describe(folder / "database.db")
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@any_database
def test_another_key_verifies_nothing(app: Flask, backend: Backend, tmp_path: Path) -> None:
    run(app, "backup", tmp_path / "backup")
    with elsewhere(backend, tmp_path / "machine") as other:
        other.config["AUDIT_KEY"] = "a key of another installation, of at least 32 bytes"
        assert "is signed by another key" in run(other, "restore", tmp_path / "backup", code=1).output


def test_a_database_in_use_is_not_replaced(app: Flask, admin: Client, backend: Backend, tmp_path: Path) -> None:
    run(app, "backup", tmp_path / "backup")
    with elsewhere(backend, tmp_path / "machine") as other:
        run(other, "restore", tmp_path / "backup")
        name = Path(sa.make_url(other.config["SQLALCHEMY_DATABASE_URI"]).database or "").name
        running = sa.create_engine(
            other.config["SQLALCHEMY_DATABASE_URI"],
            connect_args={"application_name": "itam"} if backend.name == "postgresql" else {},
        )
        with running.connect() as connection:
            connection.execute(sa.text("SELECT count(*) FROM users"))
            connection.rollback()
            refused = run(other, "restore", tmp_path / "backup", "--replace", name, code=1)
            assert "is in use: stop the server" in refused.output
        running.dispose()
        run(other, "restore", tmp_path / "backup", "--replace", name)


@any_database
def test_secrets_are_named_and_copied_on_request(app: Flask, tmp_path: Path) -> None:
    output = run(app, "backup", tmp_path / "without").output
    assert "Keep these secrets elsewhere, the backup needs them: SECRET_KEY, JWT_SECRET_KEY." in output
    assert app.config["SECRET_KEY"] not in (tmp_path / "without" / "manifest.json").read_text()
    run(app, "backup", tmp_path / "with", "--with-secrets")
    secrets = tmp_path / "with" / "secrets.env"
    assert f"SECRET_KEY={app.config['SECRET_KEY']}\n" in secrets.read_text()
    assert secrets.stat().st_mode & 0o777 == 0o600


@any_database
def test_a_backup_is_written_into_a_new_folder(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert "exists already" in run(app, "backup", tmp_path / "there", code=1).output
    (tmp_path / "file").touch()
    run(app, "backup", tmp_path / "file" / "backup", code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


@any_database
def test_an_image_whose_file_is_gone_does_not_prevent_a_backup(
    app: Flask, filled: str, backend: Backend, tmp_path: Path
) -> None:
    image = filled.removeprefix("/api/uploads/")
    (app.config["UPLOAD_DIR"] / image).unlink()
    assert image in run(app, "backup", tmp_path / "backup").output
    run(app, "restore", "--check", tmp_path / "backup")


@any_database
def test_mail_that_was_waiting_is_not_sent_again(app: Flask, backend: Backend, tmp_path: Path) -> None:
    with app.test_request_context(), writing():
        outbox.post("someone@example.com", None, tr("Subject"), "password_changed", username="x", time=utcnow())
    run(app, "backup", tmp_path / "backup")
    with elsewhere(backend, tmp_path / "machine") as other:
        run(other, "restore", tmp_path / "backup")
        with other.app_context():
            (mail,) = db.session.execute(sa.select(outbox.outbox)).all()
        assert (mail.state, mail.content) == (outbox.MailState.FAILED, None)


@any_database
def test_images_and_checkpoints_in_buckets_are_backed_up(
    app: Flask, filled: str, admin: Client, backend: Backend, tmp_path: Path, object_store: ObjectStore
) -> None:
    """From folders into buckets of another installation, and from there into folders again."""
    image = filled.removeprefix("/api/uploads/")
    run(app, "backup", tmp_path / "first")
    bucket = object_store.new_bucket()
    places = {"STORAGE_URL": f"s3://{bucket}/images", "AUDIT_CHECKPOINTS": f"s3://{bucket}/checkpoints"}
    with elsewhere(backend, tmp_path / "second", **object_store.settings(bucket) | places) as other:
        run(other, "restore", tmp_path / "first")
        assert_intact(other)
        stored_names = object_store.names(bucket)
        assert f"images/{image}" in stored_names
        assert [name for name in stored_names if name.endswith("-merged.jsonl")]
        assert [name for name in stored_names if ".events-" in name]
        # Sealing goes on behind the checkpoints that were restored.
        with other.app_context():
            assert checkpoint_log().last() is not None
            with writing():
                record("denied", "users", 1, "somebody")
            seal()
        assert_intact(other)
        run(other, "backup", tmp_path / "third")
    run(app, "restore", "--check", tmp_path / "third")
    assert (tmp_path / "third" / "uploads" / image).read_bytes() == (app.config["UPLOAD_DIR"] / image).read_bytes()
    with elsewhere(backend, tmp_path / "fourth") as back:
        run(back, "restore", tmp_path / "third")
        assert_intact(back)
        assert (back.config["UPLOAD_DIR"] / image).exists()
