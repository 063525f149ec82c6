"""PostgreSQL, by psycopg."""

from app.core.db.dialects.postgresql import (
    audit,
    commits,
    connections,
    counters,
    errors,
    functions,
    restoring,
    search_entries,
    statements,
)
from app.core.db.dialects.protocol import Dialect

DIALECT = Dialect(
    name="postgresql",
    is_file=False,
    connections=connections,
    errors=errors,
    statements=statements,
    functions=functions,
    audit=audit,
    search=search_entries,
    counters=counters,
    restoring=restoring,
    commits=commits,
)
