"""Redis pubsub: tells worker processes that jobs are queued. A lost message only delays them to the next poll."""

from collections.abc import Callable, Collection
from threading import Event

import structlog
from flask import Flask, current_app
from redis import Redis

from app.core.cache.redis_client import NONSENSE, OPTIONS, PAUSE_SECONDS, attempt

log = structlog.get_logger()

Wake = Callable[[Collection[str] | None], None]


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    app.extensions["pubsub"] = Redis.from_url(url, **OPTIONS) if url else None


def channel(app: Flask) -> str:
    """The channel of this installation: a channel is seen in all databases of a Redis, so REDIS_PREFIX names it."""
    return f"{app.config['REDIS_PREFIX']}:jobs"


def announce(kinds: Collection[str]) -> None:
    """Publish that jobs of these kinds are queued, where there is Redis; called after the commit."""
    client = current_app.extensions["pubsub"]
    attempt(client.publish, channel(current_app), " ".join(sorted(kinds)))


def listen(app: Flask, wake: Wake, listening: Event, stopping: Event) -> None:
    """Call `wake` with the kinds of jobs that are announced, until `stopping`; `listening` is set once it listens.

    After each connection it is called with None, for all kinds: announcements may have been missed.
    """
    client = app.extensions["pubsub"]
    was_away = False
    while not stopping.is_set():
        try:
            with client.pubsub() as messages:
                messages.subscribe(channel(app))
                while not stopping.is_set():
                    message = messages.get_message(timeout=1.0)
                    if message is None:
                        continue
                    if message["type"] == "message":
                        wake(message["data"].decode(errors="replace").split())
                    else:
                        was_away = False
                        wake(None)
                        listening.set()
        except NONSENSE as error:
            if not was_away:
                log.warning("pubsub_away", error=repr(error))
            was_away = True
            stopping.wait(PAUSE_SECONDS)
