"""What happens at the end of a block besides its commit, and what may not happen in its transaction."""

from collections.abc import Callable, Collection, Hashable
from typing import Any

from app.core.db.transaction import Calls
from app.core.db.unit_of_work import db, unit_of_work


def after_commit(function: Callable[[Collection[Any]], object], *items: Hashable) -> None:
    """Call a function once after the commit of the current transaction, with all items that were given for it."""
    _register(unit_of_work().transaction.after_commit, function, items)


def after_rollback(function: Callable[[Collection[Any]], object], *items: Hashable) -> None:
    """Call a function once if the current transaction is rolled back, with all items that were given for it."""
    _register(unit_of_work().transaction.after_rollback, function, items)


def _register(calls: Calls, function: Callable[[Collection[Any]], object], items: Collection[Hashable]) -> None:
    if items:
        calls.setdefault(function, {}).update(dict.fromkeys(items))


def refuse_in_transaction(what: str) -> None:
    """Raise RuntimeError inside of a transaction that may write: what takes long must not hold its locks."""
    work = unit_of_work()
    if not work.is_reading and work.has_session and db.session().in_transaction():
        raise RuntimeError(f"{what} in a transaction.")


def undo_at_end() -> None:
    """Have the current block roll back at its end instead of committing: a dry run."""
    unit_of_work().transaction.is_dry_run = True
