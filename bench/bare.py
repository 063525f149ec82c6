"""The limit of a list: a WSGI function that runs one prepared query and answers its rows, and no more.

No routing, no token, no parameters, no count. `python -m bench.bare <port> <threads>` serves it by the same
server as the platform; `BARE` in its environment holds a `Question` as JSON.
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

_here = threading.local()


@dataclass(frozen=True)
class Question:
    """Which rows; `references` says which columns of a row are the id and the name of an object beside it."""

    conninfo: str
    sql: str
    names: list[str]
    references: list[tuple[str, int, int]]
    pagination: dict[str, int]


@functools.cache
def question() -> Question:
    return Question(**orjson.loads(os.environ["BARE"]))


def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    asked = question()
    items = []
    for row in connection().execute(asked.sql, prepare=True).fetchall():
        item: dict[str, Any] = dict(zip(asked.names, row, strict=False))
        for name, identity, label in asked.references:
            found = row[identity]
            item[name] = None if found is None else {"id": found, "name": row[label]}
        items.append(item)
    body = {"code": 0, "message": "success", "data": items, "pagination": asked.pagination}
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


def connection() -> psycopg.Connection:
    """This thread's connection."""
    if not hasattr(_here, "connection"):
        opened = psycopg.connect(question().conninfo, autocommit=True, options="-c timezone=UTC")
        opened.adapters.register_loader("numeric", FloatLoader)
        set_json_loads(orjson.loads, opened)
        _here.connection = opened
    made: psycopg.Connection = _here.connection
    return made


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
