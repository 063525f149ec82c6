"""MACs over what a record cannot show: secrets, and bookkeeping that says who somebody is or what they hold.

A record of a model with such columns carries the MAC of their values after its change (`state_mac`), so that a
verification finds a row that was changed past the application; so do the events of personal access tokens. Rows that
no record describes carry a MAC themselves.
"""

import functools
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.core.audit.mac import Key, canonical, keyring
from app.core.values import as_json

MAC_CHARS = 73


class WithMac:
    """Mark a model whose rows carry a MAC over the columns that never change, from their creation on."""

    guarded_columns: ClassVar[tuple[str, ...]]

    @declared_attr
    @classmethod
    def mac(cls) -> Mapped[str]:
        return mapped_column(sa.String(MAC_CHARS), info={"hidden": True})


@functools.cache
def guarded_columns(model: Any) -> tuple[str, ...]:
    """The columns of an audited model that its records cover by a MAC: secrets, and those marked `guarded`."""
    return tuple(
        column.key for column in model.__table__.columns if column.info.get("secret") or column.info.get("guarded")
    )


def state_mac(model: Any, values: Mapping[str, Any]) -> str | None:
    """The MAC of the guarded columns of a row; None for a model without any."""
    names = guarded_columns(model)
    return compute(keyring()[0], model.__tablename__, values, names) if names else None


def row_mac(model: Any, values: Mapping[str, Any]) -> str:
    """The MAC of a row over the `guarded_columns` that its model names."""
    return compute(keyring()[0], model.__tablename__, values, model.guarded_columns)


def compute(key: Key, table: str, values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """A MAC as it is stored, `<key id>:<hex>`: HMAC-SHA256 over the table and the values as they are in JSON."""
    content = {"table": table, "values": {name: as_json(values[name]) for name in names}}
    return f"{key.id}:{hmac.digest(key.state, canonical(content), 'sha256').hex()}"
