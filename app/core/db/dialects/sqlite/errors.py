"""What SQLite's errors mean."""

import re

from app.core.db.dialects.protocol import Rule, Violation


def is_locked(error: BaseException) -> bool:
    """Whether another transaction writes."""
    return "database is locked" in str(error)


def is_too_slow(_error: BaseException) -> bool:
    """Whether a statement has taken longer than it may: SQLite has no such limit."""
    return False


def is_away(error: BaseException) -> bool:
    """Whether the file cannot be read or written."""
    return bool(re.search(r"disk is full|readonly database|unable to open", str(error)))


def is_conflict(_error: BaseException) -> bool:
    """Whether the transaction was given up for others: SQLite has one writer."""
    return False


def violation_of(error: BaseException) -> Violation:
    """What an IntegrityError says about the violated constraint: an index by its name, or columns of a table."""
    text = str(error)
    if text.startswith("FOREIGN KEY"):
        return Violation("foreign key", None, None, ())
    kind: Rule = "unique" if text.startswith("UNIQUE") else "check"
    subject = text.partition(": ")[2]
    if named := re.match(r"index '(\w+)'", subject):
        return Violation(kind, None, named[1], ())
    if "." in subject:
        names = [column.partition(".") for column in subject.split(", ")]
        return Violation(kind, names[0][0], None, tuple(column for _, _, column in names))
    return Violation(kind, None, subject, ())
