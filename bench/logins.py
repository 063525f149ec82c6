"""Timing of failed logins: the area under the ROC curve between every two reasons for the failure.

0.5 means that the time tells nothing. The logins run in this process, without a network and with the cheapest hash,
because both would hide a difference; `--cost 12` is what an installation has.
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
"""Failed logins for each reason."""
COST = 4
AIM = (0.45, 0.55)

REASONS = ("unknown", "wrong", "locked", "inactive")
TRIES_PER_ACCOUNT = 4
"""The fifth would lock the account."""

Durations = dict[str, list[float]]


def run(tries: int = TRIES, cost: int = COST) -> None:
    """Print the AUC of every two reasons on both databases."""
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
    """Create the accounts, all with the same password."""
    hashed = bcrypt.hashpw(b"nobody knows it", bcrypt.gensalt(cost)).decode()
    states: dict[str, dict[str, Any]] = {
        "wrong": {"is_active": True, "locked_until": None},
        "locked": {"is_active": True, "locked_until": utcnow() + timedelta(days=1)},
        "inactive": {"is_active": False, "locked_until": None},
    }
    with app.app_context():
        for number in range(-(-tries // TRIES_PER_ACCOUNT)):
            for kind, state in states.items():
                name = f"{kind}-{number}"
                user = User(username=name, email=f"{name}@example.com", role=Role.USER, **state)
                user.password_hash, user.failed_login_attempts = hashed, 0
                db.session.add(user)
        db.session.commit()


def measure(app: Flask, tries: int) -> Durations:
    """The seconds of each failed login by its reason, interleaved in random order."""
    client = app.test_client()
    durations: Durations = {reason: [] for reason in REASONS}
    for number in range(tries + 1):
        for reason in random.sample(REASONS, len(REASONS)):
            credentials = {"username": f"{reason}-{number // TRIES_PER_ACCOUNT}", "password": "another guess"}
            began = time.perf_counter()
            answer = client.post("/api/auth/login", json=credentials)
            duration = time.perf_counter() - began
            assert answer.status_code == 401
            # Not measured: the first ones open connections and compile statements.
            if number:
                durations[reason].append(duration)
    return durations


def auc(one: list[float], other: list[float]) -> float:
    """The probability that a login with the one reason takes longer than one with the other."""
    longer = sum((a > b) + (a == b) / 2 for a in one for b in other)
    return longer / (len(one) * len(other))


def show(name: str, durations: Durations, cost: int) -> None:
    tries = len(durations[REASONS[0]])
    error = sqrt((2 * tries + 1) / (12 * tries * tries))
    print(f"logins: {tries} failed logins for each reason on {name}, bcrypt of cost {cost}")
    print("  " + ", ".join(f"{reason} {1000 * median(times):.2f} ms" for reason, times in durations.items()))
    for one, other in combinations(REASONS, 2):
        print(f"  {one:8} or {other:8} {auc(durations[one], durations[other]):6.3f}")
    print(f"  aim: from {AIM[0]} to {AIM[1]}; the standard error without a difference is {error:.3f}")
