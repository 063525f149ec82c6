"""The worker process: runs jobs and repeated tasks, and serves no requests."""

import os
import signal
import sys
import threading
from typing import Any

import click
from flask import Flask
from prometheus_client import start_http_server

from app.core import gc_tuning
from app.core.db import engines
from app.core.db.unit_of_work import db
from app.core.jobs import pubsub
from app.core.jobs.runner import Runner, runner_of
from app.core.process_end import signal_pipe

FIRST_WAIT = 1.0
"""Seconds that a worker waits for Redis before it reports that it works; it works without Redis, too."""


def serve_status(runner: Runner, host: str, port: int) -> None:
    """Answer probes and scrapes in a thread; raises OSError where the address is taken."""
    server, _ = start_http_server(port, host)
    show_metrics: Any = server.get_app()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/health":
            return show_metrics(environ, start_response)
        is_alive = runner.is_alive()
        start_response("200 OK" if is_alive else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"ok\n" if is_alive else b"A thread has ended.\n"]

    server.set_app(answer)


def work(app: Flask, *, status_at: tuple[str, int] | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT, and end the process with 0; unfinished jobs go back to the queue.

    At the address `status_at` it answers /health with 200 or 503, and everything else with its metrics.

    A signal that the parent has set to be ignored stays ignored.
    """
    stopping, listening = threading.Event(), threading.Event()
    # A handler in Python would not do: it runs in the main thread alone, which goes on waiting if the signal came a
    # moment before, or reached another thread.
    receiver = signal_pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    gc_tuning.freeze()
    runner = runner_of(app)
    runner.start()
    if status_at is not None:
        serve_status(runner, *status_at)
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
