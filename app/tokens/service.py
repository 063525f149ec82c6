"""Creating, authenticating, listing and revoking personal access tokens."""

import hashlib
import ipaddress
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.addresses import parse_address
from app.core.audit import recorder
from app.core.audit.mac import row_mac
from app.core.audit.recorder import Changes
from app.core.audit.refusals import RefusedRequest, record_refusals
from app.core.db.prepared import Prepared
from app.core.db.unit_of_work import current_context, db, writing
from app.core.errors import Conflict, ExpiredToken, InvalidToken, NotFound, RevokedToken, Unauthorized
from app.core.http.access import Actor, Role
from app.core.http.envelope import Page
from app.core.http.paging import fetch_page
from app.core.messages import tr
from app.core.values import MAX_ID, utcnow
from app.tokens.models import PersonalToken, Scope
from app.users.models import User

PREFIX = "itam_pat_"
"""Lets secret scanners find leaked tokens: itam_pat_[0-9A-Za-z]{40}."""
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARS, CHECKSUM_CHARS = 34, 6
"""202 random bits, and a CRC-32 that lets scanners, and us, reject look-alikes without a query."""
MAX_TOKENS = 100
"""Tokens of one user that are not revoked."""
LAST_USED_INTERVAL = timedelta(minutes=1)
"""`last_used_at` is written once in this time, or every request of a script would write."""

users = User.__table__
tokens = PersonalToken.__table__

_SHOWN = (
    "id",
    "name",
    "hint",
    "scopes",
    "networks",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
    "last_used_ip",
)


class TokenRow(NamedTuple):
    """A token and its user, as selected for the authentication of a request."""

    id: int
    username: str
    role: Role
    is_active: bool
    token: int
    scopes: list[str]
    networks: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_READ = sa.select(
    users.c.id,
    users.c.username,
    users.c.role,
    users.c.is_active,
    tokens.c.id.label("token"),
    tokens.c.scopes,
    tokens.c.networks,
    tokens.c.expires_at,
    tokens.c.revoked_at,
    tokens.c.last_used_at,
).join(tokens, tokens.c.user_id == users.c.id)
# Runs on every request that a token authenticates.
_BY_HASH = Prepared(_READ.where(tokens.c.token_hash == sa.bindparam("token_hash", type_=sa.String)))
_BY_ID = Prepared(_READ.where(tokens.c.id == sa.bindparam("token", type_=sa.BigInteger)))


class TokenRevoked(RevokedToken):
    message = tr("This personal access token has been revoked, or its user is not active.")


class TokenNetwork(Unauthorized):
    reason, message = "token_network", tr("The token may not be used from this address.")


class TooManyTokens(Conflict):
    reason, message = "too_many_tokens", tr("You already have {max} tokens. Please revoke some.", max=MAX_TOKENS)


def authenticate(token: str) -> Actor:
    """The user of a personal access token; raises Unauthorized."""
    if not _has_valid_checksum(token):
        raise InvalidToken()
    rows = _BY_HASH.rows({"token_hash": _hash(token)})
    if not rows:
        raise InvalidToken()
    return _admit(TokenRow(*rows[0]))


def authenticate_id(token_id: str) -> Actor:
    """The user of a personal access token, by the `token_id` of an actor; raises Unauthorized."""
    rows = _BY_ID.rows({"token": int(token_id.removeprefix("token-"))})
    if not rows:
        raise InvalidToken()
    return _admit(TokenRow(*rows[0]))


def _admit(row: TokenRow) -> Actor:
    """The user of a token that is valid here and now; raises Unauthorized."""
    now = utcnow()
    actor = Actor(
        id=row.id,
        username=row.username,
        role=row.role,
        token_id=f"token-{row.token}",
        may_write=Scope.WRITE.value in row.scopes,
    )
    if row.revoked_at is not None or not row.is_active:
        raise _refused(actor, TokenRevoked())
    if row.expires_at is not None and row.expires_at <= now:
        raise _refused(actor, ExpiredToken())
    if not _is_allowed(row.networks, current_context().ip_address):
        raise _refused(actor, TokenNetwork())
    if row.last_used_at is None or row.last_used_at < now - LAST_USED_INTERVAL:
        _update_last_used(row.token)
    return actor


