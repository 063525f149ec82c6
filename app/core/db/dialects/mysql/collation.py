"""The collation of MySQL in place of MariaDB's, which it lacks; both compare texts by their characters."""

from app.core.db.dialects.mariadb.servers import MARIADB, MYSQL


def collated(statement: str) -> str:
    """A statement, or a part of one, with MySQL's collation where MariaDB's stands."""
    return statement.replace(MARIADB.collation, MYSQL.collation)
