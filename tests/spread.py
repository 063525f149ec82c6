"""Which tests run on one of the databases instead of on each.

`spread` is for what every resource has from the same code: each case runs on one of the databases, in turn, and each
database runs some of them. A test with fewer cases than databases runs on each.

`any_database` is for what is decided before a database is asked, or after it has answered: a test, or a case of it,
runs on one of them.

All run on each where a test is named (`tests/contract/test_lists.py::test_pages`) or `--fuzz-requests` is given, and on
one with `--on NAME`.
"""

import os
import zlib
from collections.abc import Iterable, Mapping
from itertools import groupby

import pytest

from tests.backends import Backend, Missing, Postgresql, Sqlite
from tests.mariadb import Mariadb

BACKENDS: Mapping[str, type[Backend]] = {kind.name: kind for kind in (Sqlite, Postgresql, Mariadb)}

spread = pytest.mark.spread
any_database = pytest.mark.any_database


def spread_over(items: list[pytest.Item], names: list[str]) -> list[pytest.Item]:
    """The tests that are to run, where the databases of these names answer."""
    left = {
        id(item)
        for name, group in groupby(sorted(items, key=_function), key=_function)
        for item in _left_out(name, list(group), names)
    }
    return [item for item in items if id(item) not in left]


def _left_out(function: str, items: list[pytest.Item], names: list[str]) -> Iterable[pytest.Item]:
    cases: dict[str, dict[str, pytest.Item]] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "backend" in callspec.params:
            name = callspec.params["backend"]
            cases.setdefault(callspec.id.replace(name, "", 1), {})[name] = item
    is_any = any(item.get_closest_marker("any_database") for item in items)
    is_spread = len(cases) >= len(names) and any(item.get_closest_marker("spread") for item in items)
    if not is_any and not is_spread:
        return
    # Not with the same database for each function: a test without cases runs on that one.
    first = zlib.crc32(function.encode())
    for number, case in enumerate(cases.values(), first):
        answering = [name for name in case if name in names] or list(case)
        chosen = answering[number % len(answering)]
        yield from (item for name, item in case.items() if name != chosen)


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def answering() -> list[str]:
    """The names of the databases that answer, or of all where REQUIRE_SERVICES says that none may be missing."""
    return [name for name, kind in BACKENDS.items() if os.environ.get("REQUIRE_SERVICES") == "1" or _answers(kind)]


def _answers(kind: type[Backend]) -> bool:
    try:
        kind.require()
    except Missing:
        return False
    return True
