"""The limit of a request: a WSGI function that runs its statements, prepared, and returns their rows as JSON.

No routing, no token, no parameters. `python -m bench.bare <port> <workers> <threads>` serves it with the same server as
the platform; the environment variable `BARE` holds a `Limits` as JSON.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

import orjson
import psycopg
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import FloatLoader

_local = threading.local()


class Limit(NamedTuple):
    """The statements of a request, and the names of the columns of each; `writes`: they are one transaction."""

    statements: list[tuple[str, list[str]]]
    writes: bool


class Limits(NamedTuple):
    """The limit of each path."""

    conninfo: str
    by_path: dict[str, Limit]


@functools.cache
def limits() -> Limits:
    return Limits(*orjson.loads(os.environ["BARE"]))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    limit = Limit(*limits().by_path[environ["PATH_INFO"]])
    connection = connection_of_thread()
    items: list[Any] = []
    with connection.transaction() if limit.writes else nullcontext():
        for sql, names in limit.statements:
            cursor = connection.execute(sql.encode(), prepare=True)
            if cursor.description is not None:
                items += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    body = {"code": 0, "message": "success", "data": items, "pagination": {"page": 1, "page_size": 20, "total": 100}}
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


def connection_of_thread() -> psycopg.Connection:
    if not hasattr(_local, "connection"):
        opened = psycopg.connect(limits().conninfo, autocommit=True, options="-c timezone=UTC -c jit=off")
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
        workers=int(sys.argv[2]),
        blocking_threads=int(sys.argv[3]),
        websockets=False,
        log_level=LogLevels.error,
        log_access=False,
    ).serve()
