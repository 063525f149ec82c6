"""MySQL's triggers and functions: MariaDB's, except for what is here and in mysql_tables.py."""

from app.core.db.dialects.mariadb.compilers import sequence_of
from migrations.dialects import mariadb
from migrations.dialects.mariadb import (
    BEFORE_CONSTRAINT,
    FOREIGN_KEY,
    ID,
    NAME,
    append_only,
    choices,
    drop_functions,
    drop_text_functions,
    functions,
    records,
    text_functions,
    text_index,
    versions,
)
from migrations.dialects.mysql_tables import Impl

__all__ = [
    "BEFORE_CONSTRAINT",
    "FOREIGN_KEY",
    "ID",
    "NAME",
    "Impl",
    "append_only",
    "choices",
    "drop_functions",
    "drop_text_functions",
    "functions",
    "is_compared",
    "records",
    "text_functions",
    "text_index",
    "versions",
]


def is_compared(name: str, kind: str) -> bool:
    """Whether what a database has is compared with the models: its sequences are tables of its own."""
    return mariadb.is_compared(name, kind) and not name.endswith(sequence_of(""))
