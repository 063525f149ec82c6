"""`Idempotency-Key`: a POST that is sent again is executed once and gets the same answer.

The key is claimed in a transaction of its own, and the answer is stored in the one that has the effect: both exist, or
neither. A request that dies in between leaves the key to the next one after its lease; a request that outlives its
lease finds at the end that another holds the key, and is rolled back. Answers are encrypted under a key that only the
sender knows, because some hold secrets: a token that is shown once, a pair of tokens.
"""

import base64
import functools
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, cast

import orjson
import sqlalchemy as sa
import structlog
from cryptography.fernet import Fernet
from flask import Response, current_app, make_response, request
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Base, Id
from app.core.db.unit_of_work import db, transactional
from app.core.errors import BadHeader, Conflict, Invalid, RoleNeeded
from app.core.http import dry_run
from app.core.http.access import Access, Role, authenticate, current_actor
from app.core.jobs.runner import Runner
from app.core.messages import tr
from app.core.request_context import current_request
from app.core.values import utcnow

P = ParamSpec("P")

log = structlog.get_logger()

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
RETENTION = timedelta(hours=24)
LEASE = timedelta(seconds=60)
"""How long a key is held for a request in progress: more than any request takes."""
PURGE_SECONDS = 3600.0
MAX_UNFREED = 10_000

# Statuses that say nothing about the request itself: it may be sent again.
_NOT_KEPT = frozenset({401, 403, 408, 413, 429})
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyKey(Base):
    """A key that was sent, hashed; neither it nor the request nor the answer can be read from the table."""

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    request: Mapped[str] = mapped_column(sa.String(64))
    holder: Mapped[str] = mapped_column(sa.String(32))
    created_at: Mapped[datetime] = mapped_column(index=True)
    lease_expires_at: Mapped[datetime]
    answer: Mapped[bytes | None] = mapped_column(sa.LargeBinary)


keys = IdempotencyKey.__table__


class KeyReused(Invalid):
    reason, message = "idempotency_key_reused", tr("This Idempotency-Key belongs to another request.")


class NoLongerAllowed(RoleNeeded):
    message = tr("The first answer was for an administrator, and you are none any more.")


