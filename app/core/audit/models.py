"""The audit log table, one row for each changed object and version, and for each event; the chains of the events."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.addresses import ip_address
from app.core.db.models import Base, Id, JsonText
from app.core.request_context import REASON_LENGTH, USER_AGENT_LENGTH

LOWER = {"lower": True}
"""Marks columns that hold lower case only, so that filters need not fold them."""

HIDDEN = {"hidden": True}

SEARCHED = (
    "fold(coalesce(username, '') || '|' || coalesce(resource_name, '') || '|' || "
    "coalesce(ip_address, '') || '|' || coalesce(reason, ''))"
)
"""The searched texts of a record as one expression: one trigram index costs a quarter of four."""


class AuditLog(Base):
    """An immutable record. It copies names and has no foreign keys, so it outlives the objects."""

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    created_at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(Id)
    username: Mapped[str | None]
    action: Mapped[str] = mapped_column(sa.String(32), info=LOWER)
    resource_type: Mapped[str] = mapped_column(sa.String(64), info=LOWER)
    resource_id: Mapped[int | None] = mapped_column(Id)
    resource_name: Mapped[str | None]
    version: Mapped[int | None]
    changes: Mapped[dict[str, Any]] = mapped_column(JsonText)
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    ip_address: Mapped[str | None] = mapped_column(sa.String(45), info=LOWER | {"check": ip_address})
    user_agent: Mapped[str | None] = mapped_column(sa.String(USER_AGENT_LENGTH))
    token_id: Mapped[str | None] = mapped_column(sa.String(64))
    request_id: Mapped[str] = mapped_column(sa.String(64))
    reason: Mapped[str | None] = mapped_column(sa.String(REASON_LENGTH))
    # The place of an event; a change is placed by its object and version. See app/core/audit/event_chains.py.
    event_chain: Mapped[int | None] = mapped_column(info=HIDDEN)
    event_number: Mapped[int | None] = mapped_column(Id, info=HIDDEN)
    # The MAC of the columns that `changes` cannot show; see `state_mac` in app/core/audit/mac.py.
    state_mac: Mapped[str | None] = mapped_column(sa.String(73), info=HIDDEN)
    # See app/core/audit/mac.py.
    mac: Mapped[str] = mapped_column(sa.String(73), info=HIDDEN)

    __table_args__ = (
        # Two concurrent writers cannot record the same version.
        sa.Index(
            "uq_audit_logs_resource_type_resource_id_version",
            "resource_type",
            "resource_id",
            "version",
            unique=True,
        ),
        # Each ends with the id, so that a page in log order is read from the index alone, however many match.
        sa.Index("ix_audit_logs_created_at_id", "created_at", "id"),
        sa.Index("ix_audit_logs_user_id_id", "user_id", "id"),
        sa.Index("ix_audit_logs_username_id", sa.text("fold(username)"), "id"),
        sa.Index("ix_audit_logs_action_id", "action", "id"),
        sa.Index("ix_audit_logs_resource_type_id", "resource_type", "id"),
        sa.Index("ix_audit_logs_resource_id_id", "resource_id", "id"),
        sa.Index("ix_audit_logs_ip_address_id", sa.text("address_key(ip_address)"), "id"),
        sa.Index("ix_audit_logs_request_id_id", sa.text("fold(request_id)"), "id"),
        # Not unique: a chain has one writer at a time, and a copied event is found by its MAC.
        sa.Index(
            "ix_audit_logs_event_chain_event_number",
            "event_chain",
            "event_number",
            postgresql_where=sa.text("event_chain IS NOT NULL"),
            sqlite_where=sa.text("event_chain IS NOT NULL"),
        ),
        # On PostgreSQL only: the terms of changes, and the texts.
        sa.Index(
            "ix_audit_logs_terms",
            sa.text("audit_terms(changes)"),
            postgresql_using="gin",
            postgresql_where=sa.text("action <> 'create'"),
        ),
        sa.Index("ix_audit_logs_texts", sa.text(f"({SEARCHED}) gin_trgm_ops"), postgresql_using="gin"),
        {"sqlite_autoincrement": True},
    )


class AuditEventChain(Base):
    """A chain of events and how many there are in it."""

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    length: Mapped[int] = mapped_column(Id)

    # Not numbered anew after a deletion: the heads outside name the chains.
    __table_args__ = ({"sqlite_autoincrement": True},)


COLUMNS = tuple(column.key for column in AuditLog.__table__.columns if column.key not in ("id", "mac"))

WRITTEN = (*COLUMNS, "mac")

STORED = sa.Table(
    AuditLog.__tablename__,
    sa.MetaData(),
    *(
        sa.Column(column.key, sa.Text() if isinstance(column.type, JsonText) else column.type)
        for column in AuditLog.__table__.columns
    ),
)
"""The log as stored: JSON as the exact text that the MACs and the Merkle tree cover."""
