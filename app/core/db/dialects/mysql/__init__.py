"""MySQL 8.0.23 and later, by PyMySQL: what it does in another way than MariaDB, whose dialect this is otherwise."""

from dataclasses import replace

from app.core.db.dialects import mariadb
from app.core.db.dialects.mysql import audit, functions, restoring, search_entries, statements

DIALECT = replace(
    mariadb.DIALECT,
    name="mysql",
    statements=statements,
    functions=functions,
    audit=audit,
    search=search_entries,
    restoring=restoring,
)
