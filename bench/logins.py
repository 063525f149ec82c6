"""How well the time of a failed login tells why it failed: the area under the ROC curve of each two reasons.

One half is a coin. The logins are asked in this process, without a network and with the cheapest hash there is,
because either would only hide what there is to see; `--cost 12` is what an installation has.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import combinations
from math import sqrt
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import bcrypt
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.core.http.access import Role
from app.core.values import utcnow
from app.users.models import User
from bench.scratch import application, scratch

TRIES = 400
"""Of each kind."""
COST = 4
AIM = (0.45, 0.55)

KINDS = ("unknown", "wrong", "locked", "inactive")
PER_ACCOUNT = 4
"""Tries with one name: the fifth would lock it."""

Found = dict[str, list[float]]


def run(tries: int = TRIES, cost: int = COST) -> None:
    """Print how each two reasons can be told apart on either database."""
    for name, served in (("SQLite", on_sqlite), ("PostgreSQL", on_postgresql)):
        with served() as app:
            app.config["BCRYPT_ROUNDS"] = cost
            fill(app, tries, cost)
            show(name, measure(app, tries), cost)


@contextmanager
def on_postgresql() -> Iterator[Flask]:
    with scratch() as database:
        yield database.app


@contextmanager
def on_sqlite() -> Iterator[Flask]:
    with TemporaryDirectory(prefix="bench-") as directory:
        app = application(sa.URL.create("sqlite", database=str(Path(directory, "bench.db"))), directory)
        yield app
        with app.app_context():
            db.engine.dispose()


def fill(app: Flask, tries: int, cost: int) -> None:
    """Make the accounts, all of one password."""
    hashed = bcrypt.hashpw(b"nobody knows it", bcrypt.gensalt(cost)).decode()
    states: dict[str, dict[str, Any]] = {
        "wrong": {"is_active": True, "locked_until": None},
        "locked": {"is_active": True, "locked_until": utcnow() + timedelta(days=1)},
        "inactive": {"is_active": False, "locked_until": None},
    }
    with app.app_context():
        for number in range(-(-tries // PER_ACCOUNT)):
            for kind, state in states.items():
                name = f"{kind}-{number}"
                user = User(username=name, email=f"{name}@example.com", role=Role.USER, **state)
                user.password_hash, user.failed_login_attempts = hashed, 0
                db.session.add(user)
        db.session.commit()


def measure(app: Flask, tries: int) -> Found:
    """The seconds that each failed login took, by its reason, all of them asked in turn."""
    client = app.test_client()
    found: Found = {kind: [] for kind in KINDS}
    for number in range(tries + 1):
        for kind in random.sample(KINDS, len(KINDS)):
            credentials = {"username": f"{kind}-{number // PER_ACCOUNT}", "password": "another guess"}
            began = time.perf_counter()
            answer = client.post("/api/auth/login", json=credentials)
            took = time.perf_counter() - began
            assert answer.status_code == 401
            # The first of each kind opens connections and compiles statements.
            if number:
                found[kind].append(took)
    return found


def auc(one: list[float], other: list[float]) -> float:
    """The probability that a try of the one kind takes longer than one of the other."""
    longer = sum((a > b) + (a == b) / 2 for a in one for b in other)
    return longer / (len(one) * len(other))


def show(name: str, found: Found, cost: int) -> None:
    tries = len(found[KINDS[0]])
    error = sqrt((2 * tries + 1) / (12 * tries * tries))
    print(f"logins: {tries} failed ones of each kind in turn on {name}, bcrypt of cost {cost}")
    print("  " + ", ".join(f"{kind} {1000 * median(took):.2f} ms" for kind, took in found.items()))
    for one, other in combinations(KINDS, 2):
        print(f"  {one:8} or {other:8} {auc(found[one], found[other]):6.3f}")
    print(f"  aim: from {AIM[0]} to {AIM[1]}; a coin has a standard error of {error:.3f}")