def create(user_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Create a token and return it, which cannot be done again. Raises TooManyTokens.

    The lock on the user keeps concurrent calls below MAX_TOKENS, and out of the way of a deactivation, which revokes
    the tokens that exist by then.
    """
    owner = sa.select(users.c.id).where(users.c.id == user_id, users.c.is_active).with_for_update()
    if db.session.scalar(owner) is None:
        raise RevokedToken(tr("Your account is no longer active."))
    unrevoked = sa.select(sa.func.count()).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
    if (db.session.scalar(unrevoked) or 0) >= MAX_TOKENS:
        raise TooManyTokens()
    token = _random_token()
    personal_token = PersonalToken(
        user_id=user_id,
        token_hash=_hash(token),
        hint=token[-4:],
        created_at=utcnow(),
        **{**values, "scopes": sorted({*values["scopes"], "read"})},
    )
    db.session.add(personal_token)
    db.session.flush()
    changes = {
        name: {"old": None, "new": getattr(personal_token, name)}
        for name in ("name", "scopes", "expires_at", "networks")
    }
    _record("token_create", {column.key: getattr(personal_token, column.key) for column in tokens.columns}, changes)
    return {**{name: getattr(personal_token, name) for name in _SHOWN}, "token": token}


def select_tokens(user_id: int, page: int, page_size: int) -> Page:
    """A page of a user's tokens, the latest first."""
    owned = sa.select(*(tokens.c[name] for name in _SHOWN)).where(tokens.c.user_id == user_id)
    return fetch_page(owned.order_by(tokens.c.id.desc()), page, page_size)


def revoke(user_id: int, token_id: int) -> None:
    """Revoke one of a user's tokens; raises NotFound."""
    if token_id > MAX_ID or not _revoke(tokens.c.user_id == user_id, tokens.c.id == token_id):
        raise NotFound(tr("There is no such token."))


def revoke_all(user_id: int) -> None:
    """Revoke all tokens of a user."""
    _revoke(tokens.c.user_id == user_id)


def _revoke(*conditions: sa.ColumnElement[bool]) -> int:
    """Revoke those of the tokens that are not revoked yet, and return how many."""
    revocation = sa.update(tokens).where(*conditions, tokens.c.revoked_at.is_(None)).values(revoked_at=utcnow())
    rows = db.session.execute(revocation.returning(tokens)).mappings().all()
    for row in rows:
        _record("token_revoke", dict(row))
    return len(rows)


def _record(action: str, row: Mapping[str, Any], changes: Changes | None = None) -> None:
    mac = row_mac(PersonalToken, row)
    recorder.record(action, tokens.name, row["id"], row["name"], changes, state_mac=mac)


def _random_token() -> str:
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return PREFIX + random + _checksum(random)


def _checksum(random: str) -> str:
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _has_valid_checksum(token: str) -> bool:
    """Whether length and checksum are those of a token of ours; saves the query for others."""
    random, checksum = token[len(PREFIX) : -CHECKSUM_CHARS], token[-CHECKSUM_CHARS:]
    return token.isascii() and len(random) == RANDOM_CHARS and _checksum(random) == checksum


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_allowed(networks: list[str], address: str | None) -> bool:
    if not networks:
        return True
    if address is None:
        return False
    parsed = parse_address(address)
    return any(parsed in ipaddress.ip_network(network) for network in networks)


def _update_last_used(token_id: int) -> None:
    """Update the last use, unless another request holds the row: SKIP LOCKED, so that none waits for it."""
    unlocked = sa.select(tokens.c.id).where(tokens.c.id == token_id).with_for_update(skip_locked=True)
    values = {"last_used_at": utcnow(), "last_used_ip": current_context().ip_address}
    db.session.execute(sa.update(tokens).where(tokens.c.id == unlocked.scalar_subquery()).values(values))


def _refused(actor: Actor, error: Unauthorized) -> Unauthorized:
    """Audit the use of a token that is no longer valid, in a transaction of its own: the request itself rolls back."""
    context = replace(current_context(), user_id=actor.id, username=actor.username, token_id=actor.token_id)
    message = f"A personal token was refused: {error.reason}."
    with writing():
        record_refusals(
            [RefusedRequest("users", actor.id, message)], route=message, token=actor.token_id or "", context=context
        )
    return error
