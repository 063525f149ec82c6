"""A server of databases that only the tests of faults use."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.backends import Backend, Missing
from tests.conftest import leave_out
from tests.faults import cluster as postgresql
from tests.faults import mariadb_server as mariadb

OwnServer = postgresql.Cluster | mariadb.MariadbServer


@pytest.fixture(scope="session")
def cluster(backend: Backend) -> Iterator[OwnServer]:
    """A server of the kind of the backend."""
    with ExitStack() as stack:
        try:
            running = mariadb.running if backend.name == "mariadb" else postgresql.running
            cluster = stack.enter_context(running())
        except Missing as missing:
            leave_out(missing)
        yield cluster
