"""The functions of app.core.db.functions as SQLite has them; each takes its arguments and returns SQL."""

# ruff: noqa: S608 - what is put together are expressions of ours

from app.core.db.dialects.protocol import Sql

# SQLite has no booleans: it would show them as 1 and 0.
_TEXT = "CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE value END"
_NUMBER = "CASE type WHEN 'integer' THEN value WHEN 'real' THEN value WHEN 'text' THEN plain_number(value) END"


def json_items(document: Sql) -> str:
    # No subquery around it: in a join, SQLite lets only a function see the columns of the table before it.
    return f"json_each({document})"


def json_entries(document: Sql) -> str:
    return f"json_each({document})"


def json_member(document: Sql, key: Sql) -> str:
    return f"(SELECT {_TEXT} FROM json_each({document}) WHERE key = {key})"


def json_number(document: Sql, key: Sql) -> str:
    return f"(SELECT {_NUMBER} FROM json_each({document}) WHERE key = {key})"


def text_member(document: Sql, key: Sql) -> str:
    return f"json_extract({document}, '$.' || {key})"


def contains_text(text: Sql, _pattern: Sql, part: Sql) -> str:
    """FTS5 finds the trigrams of a LIKE without ESCAPE, in which `_` and `%` are no plain characters."""
    return f"({text} LIKE '%' || {part} || '%' AND instr({text}, {part}) > 0)"


def resembles(text: Sql, _pattern: Sql, plain: Sql) -> str:
    return f"({text} LIKE {plain})"


def position_in(text: Sql, part: Sql) -> str:
    return f"instr({text}, {part})"


def utc_day(moment: Sql) -> str:
    # Stored as text that begins with the date.
    return f"substr({moment}, 1, 10)"


def seconds_between(start: Sql, end: Sql) -> str:
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


def whole_part(number: Sql) -> str:
    return f"CAST({number} AS INTEGER)"
