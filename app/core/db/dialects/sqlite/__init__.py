"""SQLite, by the driver of the standard library."""

from app.core.db.dialects import no_counters
from app.core.db.dialects.protocol import Dialect
from app.core.db.dialects.sqlite import audit, connections, errors, functions, restoring, search_entries, statements

DIALECT = Dialect(
    name="sqlite",
    is_file=True,
    connections=connections,
    errors=errors,
    statements=statements,
    functions=functions,
    audit=audit,
    search=search_entries,
    counters=no_counters,
    restoring=restoring,
)
