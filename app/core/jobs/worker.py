"""The worker process: runs jobs and repeated tasks, and serves no requests."""

import os
import signal
import sys
import threading

import click
from flask import Flask

from app.core import gc_tuning
from app.core.db import engines
from app.core.db.unit_of_work import db
from app.core.jobs import pubsub
from app.core.jobs.runner import runner_of

FIRST_WAIT = 1.0
"""Seconds that a worker waits for Redis before it reports that it works; it works without Redis, too."""


def work(app: Flask) -> None:
    """Run jobs until SIGTERM or SIGINT, and end the process with 0; unfinished jobs go back to the queue.

    A signal that the parent has set to be ignored stays ignored.
    """
    stopping, listening = threading.Event(), threading.Event()
    # A pipe, because a handler that sets an event may interrupt the very code that holds its lock.
    receiver, sender = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os.write(sender, b"."))
    gc_tuning.freeze()
    runner = runner_of(app)
    runner.start()
    arguments = (app, runner.wake, listening, stopping)
    threading.Thread(target=pubsub.listen, args=arguments, name="pubsub", daemon=True).start()
    listening.wait(FIRST_WAIT)
    click.echo("Carrying out jobs.")
    os.read(receiver, 1)
    stopping.set()
    runner.stop()
    sys.stdout.flush()
    with app.app_context():
        engines.close(db.engine)
    # Exit hard: a running job would commit after its lease was returned.
    os._exit(0)
