"""Columns in place of the indexes of expressions that MariaDB lacks.

An index of `fold(name)` is one of the invisible column `name__fold`, which triggers fill (see migrations/dialects).
A query that asks for `fold(name)` reads that column.
"""

import functools

import sqlalchemy as sa

SUFFIXES = {"fold": "__fold", "natural_key": "__natural", "address_key": "__address"}
"""What follows the name of a column in that of the column with its folded text, for each function."""


def hidden_column(function: str, clause: sa.ColumnElement[object], text: str) -> str | None:
    """The column that has what this function gives for a column, written like that one; None if there is none."""
    table = getattr(clause, "table", None)
    # An alias is a name for a table, and has its columns.
    while isinstance(table, sa.Alias):
        table = table.element
    if not isinstance(table, sa.Table) or f"{function}({getattr(clause, 'name', '')})" not in _indexed(table):
        return None
    quote = '"' if text.endswith('"') else ""
    return f"{text.removesuffix(quote)}{SUFFIXES[function]}{quote}"


@functools.cache
def _indexed(table: sa.Table) -> frozenset[str]:
    """The expressions that a table has indexes of; GIN indexes are PostgreSQL's."""
    ordinary = (index for index in table.indexes if not index.dialect_options["postgresql"]["using"])
    return frozenset(
        expression.text
        for index in ordinary
        for expression in index.expressions
        if isinstance(expression, sa.TextClause)
    )
