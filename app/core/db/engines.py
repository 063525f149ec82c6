"""The options of the engine for either database, and how its transactions begin."""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from app.core.values import json_text

Access = Literal["write", "read", "snapshot"]
"""What a connection is for, its execution option `access`: "read" sees each statement's own moment and holds nothing
between them, "snapshot" sees one moment throughout."""

BEGIN: Mapping[str, Mapping[Access, str]] = {
    # The write lock is taken at once: an upgrade from read to write fails whatever the timeout.
    "sqlite": {"write": "BEGIN IMMEDIATE", "snapshot": "BEGIN"},
    "postgresql": {"write": "BEGIN", "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
}


def engine_options(url: str) -> dict[str, Any]:
    """The `SQLALCHEMY_ENGINE_OPTIONS` for a database URL."""
    # The default serializer writes "\\u4e2d" for a Chinese character, which no search would find.
    json = {
        "json_serializer": json_text,
        "json_deserializer": orjson.loads,
    }
    if url.startswith("sqlite"):
        return {**json, "connect_args": {"timeout": 30}}
    return {
        **json,
        # The driver begins no transactions: the listener does, by BEGIN, where something may be written.
        "isolation_level": "AUTOCOMMIT",
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 3,
            # To compile a plan takes longer than any of ours runs.
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC -c jit=off",
        },
    }
