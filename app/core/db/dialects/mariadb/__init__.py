"""MariaDB 10.11 and later, by PyMySQL."""

from app.core.db.dialects import no_counters
from app.core.db.dialects.mariadb import audit, connections, errors, functions, restoring, search_entries, statements
from app.core.db.dialects.protocol import Dialect

DIALECT = Dialect(
    name="mariadb",
    is_file=False,
    connections=connections,
    errors=errors,
    statements=statements,
    functions=functions,
    audit=audit,
    search=search_entries,
    counters=no_counters,
    restoring=restoring,
)
