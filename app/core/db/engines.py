"""The options of an engine, and the end of its connections."""

from typing import Any

import orjson
import sqlalchemy as sa

from app.core.db.dialects.registry import dialect_named, dialect_of
from app.core.values import json_text


def engine_options(url: str) -> dict[str, Any]:
    """The `SQLALCHEMY_ENGINE_OPTIONS` for a database URL."""
    return {
        # The default serializer writes "\\u4e2d" for a Chinese character, which no search would find.
        "json_serializer": json_text,
        "json_deserializer": orjson.loads,
        # An error with the parameters of its statement would bring hashes and encrypted mail into the log.
        "hide_parameters": True,
        **dialect_named(sa.make_url(url).get_backend_name()).connections.engine_options(),
    }


def close(engine: sa.Engine) -> None:
    """Close the connections of a process that ends."""
    dialect_of(engine).connections.close(engine)
    engine.dispose()
