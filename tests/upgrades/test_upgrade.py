"""Upgrades to a next version, which adds a field: while the old one works, and of a backup that the old one made."""

import re
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.backup import manifest
from app.version import VERSION
from tests.backends import Backend, on_servers
from tests.backup.test_backup import elsewhere
from tests.client import Client
from tests.commands import flask
from tests.load.invariants import assert_all
from tests.load.run import lines, make_estate, under_load, unexpected, wait_for_imports
from tests.mariadb import Mariadb
from tests.server import environment, served
from tests.spread import any_database
from tests.threads import wait_until
from tests.upgrades import releases

CHANGELOG = config.ROOT / "CHANGELOG.md"
ANSWERS = 150
"""How many requests are answered before the upgrade, and after it."""
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "instance", "tests", "bench", "docs", "console")
FIELD = '    power_watts: Mapped[int | None] = column("Power", "功率")\n'
BEFORE = "    rack_unit: Mapped[int | None]"
MIGRATION = '''"""The power of servers."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("servers", sa.Column("power_watts", sa.Integer()))


def downgrade() -> None:
    op.drop_column("servers", "power_watts")
'''


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the platform with one field more: it touches the model and a migration, nothing else."""
    root = tmp_path_factory.mktemp("next") / "itam"
    shutil.copytree(config.ROOT, root, ignore=LEFT_OUT)
    # The console's sources are left out by name, and its package with them.
    shutil.copytree(config.ROOT / "app" / "console", root / "app" / "console")
    versions = root / "migrations" / "versions"
    head = max(path.name[:4] for path in versions.glob("*.py"))
    (versions / "9999_power.py").write_text(MIGRATION.format(head=head))
    models = root / "app" / "servers" / "models.py"
    text = models.read_text()
    assert text.count(BEFORE) == 1
    models.write_text(text.replace(BEFORE, FIELD + BEFORE))
    return root


@on_servers
def test_an_upgrade_while_the_old_version_works(
    app: Flask, admin: Client, backend: Backend, next_version: Path
) -> None:
    """The old version goes on with the new schema, beside the new one, until it is stopped."""
    settings = backend.settings()
    estate = make_estate(app)
    path = f"/api/servers/{estate.servers[0]}"
    with served(settings) as old:
        with under_load(old.port, estate, rate=60, clients=10) as traffic:
            wait_until(lambda: len(traffic.answers) > ANSWERS)
            flask(next_version, environment(settings), ["db", "upgrade"])
            enough = len(traffic.answers) + ANSWERS
            wait_until(lambda: len(traffic.answers) > enough)
        wait_for_imports(app, traffic)
        with served(settings, next_version) as new:
            assert new.call("GET", path, admin.token).body["data"]["power_watts"] is None
            assert new.call("PATCH", path, admin.token, {"power_watts": 750}).status == 200
            assert old.call("PATCH", path, admin.token, {"description": "by the old version"}).status == 200
            shown = new.call("GET", path, admin.token).body["data"]
            assert (shown["power_watts"], shown["description"]) == (750, "by the old version")
            assert "power_watts" not in old.call("GET", path, admin.token).body["data"]
    assert unexpected(traffic) == [], "\n".join(lines(traffic))
    output = flask(next_version, environment(settings), ["audit", "seal"], ["audit", "verify"], ["db", "downgrade"])
    assert "Intact: " in output
    assert_all(app, traffic.ledger)


@any_database
@pytest.mark.parametrize("version", ["now", *releases.kept()])
def test_a_backup_of_an_older_schema_is_restored_and_upgraded(
    app: Flask, backend: Backend, next_version: Path, tmp_path: Path, version: str
) -> None:
    """The newest code restores what was backed up now, or by a release."""
    if version == "now":
        releases.fill(app)
        releases.back_up(app, tmp_path / version)
        folder = tmp_path / version
    else:
        folder = releases.unpack(version, "sqlite", tmp_path).backup
    with elsewhere(backend, tmp_path / "machine") as other:
        settings = settings_of(other, backend)
        restoring = [["restore", "--check", str(folder)], ["restore", str(folder)]]
        output = flask(next_version, environment(settings), *restoring, ["db", "upgrade"], ["audit", "verify"])
        assert output.count("Intact: ") == 2
        assert_has_all(settings, folder)


@pytest.mark.parametrize("version", releases.kept())
def test_a_database_of_a_release_is_upgraded(
    app: Flask, backend: Backend, next_version: Path, tmp_path: Path, version: str
) -> None:
    """In its place, with what the release stored; its log is still the one that the release has sealed."""
    if isinstance(backend, Mariadb) and backend.is_mysql:
        pytest.skip("The kept state of a release is a dump of MariaDB, which MySQL cannot load.")
    state = releases.unpack(version, backend.name, tmp_path)
    with elsewhere(backend, tmp_path / "machine") as other:
        state.put_in_place(other)
        settings = settings_of(other, backend)
        output = flask(next_version, environment(settings), ["db", "upgrade"], ["audit", "verify"])
        assert "Intact: " in output
        assert_has_all(settings, state.backup)
        assert "Intact: " in flask(
            next_version, environment(settings), ["init-db"], ["audit", "seal"], ["audit", "verify"]
        )


def test_the_state_of_the_newest_release_is_kept() -> None:
    """The changelog begins with this version, and of each with a date the state is kept."""
    dated_releases = re.findall(r"^## (\S+), (unreleased|\d{4}-\d\d-\d\d)$", CHANGELOG.read_text(), re.MULTILINE)
    assert dated_releases[0][0] == VERSION
    assert {version for version, date in dated_releases if date != "unreleased"} <= set(releases.kept())


def settings_of(other: Flask, backend: Backend) -> config.Config:
    """The settings with which another process uses the database and the folders of an application."""
    settings = backend.settings()
    settings.SQLALCHEMY_DATABASE_URI = other.config["SQLALCHEMY_DATABASE_URI"]
    settings.UPLOAD_DIR = other.config["UPLOAD_DIR"]
    settings.AUDIT_CHECKPOINTS = other.config["AUDIT_CHECKPOINTS"]
    return settings


def assert_has_all(settings: config.Config, backup: Path) -> None:
    """The database has as many rows as the backup of the same state, and the new field."""
    counts = manifest.read(backup).counts
    engine = sa.create_engine(settings.SQLALCHEMY_DATABASE_URI)
    with engine.connect() as connection:
        count = sa.select(sa.func.count())
        counted = {name: connection.scalar(count.select_from(sa.table(name))) for name in counts}
        assert counted == counts
        assert connection.scalar(sa.text("SELECT count(*) FROM servers WHERE power_watts IS NULL")) > 20
    engine.dispose()
