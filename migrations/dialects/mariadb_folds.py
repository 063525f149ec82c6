"""MariaDB's triggers that fill the invisible columns of folded texts.

A call of a stored function takes 8 µs or more, so the triggers themselves fold texts of ASCII and IPv4 addresses, and
skip columns that are NULL or that the writer has filled (app.core.db.dialects.mariadb.folded_columns). For a server
with 15 such columns an INSERT takes 127 µs more than without the trigger, 55 where most of them are NULL, and 10 where
they are filled; one call of a function for each took 237, and 1,550 where most are NULL.
"""

# ruff: noqa: S608 - the statements consist of names of ours

from collections.abc import Iterator, Mapping, Sequence

from app.core.db.dialects.mariadb.folded_columns import LENGTHS, SUFFIXES
from migrations.dialects.mariadb_texts import fill_numbers, ipv4_key


def filling(table: str, hidden: Sequence[str], added: Sequence[str], guards: Mapping[str, str] | None) -> Iterator[str]:
    """The statements that create the triggers that fill the invisible columns of a table, and that fill new ones.

    `guards` are the triggers that may refuse changes of its rows, and what each does; None where there are no rows.
    """
    sources = [(name, *_source(name)) for name in hidden]
    by_column: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for name, column, function in sources:
        by_column.setdefault((column, function == "address_key"), []).append((name, function))
    new, changed = [], []
    for (column, _), folded in by_column.items():
        is_missing = " OR ".join(f"NEW.{name} IS NULL" for name, _ in folded)
        new.append(f"IF NEW.{column} IS NOT NULL AND ({is_missing}) THEN {_assignments(column, folded)} END IF;")
        changed.append(f"IF NOT (NEW.{column} <=> OLD.{column}) THEN {_assignments(column, folded)} END IF;")
    for event, name, steps in (("INSERT", "new", new), ("UPDATE", "changed", changed)):
        yield (
            f"CREATE OR REPLACE TRIGGER {table}_folds_{name} BEFORE {event} ON {table} FOR EACH ROW "
            f"BEGIN {' '.join(steps)} END"
        )
    if guards is not None:
        yield from (f"DROP TRIGGER {name}" for name in guards)
        filled = ", ".join(f"{name} = {_called(f, c)}" for name, c, f in sources if name in added)
        yield f"UPDATE {table} SET {filled}"
        for name, action in guards.items():
            yield f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW {action}"


def removal(table: str) -> Iterator[str]:
    """The statements that drop the triggers that fill invisible columns."""
    yield from (f"DROP TRIGGER IF EXISTS {table}_folds_{event}" for event in ("new", "changed"))


def _source(hidden: str) -> tuple[str, str]:
    """The column that an invisible one is made of, and the function that makes it."""
    return next(
        (hidden.removesuffix(suffix), function) for function, suffix in SUFFIXES.items() if hidden.endswith(suffix)
    )


def _assignments(column: str, folded: Sequence[tuple[str, str]]) -> str:
    """The SQL that sets the invisible columns of a column, without a stored function where its text is plain.

    In one expression the server would prepare the call for each row, even where it does not make it.
    """
    value = f"NEW.{column}"
    is_address = folded[0][1] == "address_key"
    # NULL is plain text, too.
    is_plain = f"IS_IPV4({value})" if is_address else f"NOT COALESCE(LENGTH({value}) > CHAR_LENGTH({value}), FALSE)"
    plain = ", ".join(f"NEW.{name} = {_plain(function, value)}" for name, function in folded)
    called = ", ".join(f"NEW.{name} = {_called(function, value)}" for name, function in folded)
    return f"IF {is_plain} THEN SET {plain}; ELSE SET {called}; END IF;"


def _plain(function: str, value: str) -> str:
    """What a function gives for a text of ASCII or an IPv4 address."""
    if function == "address_key":
        return ipv4_key(value)
    lower = f"LOWER({value})"
    return f"LEFT({fill_numbers(lower) if function == 'natural_key' else lower}, {LENGTHS[function]})"


def _called(function: str, value: str) -> str:
    return f"LEFT({function}({value}), {LENGTHS[function]})"
