"""The functions of app.core.db.functions as MySQL has them."""

from app.core.db.dialects.mariadb import functions as mariadb
from app.core.db.dialects.mariadb.functions import (
    contains_text,
    json_member,
    json_number,
    position_in,
    resembles,
    seconds_between,
    utc_day,
    whole_part,
)
from app.core.db.dialects.mysql.collation import collated
from app.core.db.dialects.protocol import Sql

__all__ = [
    "contains_text",
    "json_entries",
    "json_items",
    "json_member",
    "json_number",
    "position_in",
    "resembles",
    "seconds_between",
    "text_member",
    "utc_day",
    "whole_part",
]


def json_items(document: Sql) -> str:
    # Of a common table expression that is merged, MySQL takes a column only within an expression.
    return collated(mariadb.json_items(f"coalesce({document})"))


def json_entries(document: Sql) -> str:
    return collated(mariadb.json_entries(document))


def text_member(document: Sql, key: Sql) -> str:
    # JSON_VALUE takes only literals as a path.
    return f"CAST(json_member({document}, {key}) AS SIGNED)"
