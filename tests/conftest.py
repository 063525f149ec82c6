"""What every test stands on: the application on each database, clients, objects, and nothing left over."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app import create_app
from app.auth.service import start_session
from app.core import gc_tuning
from app.core.cache.generations import cache, generations_of_app
from app.core.db.unit_of_work import act_in, db, writing
from app.core.http import api
from app.core.http.access import Role
from app.users.models import User
from tests.backends import LEFT_OUT, Backend, Missing
from tests.client import Client
from tests.factories import ORIGIN, Make
from tests.object_store import ObjectStore
from tests.object_store import served as object_store_server
from tests.openapi import Document
from tests.spread import BACKENDS, answering, spread_over

SignIn = Callable[..., Client]
BuildApp = Callable[..., Flask]
Statements = Callable[[], AbstractContextManager[list[str]]]


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("fuzz", "requests that are generated from the OpenAPI document (tests/fuzz)")
    options.addoption("--fuzz-requests", type=int, default=0, help="how many on each database (two an operation)")
    options.addoption("--fuzz-seed", type=int, default=1, help="other seeds give other requests (1)")
    parser.addoption("--repetitions", type=int, default=1, help="how often each race is run, at least (1)")
    parser.addoption("--examples", type=int, default=0, help="random examples of imports, instead of a few fixed ones")
    parser.addoption("--on", choices=BACKENDS, help="run on this database alone, and all that uses one")
    parser.getgroup("console", "the console in a browser (tests/console)").addoption(
        "--screenshots", action="store_true", help="write the pictures of the documents (docs/pictures) again"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three on two cores: a third of the time a test waits for a browser, a server or a database."""
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the backend on each, unless it names those that it is for; and races repeatedly."""
    race = metafunc.definition.get_closest_marker("race")
    repetitions = metafunc.config.getoption("--repetitions")
    if race is not None and repetitions > 1:
        (own_runs,) = race.args or (1,)
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(-(-repetitions // own_runs)), indirect=True)
    marks = metafunc.definition.iter_markers("parametrize")
    if "backend" in metafunc.fixturenames and not any("backend" in mark.args[0] for mark in marks):
        only = metafunc.config.getoption("--on")
        metafunc.parametrize("backend", [only] if only else list(BACKENDS), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not run on the database that alone is asked for, or else what runs on another one."""
    only = config.getoption("--on")
    if only is None:
        if not any("::" in argument for argument in config.args) and not config.getoption("--fuzz-requests"):
            items[:] = spread_over(items, answering())
        return
    chosen, others = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_chosen = callspec is not None and callspec.params.get("backend") == only
        (chosen if is_chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """The number of this run of a race."""
    number: int = request.param
    return number


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The database and the cache. A test that uses it, be it through another fixture, runs on each."""
    try:
        backend = BACKENDS[request.param](tmp_path_factory.mktemp(request.param))
    except Missing as missing:
        leave_out(missing)
    yield backend
    backend.drop()


def leave_out(missing: Missing) -> NoReturn:
    """Skip the test, or fail where REQUIRE_SERVICES says that nothing may be missing."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(f"{LEFT_OUT}{missing}.")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line what did not run because a service does not answer."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if report.longrepr]
    for reason in sorted({reason for reason in reasons if LEFT_OUT in reason}):
        count = reasons.count(reason)
        terminalreporter.write_line(f"{count} tests {reason.partition(LEFT_OUT)[2]}", yellow=True)


@pytest.fixture(scope="session")
def migrated_app(backend: Backend) -> Iterator[Flask]:
    """One application for all tests, on the schema that the migrations build."""
    app = create_app(backend.settings())
    with app.app_context():
        flask_migrate.upgrade(directory=str(config.ROOT / "migrations"))
    backend.keep_as_empty(app)
    gc_tuning.freeze()  # as a server does: a tenth of the time of a test
    yield app
    close(app)


@pytest.fixture
def app(migrated_app: Flask, backend: Backend) -> Iterator[Flask]:
    """The application on an empty database. What a test commits is gone after it."""
    yield migrated_app
    with migrated_app.app_context():
        pool: Any = db.engine.pool
        assert pool.checkedout() == len(getattr(pool, "kept", [])), "The test left a connection open."
    backend.empty(migrated_app)
    for file in migrated_app.config["AUDIT_CHECKPOINTS"].iterdir():
        file.unlink()
    with migrated_app.app_context():
        cache.clear()
        generations_of_app().renew()


@pytest.fixture
def build_app(app: Flask, backend: Backend) -> Iterator[BuildApp]:
    """Build further applications on the same database, under other settings."""
    built: list[Flask] = []

    def build(**settings: Any) -> Flask:
        changed = backend.settings()
        for name, value in settings.items():
            assert hasattr(changed, name)
            setattr(changed, name, value)
        built.append(create_app(changed))
        return built[-1]

    yield build
    for other in built:
        close(other)


def close(app: Flask) -> None:
    """Close the connections that an application keeps."""
    with app.app_context():
        db.engine.dispose()
        if app.config["REDIS_URL"]:
            cache.cache._write_client.close()


@pytest.fixture(scope="session")
def document(migrated_app: Flask) -> Document:
    return Document(api.document(migrated_app))


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An S3 server."""
    with object_store_server() as server:
        yield server


@pytest.fixture
def make(app: Flask) -> Make:
    """Stores objects: `make(Server, name="a")`."""
    return Make(app)


@pytest.fixture
def sign_in(app: Flask, document: Document, make: Make) -> SignIn:
    """Make a user with these fields and a session of theirs: `sign_in(role=Role.ADMIN)`.

    It is recorded as a login, but no password is checked and no attempt counted: that took a tenth of all tests.
    """

    def sign_in(**fields: Any) -> Client:
        user = make(User, **fields)
        with app.app_context(), writing():
            act_in(ORIGIN)
            tokens = start_session(user)
        return Client(app, document, tokens["access_token"], user)

    return sign_in


@pytest.fixture
def anonymous(app: Flask, document: Document) -> Client:
    return Client(app, document)


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in(role=Role.ADMIN)


@pytest.fixture
def user(sign_in: SignIn) -> Client:
    return sign_in()


@pytest.fixture
def other(sign_in: SignIn) -> Client:
    """A second user, who owns nothing of the first one's."""
    return sign_in()


@pytest.fixture
def statements(app: Flask) -> Statements:
    """Collect the SQL statements that are sent meanwhile: `with statements() as sent`."""
    with app.app_context():
        engine = db.engine

    @contextmanager
    def collect() -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)

    return collect
