"""How long a request, a job and a migration wait for the database."""

ANSWER_SECONDS = 4.0
"""How long a request waits for the result of one statement."""
REPLICA_ANSWER_SECONDS = 2.0
"""The same where another server can answer instead."""
LONG_ANSWER_SECONDS = 30.0
"""The same for a statement of a read that goes through many rows, such as an export; PostgreSQL's own limit for all."""
SILENT_ANSWER_SECONDS = 0.25
"""The same shortly after a request has waited in vain: else requests that queue for a thread would add up the waits."""
SILENCE_SECONDS = 1.0
"""How long a server counts as silent after a request has waited for it in vain, unless it answers another one."""
LOCK_SECONDS = 2.0
"""How long a request waits for a lock."""
MIGRATION_LOCK_SECONDS = "migration_lock_seconds"
"""The execution option of a migration's connection on PostgreSQL: how long its statements wait for a table."""
