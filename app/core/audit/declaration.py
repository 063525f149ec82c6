"""What a model declares for the audit log: that its changes are recorded, and which of its columns in which way."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

MAC_CHARS = 73

_STAMPS = frozenset({"id", "version", "created_at", "updated_at"})
"""Columns that a record implies: it has its own id, version and time."""


class Audited:
    """Mark a model whose every change is recorded.

    A column's `info` may say `audit=False` (bookkeeping that is no change of the object, and raises no version),
    `secret=True` (the record says only that it changed), or `guarded=True` (covered by the record's `state_mac`, as
    secrets are).
    """

    id: Mapped[int]
    version: Mapped[int]


class Guarded(Audited):
    """Mark a model with rules that span several objects: each flush that changes or deletes some of them asks it.

    The set-based writer refuses such a model, so no path goes past its rules; other models are not asked.
    """

    @classmethod
    def before_flush(cls, changed: Sequence[Any], deleted: Sequence[Any]) -> None:
        """Refuse the flush by raising."""

    @classmethod
    def after_flush(cls, changed: Sequence[Any]) -> None:
        """Change in the same transaction what depends on these objects."""


class WithMac:
    """Mark a model that no record describes: its rows carry a MAC over the columns that never change."""

    guarded_columns: ClassVar[tuple[str, ...]]

    @declared_attr
    @classmethod
    def mac(cls) -> Mapped[str]:
        return mapped_column(sa.String(MAC_CHARS), info={"hidden": True})


@functools.cache
def audited_columns(model: Any) -> dict[str, sa.Column[Any]]:
    """The columns of a model whose changes are recorded, by name."""
    return {
        column.key: column
        for column in model.__table__.columns
        if column.key not in _STAMPS and column.info.get("audit", True)
    }


@functools.cache
def guarded_columns(model: Any) -> tuple[str, ...]:
    """The columns of an audited model that its records cover by a MAC: secrets, and those marked `guarded`."""
    return tuple(
        column.key for column in model.__table__.columns if column.info.get("secret") or column.info.get("guarded")
    )


@functools.cache
def snapshot_columns(model: Any) -> tuple[str, ...]:
    """The columns of a model that restore a deleted object: all except secrets."""
    return tuple(column.key for column in model.__table__.columns if not column.info.get("secret"))
