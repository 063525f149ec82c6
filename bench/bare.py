"""The limit of a list: a WSGI function that runs one prepared statement and returns its rows as JSON.

No routing, no token, no parameters, no count. `python -m bench.bare <port> <threads>` serves it with the same server as
the platform; the environment variable `BARE` holds a `BareQuery` as JSON.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import FloatLoader

_local = threading.local()


@dataclass(frozen=True)
class BareQuery:
    """The statement and its columns; `references` are (name, column of the id, column of the label)."""

    conninfo: str
    sql: str
    names: list[str]
    references: list[tuple[str, int, int]]
    pagination: dict[str, int]


@functools.cache
def query() -> BareQuery:
    return BareQuery(**orjson.loads(os.environ["BARE"]))


def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    page = query()
    items = []
    for row in connection().execute(page.sql, prepare=True).fetchall():
        item: dict[str, Any] = dict(zip(page.names, row, strict=False))
        for name, identity, label in page.references:
            target_id = row[identity]
            item[name] = None if target_id is None else {"id": target_id, "name": row[label]}
        items.append(item)
    body = {"code": 0, "message": "success", "data": items, "pagination": page.pagination}
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


def connection() -> psycopg.Connection:
    """The connection of this thread."""
    if not hasattr(_local, "connection"):
        opened = psycopg.connect(query().conninfo, autocommit=True, options="-c timezone=UTC")
        opened.adapters.register_loader("numeric", FloatLoader)
        set_json_loads(orjson.loads, opened)
        _local.connection = opened
    connection: psycopg.Connection = _local.connection
    return connection


if __name__ == "__main__":
    Granian(
        "bench.bare:application",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=int(sys.argv[2]),
        websockets=False,
        log_level=LogLevels.error,
        log_access=False,
    ).serve()