class StillRunning(Conflict):
    reason, message = "still_running", tr("The first request with this Idempotency-Key is still running.")


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key, and with which rights they ask now."""

    name: str
    role: Role | None = None


@dataclass(slots=True)
class ClaimedKey:
    """A key that this request holds."""

    digest: str
    secret: bytes
    holder: str
    role: Role | None
    is_kept: bool = False
    is_dry_run: bool = False


def once(view: Callable[P, Any], access: Access) -> Callable[P, Any]:
    """Run a POST as one transaction; one with a key is answered from what was stored, or claims its key before."""
    run = transactional(view)

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        environ = current_request().environ
        if environ["REQUEST_METHOD"] != "POST" or "HTTP_IDEMPOTENCY_KEY" not in environ:
            return run(*args, **kwargs)
        claim = _claim(_caller(access), environ["HTTP_IDEMPOTENCY_KEY"])
        if isinstance(claim, Response):
            return claim
        try:
            response = transactional(_keeping(view, claim))(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - its answer is kept like any other
            response = make_response(current_app.handle_user_exception(error))
            claim.is_kept = False
        if not claim.is_kept:
            _conclude(claim, response)
        return response

    return wrapper


def _keeping(view: Callable[P, Any], claim: ClaimedKey) -> Callable[P, Response]:
    """Store the answer of a request that holds a key in the transaction that has its effect."""

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Response:
        response = make_response(view(*args, **kwargs))
        if claim.role is not None:
            # The role under which it was done: it may have changed since the key was claimed.
            claim.role = current_actor().role
        if not claim.is_dry_run and _is_worth_keeping(response):
            stored = db.session.execute(_store(claim, response).returning(keys.c.id)).one_or_none()
            if stored is None:
                # Another request has taken the key over, and has the effect.
                raise StillRunning
            claim.is_kept = True
        return response

    return wrapper


def register_jobs(runner: Runner) -> None:
    runner.repeat("idempotency", purge, every=PURGE_SECONDS)


def purge() -> None:
    """Delete the expired keys."""
    with db.engine.begin() as connection:
        connection.execute(sa.delete(keys).where(keys.c.created_at < utcnow() - RETENTION))


def _caller(access: Access) -> Caller:
    """The caller; raises Unauthorized. A personal token must not replay what its user did in person."""
    if access == "public":
        return Caller("anonymous")
    actor = authenticate(refresh=access == "refresh")
    return Caller(f"{actor.id} {'in person' if actor.is_in_person else 'by token'}", actor.role)


def _claim(caller: Caller, key: str) -> ClaimedKey | Response:
    """Claim a free key, or return the stored answer.

    Raises KeyReused, StillRunning, NoLongerAllowed and BadRequest.
    """
    if not _KEY.fullmatch(key):
        raise BadHeader(tr("{header} must have 1 to 255 visible ASCII characters.", header=HEADER))
    secret = hmac.digest(
        current_app.config["SECRET_KEY"].encode(), f"idempotency {caller.name} {key}".encode(), "sha256"
    )
    digest = hmac.new(secret, b"digest", hashlib.sha256).hexdigest()
    content = _request_digest(secret)
    claim = ClaimedKey(digest, secret, uuid.uuid4().hex, caller.role, is_dry_run=dry_run.is_asked_for())
    while True:
        now = utcnow()
        row = _look_up(digest)
        if row is None:
            if _insert(claim, content, now):
                return claim
        elif row.created_at < now - RETENTION or (
            row.answer is None and (row.lease_expires_at < now or row.holder in _unfreed())
        ):
            if _take_over(claim, row.holder, content, now):
                return claim
        elif row.request != content:
            raise KeyReused
        elif row.answer is None:
            raise StillRunning(headers={"Retry-After": "1"})
        else:
            return _open(secret, row.answer, caller.role)


def _look_up(digest: str) -> Any:
    with db.engine.connect() as connection:
        reading = connection.execution_options(access="read")
        return reading.execute(sa.select(keys).where(keys.c.digest == digest)).one_or_none()


def _insert(claim: ClaimedKey, content: str, now: datetime) -> bool:
    values = {**_held(claim, content, now), "digest": claim.digest}
    try:
        with db.engine.begin() as connection:
            connection.execute(sa.insert(keys).values(values))
    except IntegrityError:
        return False
    return True


def _take_over(claim: ClaimedKey, holder: str, content: str, now: datetime) -> bool:
    """Take over the key of a request that has died, or an expired one; False if another request was faster."""
    # Its commit may arrive this late, and with it the answer.
    is_free = sa.or_(keys.c.answer.is_(None), keys.c.created_at < now - RETENTION)
    same = sa.and_(keys.c.digest == claim.digest, keys.c.holder == holder, is_free)
    with db.engine.begin() as connection:
        takeover = sa.update(keys).where(same).values(**_held(claim, content, now), answer=None)
        return connection.execute(takeover).rowcount == 1


def _held(claim: ClaimedKey, content: str, now: datetime) -> dict[str, Any]:
    return {"request": content, "holder": claim.holder, "created_at": now, "lease_expires_at": now + LEASE}


def _conclude(claim: ClaimedKey, response: Response) -> None:
    """Store the answer of a request that had no effect, or free its key."""
    try:
        with db.engine.begin() as connection:
            if _is_worth_keeping(response) and not claim.is_dry_run:
                connection.execute(_store(claim, response))
            else:
                connection.execute(sa.delete(keys).where(_is_held(claim)))
    except DBAPIError as error:
        # The database is away. This process takes the key over at once, another one when its lease is over.
        _unfreed().add(claim.holder)
        log.warning("idempotency_key_not_freed", error=repr(error.orig))


def _unfreed() -> set[str]:
    """The holders whose request has ended in this process without an effect, and whose keys it could not free."""
    holders: set[str] = current_app.extensions.setdefault("unfreed_keys", set())
    if len(holders) > MAX_UNFREED:
        holders.clear()
    return holders


def _is_worth_keeping(response: Response) -> bool:
    return response.status_code < 500 and response.status_code not in _NOT_KEPT


def _store(claim: ClaimedKey, response: Response) -> sa.Update:
    # Pairs: an answer may set several cookies.
    headers = [[name, value] for name, value in response.headers if name != "Content-Length"]
    role = claim.role and claim.role.value
    content = orjson.dumps([response.status_code, headers, role]) + b"\n" + response.get_data()
    return sa.update(keys).where(_is_held(claim)).values(answer=_cipher(claim.secret).encrypt(content))


def _is_held(claim: ClaimedKey) -> sa.ColumnElement[bool]:
    """Whether the key waits for our answer.

    It has one already where the connection was lost after the database had got the COMMIT: the effect is there.
    """
    return sa.and_(keys.c.digest == claim.digest, keys.c.holder == claim.holder, keys.c.answer.is_(None))


def _open(secret: bytes, answer: bytes, role: Role | None) -> Response:
    """The stored answer; raises NoLongerAllowed where it was for an administrator and the caller is none now."""
    head, _, body = _cipher(secret).decrypt(answer).partition(b"\n")
    status, headers, answered_role = orjson.loads(head)
    if answered_role is not None and (role is None or not role.covers(Role(answered_role))):
        raise NoLongerAllowed
    return Response(body, status, [*map(tuple, headers), (REPLAYED, "true")])


def _cipher(secret: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hmac.digest(secret, b"answer", "sha256")))


def _request_digest(secret: bytes) -> str:
    """A digest of the request's content. Forms are parsed, because each client draws a new boundary."""
    digest = hmac.new(secret, request.full_path.encode(), hashlib.sha256)

    def add(*parts: str | bytes | None) -> None:
        for part in parts:
            content = part.encode(errors="surrogatepass") if isinstance(part, str) else part or b""
            digest.update(b"%d:%b" % (len(content), content))

    add(request.mimetype)
    if request.mimetype == "multipart/form-data":
        for name, value in request.form.items(multi=True):
            add("field", name, value)
        for name, file in request.files.items(multi=True):
            add("file", name, file.filename, file.mimetype)
            add(hashlib.file_digest(cast(Any, file.stream), "sha256").digest())
            file.stream.seek(0)
    else:
        add(request.get_data(cache=True))
    return digest.hexdigest()
