"""Download links: a signed path, with the session or personal token that asked for it.

A request for a link is turned into the request for its path before it is routed. So it is answered, limited, measured
and recorded like the path itself, and no log has the link.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import sqlalchemy as sa
from flask import Response, after_this_request, request
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy.exc import IntegrityError

from app.auth import sessions
from app.core.db.unit_of_work import db, reading
from app.core.errors import NotFound
from app.core.http.access import VOUCHER, Actor
from app.core.http.application import Platform
from app.core.jobs.runner import Runner
from app.core.messages import tr
from app.core.values import utcnow
from app.downloads.models import UsedDownload
from app.tokens import service as personal_tokens

PREFIX = "/api/downloads/"
LIFETIME_SECONDS = 60
PURGE_SECONDS = 600.0

used = UsedDownload.__table__


class DownloadLinkInvalid(NotFound):
    reason, message = (
        "download_invalid",
        tr("This download link is not valid any more: it works once, within a minute. Please start the download anew."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a link opens, for whom, and until when (a Unix time)."""

    path: str
    query: str
    user_id: int
    session_id: str | None
    token_id: str
    nonce: str
    expires_at: int

    @classmethod
    def of(cls, actor: Actor, path: str, query: str) -> Self:
        return cls(
            path=path,
            query=query,
            user_id=actor.id,
            session_id=actor.session_id,
            token_id=str(actor.token_id),
            nonce=secrets.token_hex(16),
            expires_at=int(time.time()) + LIFETIME_SECONDS,
        )

    def admit(self) -> Actor:
        """The user of the link, as they are now; uses it up, but for HEAD.

        Raises Unauthorized and DownloadLinkInvalid.
        """
        after_this_request(_keep_nothing)
        with reading():
            actor = self._read_actor()
        if request.method != "HEAD":
            self._use()
        return actor

    def _read_actor(self) -> Actor:
        if self.session_id is None:
            return personal_tokens.authenticate_id(self.token_id)
        claims = {"sub": str(self.user_id), "sid": self.session_id, "jti": self.token_id}
        return sessions.who_asks(claims).answer()

    def _use(self) -> None:
        """Note the use in a transaction of its own: of two at once, in whatever process, one succeeds."""
        use = sa.insert(used).values(nonce=self.nonce, expires_at=datetime.fromtimestamp(self.expires_at, UTC))
        try:
            with db.engine.begin() as connection:
                connection.execute(use)
        except IntegrityError:
            raise DownloadLinkInvalid from None


class Links:
    """Signs links, and reads those that are ours and have not expired."""

    def __init__(self, key: str) -> None:
        self._serializer = URLSafeSerializer(key, salt="download", signer_kwargs={"digest_method": hashlib.sha256})

    def url(self, link: Link) -> str:
        return PREFIX + str(self._serializer.dumps(asdict(link)))

    def read(self, url: str) -> Link | None:
        try:
            link = Link(**self._serializer.loads(url.removeprefix(PREFIX)))
        except BadData:
            return None
        return link if time.time() < link.expires_at else None


def init_app(app: Platform) -> None:
    links = app.extensions["download_links"] = Links(app.config["SECRET_KEY"])
    answer = app.wsgi_app

    def open_link(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and (link := links.read(environ["PATH_INFO"])):
            environ = {**environ, "PATH_INFO": link.path, "QUERY_STRING": link.query, VOUCHER: link.admit}
        return answer(environ, start_response)

    app.mount(PREFIX, open_link)


def _keep_nothing(response: Response) -> Response:
    """Images may be cached for good, but not under a URL that works once."""
    response.headers["Cache-Control"] = "no-store"
    return response


def register_jobs(runner: Runner) -> None:
    runner.repeat("used downloads", purge, every=PURGE_SECONDS)


def purge() -> None:
    """Delete the uses of links that have expired."""
    with db.engine.begin() as connection:
        connection.execute(sa.delete(used).where(used.c.expires_at < utcnow()))
