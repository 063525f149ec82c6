"""The limit of a request: a WSGI function that runs its statements and returns their rows as JSON.

The statements are prepared on PostgreSQL; PyMySQL, for MariaDB, sends texts. No routing, no token, no parameters.
`python -m bench.bare <port> <workers> <threads>` serves it with the same server as the platform; the environment
variable `BARE` holds a `Limits` as JSON.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

import orjson
import psycopg
import pymysql
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import FloatLoader
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions

_local = threading.local()


class Limit(NamedTuple):
    """The statements of a request, and the names of the columns of each; `writes`: they are one transaction."""

    statements: list[tuple[str, list[str]]]
    writes: bool


class Limits(NamedTuple):
    """The limit of each path; `options` connect to a database of this kind."""

    database: str
    options: dict[str, Any]
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
            items += [dict(zip(names, row, strict=True)) for row in connection.rows(sql)]
    body = {"code": 0, "message": "success", "data": items, "pagination": {"page": 1, "page_size": 20, "total": 100}}
    content = orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


class Connection(Protocol):
    """A connection to one kind of database."""

    def __init__(self, options: Mapping[str, Any]) -> None: ...

    def transaction(self) -> AbstractContextManager[Any]:
        """A block whose statements are one transaction."""

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """What a statement returns."""


class PostgresqlConnection:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self._connection = psycopg.connect(**options, autocommit=True)
        self._connection.adapters.register_loader("numeric", FloatLoader)
        set_json_loads(orjson.loads, self._connection)
        self.transaction = self._connection.transaction

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        cursor = self._connection.execute(sql.encode(), prepare=True)
        return [] if cursor.description is None else cursor.fetchall()


class MariadbConnection:
    """JSON documents are texts, and are answered as such."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        numbers = {FIELD_TYPE.DECIMAL: float, FIELD_TYPE.NEWDECIMAL: float}
        self._connection = pymysql.connect(**options, conv={**conversions, **numbers})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.begin()
        yield
        self._connection.commit()

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows


CONNECTIONS: Mapping[str, type[Connection]] = {"postgresql": PostgresqlConnection, "mariadb": MariadbConnection}


def connection_of_thread() -> Connection:
    if not hasattr(_local, "connection"):
        _local.connection = CONNECTIONS[limits().database](limits().options)
    connection: Connection = _local.connection
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
