"""The statements of the counters on PostgreSQL: triggers that see each statement's rows as a set."""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator

from app.core.db.counters.declaration import TABLE, Counted, CountedColumn, Counter
from app.core.db.dialects.postgresql.functions import utc_day

ARE_KEPT = True

_INSERT = f"INSERT INTO {TABLE} (resource_type, counter, key, number)"


def triggers(counted: Counted) -> Iterator[str]:
    """The statements that create what keeps the counters of a table.

    A statement appends one row for each number that it changes, and changes none: two transactions never wait for each
    other. A single insertion takes 35 µs more for it, and an update 60; triggers of rows would save most of the latter,
    and take 25 µs for each row of a bulk update.
    """
    table = counted.table
    both = "(SELECT *, 1 AS sign FROM added UNION ALL SELECT *, -1 FROM removed) AS item"
    # Most updates change nothing that is counted.
    columns = ", ".join(counted.followed)
    is_unchanged = f"NOT EXISTS (SELECT {columns} FROM added EXCEPT ALL SELECT {columns} FROM removed)"
    yield (
        f"CREATE FUNCTION {table}_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {_INSERT} {_numbers(counted, 'added AS item', 'count(*)')}; "
        f"ELSIF TG_OP = 'DELETE' THEN {_INSERT} {_numbers(counted, 'removed AS item', '-count(*)')}; "
        f"ELSIF {is_unchanged} THEN RETURN NULL; "
        f"ELSE {_INSERT} {_numbers(counted, both, 'sum(sign)', having='sum(sign) <> 0')}; "
        "END IF; RETURN NULL; END $$"
    )
    for event, rows in (
        ("INSERT", "NEW TABLE AS added"),
        ("UPDATE", "NEW TABLE AS added OLD TABLE AS removed"),
        ("DELETE", "OLD TABLE AS removed"),
    ):
        yield (
            f"CREATE TRIGGER {table}_counts_{event.lower()} AFTER {event} ON {table} REFERENCING {rows} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_counts()"
        )


def removal(counted: Counted) -> Iterator[str]:
    """The statements that remove what `triggers` creates, and the numbers."""
    yield f"DROP FUNCTION {counted.table}_counts() CASCADE"
    yield _deletion(counted)


def rebuilding(counted: Counted) -> Iterator[str]:
    """The statements that recount the objects of a table. The first keeps other writers out until the commit."""
    yield f"LOCK TABLE {counted.table} IN SHARE ROW EXCLUSIVE MODE"
    yield _deletion(counted)
    yield f"{_INSERT} {_numbers(counted, f'{counted.table} AS item', 'count(*)')}"


def differences(counted: Counted) -> str | None:
    """A query of the counter and key of each number that is not that of the objects."""
    true = _numbers(counted, f"{counted.table} AS item", "-count(*)")
    rows = f"SELECT resource_type, counter, key, number FROM {TABLE} WHERE resource_type = '{counted.table}'"
    return (
        f"SELECT counter, key FROM ({true} UNION ALL {rows}) AS both_ways GROUP BY counter, key HAVING sum(number) <> 0"
    )


def folding() -> str | None:
    """The statement that replaces several rows of one number by one.

    Of two that run at once, one leaves out what the other one folds. Who reads meanwhile sees all of it or nothing.
    """
    return (
        f"WITH several AS (SELECT resource_type, counter, key FROM {TABLE} GROUP BY 1, 2, 3 HAVING count(*) > 1), "
        f"chosen AS (SELECT id FROM {TABLE} JOIN several USING (resource_type, counter, key) "
        f"FOR UPDATE OF {TABLE} SKIP LOCKED), "
        f"folded AS (DELETE FROM {TABLE} USING chosen WHERE {TABLE}.id = chosen.id RETURNING {TABLE}.*) "
        f"{_INSERT} SELECT resource_type, counter, key, sum(number) FROM folded "
        "GROUP BY 1, 2, 3 HAVING sum(number) <> 0"
    )


def _deletion(counted: Counted) -> str:
    return f"DELETE FROM {TABLE} WHERE resource_type = '{counted.table}'"


def _numbers(counted: Counted, source: str, number: str, *, having: str = "") -> str:
    """A query of all numbers of the rows of a source, which has the name `item`."""
    condition = f" HAVING {having}" if having else ""
    parts = (
        f"SELECT '{counted.table}' AS resource_type, '{counter.name}' AS counter, {_key(counter)} AS key, "
        f"{number} AS number FROM {source} GROUP BY {', '.join(map(_value, counter.columns))}{condition}"
        for counter in counted.counters
    )
    return " UNION ALL ".join(parts)


def _key(counter: Counter) -> str:
    return f"jsonb_build_array({', '.join(map(_value, counter.columns))})"


def _value(column: CountedColumn) -> str:
    return utc_day(f"item.{column.name}") if column.is_day else f"item.{column.name}"
