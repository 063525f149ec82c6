"""How long a request, a job and a migration wait for the database."""

from collections.abc import Mapping

ANSWER_SECONDS = 4.0
"""How long a request waits for the result of one statement."""
LONG_ANSWER_SECONDS = 30.0
"""The same for a statement of a read that goes through many rows, such as an export; PostgreSQL's own limit for all."""
SILENT_ANSWER_SECONDS = 0.25
"""The same shortly after a request has waited in vain: else requests that queue for a thread would add up the waits."""
SILENCE_SECONDS = 1.0
"""How long PostgreSQL counts as silent after a request has waited for it in vain, unless it answers another one."""
LOCK_SECONDS = 2.0
"""How long a request waits for a lock."""
LONG_LOCK_SECONDS = {"postgresql": 10.0, "sqlite": 30.0}
"""The same for a job or command; SQLite has one lock for all writers."""
MIGRATION_LOCK_SECONDS = "migration_lock_seconds"
"""The execution option of a migration's connection on PostgreSQL: how long its statements wait for a table."""

POSTGRESQL_SETTINGS: Mapping[str, str] = {
    "statement_timeout": "30s",
    # Of a request; jobs and commands wait longer, see LONG_LOCK_SECONDS.
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    # A statement that its request has given up on ends, instead of running into its timeout.
    "client_connection_check_interval": "1s",
}
"""Timeouts of the server for a connection."""
