"""The functions of app.core.db.functions as PostgreSQL has them; each takes its arguments and returns SQL."""

from app.core.db.dialects.protocol import Sql
from app.core.values import PLAIN_NUMBER


def json_items(document: Sql) -> str:
    return f"jsonb_array_elements_text({document})"


def json_entries(document: Sql) -> str:
    return f"jsonb_each_text({document})"


def json_member(document: Sql, key: Sql) -> str:
    return f"({document} ->> {key})"


def json_number(document: Sql, key: Sql) -> str:
    text = f"{document} ->> {key}"
    is_number = f"jsonb_typeof({document} -> {key}) = 'number' OR {text} ~ '^{PLAIN_NUMBER}$'"
    return f"(CASE WHEN {is_number} THEN CAST({text} AS double precision) END)"


def text_member(document: Sql, key: Sql) -> str:
    return f"CAST(CAST({document} AS jsonb) ->> {key} AS bigint)"


def contains_text(text: Sql, pattern: Sql, _part: Sql) -> str:
    return f"({text} LIKE {pattern})"


def resembles(text: Sql, pattern: Sql, _plain: Sql) -> str:
    return f"({text} LIKE {pattern})"


def position_in(text: Sql, part: Sql) -> str:
    return f"strpos({text}, {part})"


def utc_day(moment: Sql) -> str:
    return f"CAST(timezone('UTC', {moment}) AS DATE)"


def seconds_between(start: Sql, end: Sql) -> str:
    return f"CAST(EXTRACT(epoch FROM {end} - {start}) AS DOUBLE PRECISION)"


def whole_part(number: Sql) -> str:
    return f"CAST(floor({number}) AS INTEGER)"
