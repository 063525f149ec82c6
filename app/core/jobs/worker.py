"""A process that does nothing but carry out jobs and what is done again and again."""

import os
import signal
import sys
import threading

import click
from flask import Flask

from app.core.gc_tuning import settle
from app.core.jobs import pubsub
from app.core.jobs.runner import runner

FIRST_WAIT = 1.0
"""Seconds that a worker waits for Redis before it says that it works; it does so without, too."""


def work(app: Flask) -> None:
    """Carry out jobs until SIGTERM or SIGINT, and end the process with 0; what is not done then is somebody else's.

    A signal that is ignored stays so.
    """
    stopping, listening = threading.Event(), threading.Event()
    # A pipe, because a handler that sets an event may interrupt the very code that holds its lock.
    told, telling = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os.write(telling, b"."))
    settle()
    runner.start()
    arguments = (app, runner.wake, listening, stopping)
    threading.Thread(target=pubsub.listen, args=arguments, name="announcements", daemon=True).start()
    listening.wait(FIRST_WAIT)
    click.echo("Carrying out jobs.")
    os.read(told, 1)
    stopping.set()
    runner.stop()
    sys.stdout.flush()
    # What is still at work would commit what this process has just let go of.
    os._exit(0)
