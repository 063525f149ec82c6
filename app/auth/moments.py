"""Requests with one token that overlap are one moment: nobody can say which of them came first."""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ParamSpec, TypeVar

from flask import g, request

from app.core.database import utcnow

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Moment:
    """The time during which at least one request with a token was being answered here."""

    began_at: datetime
    requests: int = 0


_moments: dict[str, Moment] = {}
_lock = threading.Lock()


def in_one_moment(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view know by `moment_began_at` since when others with its token overlap with it and each other."""

    @functools.wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        token = request.headers.get("Authorization", "")
        with _lock:
            moment = _moments.setdefault(token, Moment(utcnow()))
            moment.requests += 1
        g.moment_began_at = moment.began_at
        try:
            return view(*args, **kwargs)
        finally:
            with _lock:
                moment.requests -= 1
                if moment.requests == 0:
                    del _moments[token]

    return wrapper


def moment_began_at() -> datetime:
    began_at: datetime = g.moment_began_at
    return began_at
