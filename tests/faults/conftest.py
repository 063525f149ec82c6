"""A PostgreSQL server that only the tests of faults use."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.backends import Missing
from tests.conftest import leave_out
from tests.faults.cluster import Cluster, running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(running())
        except Missing as missing:
            leave_out(missing)
        yield cluster
