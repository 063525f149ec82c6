"""The two kinds of servers that speak this protocol: MariaDB, and MySQL 8. What a connection asks of each.

A server sends its version as soon as a client connects. So the URL need not say which kind of server it leads to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.db.dialects.mariadb.errors import UnsupportedServer
from app.core.db.timeouts import LOCK_SECONDS

BEGIN = "BEGIN"
STATEMENT_SECONDS = 30
_SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,"
    # SQL as the other databases read it: || joins texts, "name" is a name, and \ is a character.
    "PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES"
)


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """What differs between the servers before a statement of ours is sent."""

    name: str
    """The name of its dialect."""
    title: str
    first_version: tuple[int, ...]
    collation: str
    """Compares texts by their characters, trailing blanks too."""
    sql_mode: str
    isolation: str
    """The variable of the isolation level."""
    statement_limit: str
    """The variable of how long a statement may take."""
    limits_a_second: int
    """Its units in a second."""
    no_limit: str
    """What stands before a statement that has no limit."""
    select_without_limit: str
    """How a query without a limit begins."""
    has_blocks: bool
    """Whether several statements may be sent as one, `BEGIN NOT ATOMIC …; END`, which saves round trips."""
    other_settings: str
    """Assignments that only this server knows."""

    @property
    def settings(self) -> str:
        """The statement that is sent once on each connection. Our triggers note changes under `@audit_session`."""
        return (
            f"SET {self.isolation} = 'READ-COMMITTED', time_zone = '+00:00', {self.limited(STATEMENT_SECONDS)}, "
            f"innodb_lock_wait_timeout = {LOCK_SECONDS:.0f}, lock_wait_timeout = {LOCK_SECONDS:.0f}, "
            # What the server may have as another default, and our rules rely on.
            f"foreign_key_checks = 1, unique_checks = 1, default_storage_engine = 'InnoDB', {self.other_settings}"
            # A result that is streamed waits for its reader.
            "net_write_timeout = 600, group_concat_max_len = 1073741824, @audit_session = UUID_SHORT()"
        )

    def limited(self, seconds: int) -> str:
        """The assignment that limits the statements from now on; 0 lets them take as long as they need."""
        return f"{self.statement_limit} = {seconds * self.limits_a_second}"

    def unlimited(self, query: str) -> str:
        """A query that may take as long as it needs."""
        return f"{self.no_limit}{re.sub('^SELECT ', self.select_without_limit, query)}"

    def sent_together(self, statements: Sequence[str]) -> Sequence[str]:
        """The statements as they are sent, with as few round trips as the server allows."""
        if len(statements) == 1 or not self.has_blocks:
            return statements
        together = "; ".join("START TRANSACTION" if each == BEGIN else each for each in statements)
        return [f"BEGIN NOT ATOMIC {together}; END"]


MARIADB = Server(
    name="mariadb",
    title="MariaDB",
    first_version=(10, 11),
    collation="utf8mb4_nopad_bin",
    # An UPDATE computes all its values from the row as it was.
    sql_mode=f"{_SQL_MODE},SIMULTANEOUS_ASSIGNMENT",
    isolation="tx_isolation",
    statement_limit="max_statement_time",
    limits_a_second=1,
    no_limit="SET STATEMENT max_statement_time = 0 FOR ",
    select_without_limit="SELECT ",
    has_blocks=True,
    other_settings="check_constraint_checks = 1, ",
)
MYSQL = Server(
    name="mysql",
    title="MySQL",
    # The first with columns that a `SELECT *` leaves out.
    first_version=(8, 0, 23),
    collation="utf8mb4_0900_bin",
    sql_mode=_SQL_MODE,
    isolation="transaction_isolation",
    # Of queries only: MySQL does not limit other statements.
    statement_limit="max_execution_time",
    limits_a_second=1000,
    no_limit="",
    select_without_limit="SELECT /*+ MAX_EXECUTION_TIME(0) */ ",
    has_blocks=False,
    # The numbers that tables give next are read as they are, not as they were a day ago.
    other_settings="information_schema_stats_expiry = 0, ",
)


def server_of(version: str) -> Server:
    """The kind of a server by the version that it greets with. Raises UnsupportedServer for an early one."""
    # MariaDB before 11 greets as 5.5.5-10.11.6-MariaDB, for the replicas of its time.
    own = version.removeprefix("5.5.5-")
    server = MARIADB if "-MariaDB" in own else MYSQL
    if tuple(map(int, re.findall(r"\d+", own)[:3])) < server.first_version:
        needed = " or ".join(f"{each.title} {'.'.join(map(str, each.first_version))}" for each in (MARIADB, MYSQL))
        raise UnsupportedServer(f"It is {server.title} {own.partition('-MariaDB')[0]}; needed is {needed} or later")
    return server
