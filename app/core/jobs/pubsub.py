"""Telling the workers in other processes that there is work: a message in Redis that nobody needs to get.

Whoever did not hear it finds the work at the next look into the database.
"""

from collections.abc import Callable, Collection
from threading import Event

import structlog
from flask import Flask, current_app
from redis import Redis
from redis.exceptions import RedisError

from app.core.cache.redis_client import OPTIONS, PAUSE, attempt

log = structlog.get_logger()

Hear = Callable[[Collection[str] | None], None]


def init_app(app: Flask) -> None:
    url = app.config["REDIS_URL"]
    app.extensions["announcements"] = Redis.from_url(url, **OPTIONS) if url else None


def channel(app: Flask) -> str:
    """The channel of this installation: a channel is seen in all databases of a Redis, so REDIS_PREFIX names it."""
    return f"{app.config['REDIS_PREFIX']}:jobs"


def announce(kinds: Collection[str]) -> None:
    """Say that jobs of these kinds are queued; called after the commit."""
    client = current_app.extensions["announcements"]
    if client is not None:
        attempt(client.publish, channel(current_app), " ".join(sorted(kinds)))


def listen(app: Flask, hear: Hear, listening: Event, stopping: Event) -> None:
    """Call `hear` with the kinds of job that somebody announces, until `stopping`; `listening` says that it does.

    With None it is told that it may have missed some.
    """
    client = app.extensions["announcements"]
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
                        hear(message["data"].decode(errors="replace").split())
                    else:
                        was_away = False
                        hear(None)
                        listening.set()
        except (RedisError, OSError) as error:
            if not was_away:
                log.warning("announcements_unheard", error=repr(error))
            was_away = True
            stopping.wait(PAUSE)
