"""Chains of events: what changes no version, such as a login, is linked to the event before it in its chain.

A transaction locks the row of a chain until it commits, so a chain has one writer at a time. It takes the first chain
that is not locked, or begins another one: events never wait for each other.

An administrator of the database can delete the newest events of a chain and shorten it to match. So the newest event
of each chain is noted outside, beside the checkpoints, after every commit; it shows such a deletion also before the
events are sealed. The file is one JSON object: `{"<chain>": [<number>, "<mac>"]}`.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
import sqlalchemy as sa
import structlog
from flask import current_app

from app.core.audit.shared_heads import Heads, merge, shared_heads
from app.core.db.dialects.registry import dialect_of

log = structlog.get_logger()


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
    statement = dialect_of(connection).audit.TAKE_PLACES
    chain, length, previous_mac, log_name = connection.execute(statement, {"count": count}).one()
    if previous_mac is None and length:
        # The statement is older than the event that its row lock has shown.
        previous_mac = connection.scalar(_MAC_AT, {"chain": chain, "number": length})
    return Place(chain, length + 1, previous_mac, log_name or "unnamed")


_MAC_AT = sa.text("SELECT mac FROM audit_logs WHERE event_chain = :chain AND event_number = :number")


class Head(NamedTuple):
    """The last event of a chain of a log."""

    log: str
    chain: int
    number: int
    mac: str


class DamagedHeads(Exception):
    """The file is not what `note` writes."""


def heads_path(log_name: str) -> Path:
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    return folder / file_name(log_name)


def file_name(log_name: str) -> str:
    return f"{log_name.replace('/', '-')}.events.json"


def note(heads: Collection[Head]) -> None:
    """Note events of one log that were committed; a later event that another process has noted stays.

    A file that cannot be written is logged: the events are committed. It is not synchronised to the disk, because a
    verification finds only a file that is ahead of the database, and never one behind it.
    """
    name = next(iter(heads)).log
    latest = {chain: (number, mac) for _, chain, number, mac in sorted(heads)}
    if shared := shared_heads():
        shared.note(name, latest)
        return
    try:
        file = os.open(heads_path(name), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            noted = _parse(os.pread(file, os.fstat(file).st_size, 0))
            merge(noted, latest)
            content = orjson.dumps(noted, option=orjson.OPT_NON_STR_KEYS)
            os.pwrite(file, content, 0)
            os.ftruncate(file, len(content))
        finally:
            os.close(file)
    except (OSError, DamagedHeads) as error:
        log.warning("event_heads_not_written", error=repr(error))


def read(log_name: str) -> list[Head]:
    """The heads that were noted, none if there is no file; raises DamagedHeads."""
    noted: Heads = {}
    for content in _contents(log_name):
        merge(noted, _parse(content))
    return [Head(log_name, chain, number, mac) for chain, (number, mac) in noted.items()]


def _contents(log_name: str) -> Iterator[bytes]:
    if shared := shared_heads():
        yield from shared.read(log_name)
        return
    with suppress(FileNotFoundError), heads_path(log_name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file.read()


def _parse(content: bytes) -> Heads:
    if not content:
        return {}
    try:
        return {int(chain): (int(number), str(mac)) for chain, (number, mac) in orjson.loads(content).items()}
    except (ValueError, AttributeError, TypeError):
        raise DamagedHeads("The file is not what this platform has written.") from None
