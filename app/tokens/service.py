"""Making, reading and revoking personal access tokens."""

import hashlib
import ipaddress
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.core.audit import recorder
from app.core.db.statements import Prepared
from app.core.db.unit_of_work import begin_writing, commit_now, db
from app.core.errors import Conflict, NotFound, Unauthorized
from app.core.http.access import Actor, Role, token_reader
from app.core.http.envelope import Page, Pagination
from app.core.request_context import current_origin
from app.core.values import MAX_ID, utcnow
from app.tokens.models import PersonalToken, Scope
from app.users.models import User

PREFIX = "itam_pat_"
"""What secret scanners look for: itam_pat_[0-9A-Za-z]{40}."""
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM, CHECKSUM = 34, 6
"""Characters: 202 bits that nobody guesses, and a CRC by which a scanner tells a token from a likeness."""
MOST = 100
"""Live tokens of one user."""
NOTED_EVERY = timedelta(minutes=1)
"""How exactly the last use is known: a script's thousand requests are not to write a thousand times."""

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


class Bearer(NamedTuple):
    """A token and its user, as every request finds them."""

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


# What every request of a script asks of the database before it does anything else.
_WHO = Prepared(
    sa.select(
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
    )
    .join(tokens, tokens.c.user_id == users.c.id)
    .where(tokens.c.token_hash == sa.bindparam("token_hash", type_=sa.String))
)


class TokenRefused(Unauthorized):
    reason, message = "token_revoked", "This personal access token is not valid any more."


class TooManyTokens(Conflict):
    reason, message = "too_many_tokens", f"You have {MOST} tokens already. Please revoke some."


@token_reader(PREFIX)
def who_is(token: str) -> Actor:
    """The user that a personal token stands for; raises Unauthorized."""
    if not _is_one_of_ours(token):
        raise Unauthorized("The token is not valid.", reason="token_invalid")
    found = _WHO.rows({"token_hash": _hash(token)})
    if not found:
        raise Unauthorized("The token is not valid.", reason="token_invalid")
    row = Bearer(*found[0])
    now = utcnow()
    actor = Actor(
        id=row.id,
        username=row.username,
        role=row.role,
        token_id=f"token-{row.token}",
        may_write=Scope.WRITE.value in row.scopes,
    )
    if row.revoked_at is not None or not row.is_active:
        raise _refused(actor, TokenRefused())
    if row.expires_at is not None and row.expires_at <= now:
        raise _refused(actor, Unauthorized("The token has expired.", reason="token_expired"))
    if not _may_come_from(row.networks, current_origin().ip_address):
        raise _refused(actor, Unauthorized("The token may not be used from here.", reason="token_network"))
    if row.last_used_at is None or row.last_used_at < now - NOTED_EVERY:
        _note_use(row.token)
    return actor


def create(user_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Make a token; the answer is the only place where it stands. Raises TooManyTokens."""
    # Locked, so that of many at once none is one too many, and none is left to somebody who is just deactivated.
    owner = sa.select(users.c.id).where(users.c.id == user_id, users.c.is_active).with_for_update()
    if db.session.scalar(owner) is None:
        raise Unauthorized("Your account is not active any more.", reason="token_revoked")
    live = sa.select(sa.func.count()).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
    if (db.session.scalar(live) or 0) >= MOST:
        raise TooManyTokens()
    token = _random_token()
    made = PersonalToken(
        user_id=user_id,
        token_hash=_hash(token),
        hint=token[-4:],
        created_at=utcnow(),
        **{**values, "scopes": sorted({*values["scopes"], "read"})},
    )
    db.session.add(made)
    db.session.flush()
    facts = {name: {"old": None, "new": getattr(made, name)} for name in ("name", "scopes", "expires_at", "networks")}
    recorder.record("token_create", "personal_tokens", made.id, made.name, facts)
    return {**{name: getattr(made, name) for name in _SHOWN}, "token": token}


def select_tokens(user_id: int, page: int, page_size: int) -> Page:
    """A user's tokens, the latest first."""
    owned = sa.select(*(tokens.c[name] for name in _SHOWN)).where(tokens.c.user_id == user_id)
    total = db.session.scalar(sa.select(sa.func.count()).select_from(owned.subquery()))
    rows = db.session.execute(owned.order_by(tokens.c.id.desc()).limit(page_size).offset((page - 1) * page_size))
    return Page([dict(row._mapping) for row in rows], Pagination(page, page_size, total))


def revoke(user_id: int, token_id: int) -> None:
    """End one of a user's tokens at once; raises NotFound."""
    chosen = (tokens.c.id == token_id, tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
    ended = sa.update(tokens).where(*chosen).values(revoked_at=utcnow()).returning(tokens.c.name)
    name = db.session.scalar(ended) if token_id <= MAX_ID else None
    if name is None:
        raise NotFound("There is no such token.")
    recorder.record("token_revoke", "personal_tokens", token_id, name)


def revoke_all(user_id: int) -> None:
    """End all tokens of a user at once."""
    live = sa.update(tokens).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
    for token_id, name in db.session.execute(live.values(revoked_at=utcnow()).returning(tokens.c.id, tokens.c.name)):
        recorder.record("token_revoke", "personal_tokens", token_id, name)


def _random_token() -> str:
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return PREFIX + random + _checksum(random)


def _checksum(random: str) -> str:
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _is_one_of_ours(token: str) -> bool:
    """Whether it looks like one of our tokens; what does not costs no query."""
    random, checksum = token[len(PREFIX) : -CHECKSUM], token[-CHECKSUM:]
    return token.isascii() and len(random) == RANDOM and _checksum(random) == checksum


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _may_come_from(networks: list[str], address: str | None) -> bool:
    if not networks:
        return True
    if address is None:
        return False
    place = ipaddress.ip_address(address)
    if isinstance(place, ipaddress.IPv6Address):
        place = place.ipv4_mapped or place
    return any(place in ipaddress.ip_network(network) for network in networks)


def _note_use(token_id: int) -> None:
    """Note the use, unless another request is doing so: nobody waits for a row that only says when."""
    free = sa.select(tokens.c.id).where(tokens.c.id == token_id).with_for_update(skip_locked=True)
    noted = {"last_used_at": utcnow(), "last_used_ip": current_origin().ip_address}
    db.session.execute(sa.update(tokens).where(tokens.c.id == free.scalar_subquery()).values(noted))


def _refused(actor: Actor, error: Unauthorized) -> Unauthorized:
    """Record that a token was used that opens nothing any more, in a transaction of its own."""
    begin_writing()
    origin = replace(current_origin(), user_id=actor.id, username=actor.username, token_id=actor.token_id)
    recorder.record("denied", "users", actor.id, f"A personal token was refused: {error.reason}.", origin=origin)
    commit_now()
    return error
