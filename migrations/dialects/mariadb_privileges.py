"""What the user of a database must be allowed for the migrations on MariaDB.

Each statement that changes the schema commits there: a migration that is refused half-way leaves half a schema. So the
first one tries beforehand whether it may do what it is going to do.
"""

from collections.abc import Iterator
from contextlib import suppress

import sqlalchemy as sa
from alembic.util import CommandError

from app.core.db.dialects.mariadb.errors import number_of
from app.core.db.dialects.mariadb.servers import MARIADB

BINARY_LOG_REFUSES = 1419
"""The binary log is on, and the user may not create functions and triggers meanwhile."""
_TRIED = (
    "CREATE TABLE itam_probe (id BIGINT NOT NULL PRIMARY KEY, parent_id BIGINT)",
    "CREATE INDEX itam_probe_parents ON itam_probe (parent_id)",
    "ALTER TABLE itam_probe ADD CONSTRAINT itam_probe_parent FOREIGN KEY (parent_id) REFERENCES itam_probe (id)",
    "CREATE SEQUENCE itam_probe_id_seq",
    "CREATE FUNCTION itam_probe_parent(id BIGINT) RETURNS BIGINT DETERMINISTIC NO SQL RETURN id",
    "CREATE TRIGGER itam_probe_new BEFORE INSERT ON itam_probe FOR EACH ROW SET NEW.parent_id = NEW.id",
    "CREATE PROCEDURE itam_probe_commit() COMMIT",
    "INSERT INTO itam_probe (id) VALUES (nextval(itam_probe_id_seq))",
    "UPDATE itam_probe SET parent_id = nullif(itam_probe_parent(id), id)",
    "DELETE FROM itam_probe",
    "CALL itam_probe_commit()",
    "DROP PROCEDURE itam_probe_commit",
    "DROP FUNCTION itam_probe_parent",
    "DROP TRIGGER itam_probe_new",
    "DROP SEQUENCE itam_probe_id_seq",
    "DROP TABLE itam_probe",
)
_REMOVAL = (
    "DROP PROCEDURE IF EXISTS itam_probe_commit",
    "DROP FUNCTION IF EXISTS itam_probe_parent",
    "DROP SEQUENCE IF EXISTS itam_probe_id_seq",
    "DROP TABLE IF EXISTS itam_probe",
)


def require_privileges(connection: sa.Connection) -> None:
    """Raise CommandError, whose message is all that `flask db` prints, if the user may not migrate."""
    try:
        for statement in _TRIED if _has_sequences(connection) else _tried_on_mysql():
            connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        raise CommandError(_message(error)) from error
    finally:
        for statement in _REMOVAL:
            with suppress(sa.exc.DBAPIError):
                connection.exec_driver_sql(statement)


def _has_sequences(connection: sa.Connection) -> bool:
    """Whether the server has sequences; MySQL has none."""
    return connection.dialect.name == MARIADB.name


def _tried_on_mysql() -> Iterator[str]:
    return (each.replace("nextval(itam_probe_id_seq)", "1") for each in _TRIED if " SEQUENCE " not in each)


def _message(error: sa.exc.DBAPIError) -> str:
    if error.orig is not None and number_of(error.orig) == BINARY_LOG_REFUSES:
        return (
            "The binary log of the server is on, and this user may not create functions and triggers meanwhile. "
            "Set log_bin_trust_function_creators = 1 on the server, or migrate as a user with the privilege SUPER. "
            "Nothing has been changed."
        )
    reason = error.orig.args[-1] if error.orig is not None else error
    return (
        f"The database refuses what migrations do: {reason}. Grant its user the privileges that docs/databases.md "
        "lists. Nothing has been changed."
    )
