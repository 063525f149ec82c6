"""MAC chains: each audit record of an object carries a MAC over its text and the MAC of the record before.

A change holds the lock of its object's row, so nobody else can write the next record of the same object: a chain
for each object needs no lock of its own, one over the whole log would. What changes no version (a login, a
refusal) holds no such lock, and is linked to the event before it in a chain of events. The order of everything is the
Merkle tree's business.
"""

import functools
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.audit import event_chains
from app.core.audit.declaration import guarded_columns
from app.core.audit.event_chains import Head
from app.core.audit.models import STORED
from app.core.db.dialects.registry import dialect_of
from app.core.db.endings import after_commit
from app.core.db.models import Entity, Id
from app.core.db.prepared import Prepared
from app.core.db.transaction import Place
from app.core.db.unit_of_work import db, unit_of_work
from app.core.request_context import current_application
from app.core.values import as_json

Object = TypeVar("Object", bound=Entity)


@dataclass(frozen=True, slots=True)
class AuditKey:
    """Keys derived from one secret; the id, which is public, names them in the log."""

    id: str
    mac: bytes
    state: bytes
    seed: bytes


def keyring() -> tuple[AuditKey, ...]:
    """The configured keys, the newest first."""
    config = current_application().config
    return tuple(map(derive, (config["AUDIT_KEY"] or config["SECRET_KEY"], *config["AUDIT_KEYS_BEFORE"])))


@functools.cache
def derive(secret: str) -> AuditKey:
    """The keys of a secret by HKDF-SHA256 (RFC 5869), one for each purpose."""

    def part(purpose: str, length: int) -> bytes:
        info = f"itam audit log, {purpose}, 1".encode()
        return HKDF(SHA256(), length, salt=None, info=info).derive(secret.encode())

    return AuditKey(part("key id", 4).hex(), part("record", 32), part("state", 32), part("checkpoint", 32))


def canonical(values: Mapping[str, Any]) -> bytes:
    """The bytes that are authenticated: a record's columns as one JSON object in the canonical form of RFC 8785.

    `changes` and `snapshot` are the stored texts, as strings; what is absent is null. RFC 8785 sorts the names,
    leaves no blanks, and escapes only what JSON must, so every database and language comes to the same bytes.
    """
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


@functools.lru_cache(maxsize=16)
def canonical_time(at: datetime | str) -> str:
    """A time in UTC with all six digits of its microseconds: `2026-01-31T08:00:00.000000Z`.

    Given as PostgreSQL's driver reads it, or as the text in which SQLite keeps it.
    """
    if isinstance(at, str):
        return f"{at[:10]}T{at[11:]}Z"
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def mac_of(key: AuditKey, content: Mapping[str, Any], previous: str | None) -> str:
    """The MAC of a record as it is stored, `<key id>:<hex>`: HMAC-SHA256 over its content and the MAC before it.

    A stored record has an id and a MAC, too, which the MAC does not cover.
    """
    covered = {**content, "previous": previous}
    covered.pop("id", None)
    covered.pop("mac", None)
    return f"{key.id}:{hmac.digest(key.mac, canonical(covered), 'sha256').hex()}"


def state_mac(model: Any, values: Mapping[str, Any]) -> str | None:
    """A MAC over what a record cannot show of its object: secrets, and bookkeeping that says who holds what.

    By it a verification finds a row that was changed past the application. None for a model without such columns.
    """
    names = guarded_columns(model)
    return mac_of_values(keyring()[0], model.__tablename__, values, names) if names else None


def row_mac(model: Any, values: Mapping[str, Any]) -> str:
    """The MAC of a row that no record describes, over the `guarded_columns` that its model names."""
    return mac_of_values(keyring()[0], model.__tablename__, values, model.guarded_columns)


