"""Chains of events: what changes no version, such as a login, is linked to the event before it in its chain.

A transaction locks the row of a chain until it commits, so a chain has one writer at a time. It takes the first chain
that nobody writes to, or begins another one: events never wait for each other.
"""

from typing import NamedTuple

import sqlalchemy as sa


class Place(NamedTuple):
    """Where an event goes: the chain, its number there (from 1), the MAC of the event before it, and the log's name."""

    chain: int
    number: int
    previous_mac: str | None
    log_name: str


def take_places(connection: sa.Connection, count: int) -> Place:
    """The first of `count` consecutive places at the end of a chain, which is locked until the transaction ends.

    One statement, also where it begins a chain: failed logins send the same ones, whether the account exists or not.
    """
    chain, length, previous_mac, log_name = connection.execute(_TAKE[connection.dialect.name], {"count": count}).one()
    if previous_mac is None and length:
        # The statement is older than the event that its row lock has shown.
        previous_mac = connection.scalar(_MAC_AT, {"chain": chain, "number": length})
    return Place(chain, length + 1, previous_mac, log_name or "unnamed")


_TAKEN = (
    "id, length - :count AS length, (SELECT mac FROM audit_logs WHERE event_chain = audit_event_chains.id "
    "AND event_number = audit_event_chains.length - :count LIMIT 1) AS mac, (SELECT min(name) FROM audit_origin) AS log"
)
_TAKE = {
    # SKIP LOCKED does not skip what this transaction has locked: all its events are in one chain.
    "postgresql": sa.text(
        "WITH taken AS (UPDATE audit_event_chains SET length = length + :count WHERE id = "  # noqa: S608 - text of ours
        "(SELECT id FROM audit_event_chains ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) "
        f"RETURNING {_TAKEN}), "
        "begun AS (INSERT INTO audit_event_chains (length) SELECT :count WHERE NOT EXISTS (SELECT FROM taken) "
        f"RETURNING {_TAKEN}) "
        "SELECT * FROM taken UNION ALL SELECT * FROM begun"
    ),
    # SQLite has one writer, so one chain is enough.
    "sqlite": sa.text(
        "INSERT INTO audit_event_chains (id, length) VALUES (1, :count) "  # noqa: S608 - text of ours
        f"ON CONFLICT (id) DO UPDATE SET length = length + excluded.length RETURNING {_TAKEN}"
    ),
}
_MAC_AT = sa.text("SELECT mac FROM audit_logs WHERE event_chain = :chain AND event_number = :number")