def mac_of_values(key: AuditKey, table: str, values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """A MAC as it is stored, `<key id>:<hex>`: HMAC-SHA256 over the table and the values as they are in JSON."""
    content = {"table": table, "values": {name: as_json(values[name]) for name in names}}
    return f"{key.id}:{hmac.digest(key.state, canonical(content), 'sha256').hex()}"


def link(
    connection: sa.Connection, contents: Iterable[dict[str, Any]], known_macs: Mapping[Place, str]
) -> list[dict[str, Any]]:
    """Complete records of the current transaction with their `mac`, and events with their place in a chain.

    All MACs before them that are not in `known_macs` come in one query.
    """
    records = list(contents)
    if events := [content for content in records if content["version"] is None]:
        _link_events(connection, events)
    places = [place for content in records if (place := place_before(content)) and place not in known_macs]
    before = {**known_macs, **_macs_at(connection, places)}
    key = keyring()[0]
    for content in records:
        if content["version"] is None:
            continue
        place = place_before(content)
        content["mac"] = _mac_of_new(key, content, before.get(place) if place else None)
        # The next version of the same object may be among these.
        before[content["resource_type"], content["resource_id"], content["version"]] = content["mac"]
    return records


def _link_events(connection: sa.Connection, events: Sequence[dict[str, Any]]) -> None:
    """Give events their places in one chain and their MACs, and note the last one outside once it is committed."""
    chain, first, previous_mac, log_name = event_chains.take_places(connection, len(events))
    key = keyring()[0]
    for number, content in enumerate(events, first):
        content["event_chain"], content["event_number"] = chain, number
        previous_mac = content["mac"] = _mac_of_new(key, content, previous_mac)
    # In a savepoint the events may be undone while the transaction is committed.
    if not db.session().in_nested_transaction():
        after_commit(event_chains.note, Head(log_name, chain, first + len(events) - 1, events[-1]["mac"]))


def _mac_of_new(key: AuditKey, content: Mapping[str, Any], previous: str | None) -> str:
    return mac_of(key, {**content, "created_at": canonical_time(content["created_at"])}, previous)


def first_macs(common: Mapping[str, Any], own: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """The MACs of the first records of many objects: no record is before them, so the database is not asked.

    `common` are the columns in which the records agree, `own` the values of all others, column by column.
    """
    key = keyring()[0]
    # In canonical order, so that each record need not be sorted again.
    content = dict(sorted({**common, "created_at": canonical_time(common["created_at"])}.items()))
    for values in zip(*own.values(), strict=True):
        content.update(zip(own, values, strict=True))
        yield mac_of(key, content, None)


def place_before(content: Mapping[str, Any]) -> Place | None:
    """The place of the record that this one is chained to; None for the first of an object and for events."""
    version = content["version"]
    if version is None or version <= 1:
        return None
    return content["resource_type"], content["resource_id"], version - 1


def _macs_at(connection: sa.Connection, places: Sequence[Place]) -> dict[Place, str | None]:
    if not places:
        return {}
    if len(places) == 1:
        (kind, identity, version), statement = places[0], _ONE
        parameters: Mapping[str, Any] = {"kind": kind, "identity": identity, "version": version}
    else:
        statement, parameters = dialect_of(connection).audit.select_macs(places)
    rows = connection.execute(statement, parameters)
    return {(kind, identity, version): mac for kind, identity, version, mac in rows}


_ONE = sa.text(
    "SELECT resource_type, resource_id, version, mac FROM audit_logs "
    "WHERE resource_type = :kind AND resource_id = :identity AND version = :version"
)


def get_to_change(model: type[Object], object_id: int) -> Object | None:
    """The object by its id, locked until the transaction ends.

    The MAC that its next record is chained to is read with it instead of by a query of its own.
    """
    parameters, options = {"identity": object_id}, {"populate_existing": True}
    row = db.session.execute(_object_to_change(model), parameters, execution_options=options).one_or_none()
    if row is None:
        return None
    target: Object = row[0]
    _note_mac(model, target.id, target.version, row[1])
    return target


def row_to_change(model: type[Entity], object_id: int) -> dict[str, Any] | None:
    """The row by its id, locked until the transaction ends, with the MAC that its next record is chained to."""
    rows = _row_to_change(model).rows({"identity": object_id})
    if not rows:
        return None
    *values, mac = rows[0]
    row = dict(zip(model.__table__.columns.keys(), values, strict=True))
    _note_mac(model, row["id"], row["version"], mac)
    return row


def _note_mac(model: type[Entity], object_id: int, version: int, mac: str | None) -> None:
    # None also after waiting for another change: its record is newer than this statement's snapshot.
    # In a savepoint the record may be undone while the transaction goes on.
    if mac is not None and not db.session().in_nested_transaction():
        unit_of_work().transaction.known_macs[model.__table__.name, object_id, version] = mac


@functools.cache
def _object_to_change(model: type[Entity]) -> sa.Select[Any]:
    return _to_change(model.__table__, model)


@functools.cache
def _row_to_change(model: type[Entity]) -> Prepared:
    return Prepared(_to_change(model.__table__, *model.__table__.columns))


def _to_change(table: sa.Table, *selected: Any) -> sa.Select[Any]:
    log = STORED.c
    this_version = log.resource_type == table.name, log.resource_id == table.c.id, log.version == table.c.version
    mac = sa.select(log.mac).where(*this_version).scalar_subquery()
    return sa.select(*selected, mac).where(table.c.id == sa.bindparam("identity", type_=Id)).with_for_update()
