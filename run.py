"""Serve the platform: check the settings, prepare the database, start the server and the processes that run jobs."""

import gc

# What the modules make stays as long as the process: collections would be a third of the time that loading them takes.
gc.disable()

import atexit
import errno
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from config import Config, ConfigError, load, warnings

# app.core.http.metrics has the name too, and cannot be imported before this is set.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics() -> None:
    """Give several processes a directory for their metrics, so that each can report the sum.

    prometheus_client looks for it once, when it is imported.
    """
    with suppress(ConfigError):  # which `main` reports
        config = load()
        if config.WORKERS + config.JOB_WORKERS > 1 and METRICS_DIRECTORY not in os.environ:
            directory = tempfile.TemporaryDirectory(prefix="itam-metrics-")
            os.environ[METRICS_DIRECTORY] = directory.name
            atexit.register(directory.cleanup)


if __name__ == "__main__":
    share_metrics()

import click
import sqlalchemy as sa
from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.common import AbstractServer

from app import create_app
from app.cli import prepare_database
from app.core import gc_tuning
from app.core.cache.generations import generations_of_app
from app.core.db import engines, schema
from app.core.db.dialects.registry import dialect_named, dialect_of
from app.core.http.limits.turns import Turns
from app.core.jobs.runner import runner_of
from app.core.jobs.supervisor import job_workers
from app.core.jobs.worker import work
from app.core.net.slow_connections import SlowConnections
from app.core.process_end import at_process_end, end_at_once, end_with_parent, heed_signals
from app.core.storage.storage import settings_problem
from app.users.service import admin_setting_errors

gc.freeze()
gc.enable()

# Fewer than the connections of the pool, so that no thread waits for one.
PLACES = 8  # for requests that work
THREADS = 64  # for them, and for those whose client sends or reads slowly; the server starts them as they are needed
STOP_SECONDS = 5
POLL_SECONDS = 0.1  # between two attempts to reach the server that starts
ANSWER_SECONDS = 5  # that an attempt waits for an answer: the first one also warms the worker up
START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""How the first processes are started: forked ones share the memory of the modules; see docs/decisions/0161."""

application: Flask


def __getattr__(name: str) -> Any:
    # Built on first access, so that an import starts nothing; `flask --app run` and WSGI servers find it here.
    if name == "application":
        refuse_flask_run()
        globals()[name] = app = create_app(settings())
        atexit.register(close_database, app)
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    config = settings()
    require_free_address(config)
    for warning in warnings(config):
        print(f"Warning: {warning}", file=sys.stderr, flush=True)
    multiprocessing.set_start_method(START_METHOD)
    # What a collection of garbage passes over is copied for each process.
    gc_tuning.freeze()
    prepare_apart()
    try:
        serve(config)
    finally:
        if dialect_named(sa.make_url(config.SQLALCHEMY_DATABASE_URI).get_backend_name()).is_file:
            # The workers have ended, some of them without closing their connections.
            close_database(create_app(config))


def refuse_flask_run() -> None:
    """End `flask run`, whose server would prepare no database and run no jobs."""
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name == "run":
        sys.exit("`flask run` is not for use here, because it runs no jobs: start the platform with `python run.py`.")


def close_database(app: Flask) -> None:
    """Leave a database that is complete without this process."""
    with app.app_context():
        engines.close(app.extensions["sqlalchemy"].engine)


def settings() -> Config:
    """Return the settings, or end the process with a message that names every error."""
    try:
        return load(checks=[admin_setting_errors])
    except ConfigError as error:
        sys.exit(str(error))


def require_free_address(config: Config) -> None:
    """End the process if another one serves on HOST and PORT.

    Granian sets SO_REUSEPORT: without this check, an old server would go on and answer some of the requests.
    """
    family = socket.AF_INET6 if ":" in config.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        # Ignore connections in TIME_WAIT of a server that has just stopped.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.HOST, config.PORT))
        except OSError as error:
            reason = (
                "another program serves there" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            )
            sys.exit(f"Cannot serve on {address(config)}: {reason} (HOST, PORT).")


def address(config: Config) -> str:
    """Return the URL that a browser on this machine opens."""
    host = local_host(config)
    return f"http://[{host}]:{config.PORT}" if ":" in host else f"http://{host}:{config.PORT}"


def local_host(config: Config) -> str:
    """Return HOST, or the loopback address where it stands for all addresses: not every browser opens those."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.HOST, config.HOST)  # noqa: S104 - compared, not bound


def prepare_apart() -> None:
    """Prepare the database in a process of its own, or end this one where that fails.

    This process connects with nothing and starts no thread of a library: a process that is forked from it would have
    the same connection, and a library without its threads.
    """
    process = multiprocessing.Process(target=prepare, name="prepare", daemon=True)
    process.start()
    process.join()
    if process.exitcode:
        # Otherwise it has said why.
        sys.exit(f"Signal {-process.exitcode} has ended the preparation." if process.exitcode < 0 else 1)


def prepare() -> None:
    """Migrate or check the schema and add the first records, once, before workers start."""
    # Ctrl-C reaches this process, too: it ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    app = create_app(settings())
    with app.app_context():
        engine: sa.Engine = app.extensions["sqlalchemy"].engine
        if dialect_of(engine).is_file:
            schema.upgrade()
        elif problem := schema.schema_problem(engine):
            sys.exit(problem)
        prepare_database(app)
        # The database may have come from a backup.
        generations_of_app().renew()
        if problem := settings_problem():
            sys.exit(problem)
    close_database(app)


def serve(config: Config) -> None:
    """Run the workers; on stop, requests in progress have STOP_SECONDS to finish."""
    server = Granian(
        "run:application",
        address=config.HOST,
        port=config.PORT,
        interface=Interfaces.WSGI,
        # One request at a time on a connection: its bytes show whether the client is slow.
        http=HTTPModes.http1,
        workers=config.WORKERS,
        blocking_threads=THREADS,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        # It warns about more threads than cores; ours mostly wait for I/O.
        log_level=LogLevels.error,
        log_access=False,
    )
    server.on_startup(heed_signals)
    # Granian's own hook runs before the workers have imported the application.
    server.on_startup(threading.Thread(target=announce, args=(config, server), name="announce", daemon=True).start)
    with job_workers(config.JOB_WORKERS, start_job_worker):
        server.serve(target_loader=start_worker, wrap_loader=False)


def announce(config: Config, server: AbstractServer[Any]) -> None:
    """Print the address when a worker answers there; opened earlier, it would show an error."""
    while len(server.wrks) < config.WORKERS:
        time.sleep(POLL_SECONDS)
    # In a forked process, a lock that another thread holds stays locked. From here on there are such threads, so the
    # process that replaces one is a new one.
    multiprocessing.set_start_method("spawn", force=True)
    while not answers(config):
        time.sleep(POLL_SECONDS)
    everywhere = " and on every other address of this machine" if local_host(config) != config.HOST else ""
    print(f"Serving on {address(config)}{everywhere}", flush=True)


def answers(config: Config) -> bool:
    """Whether the platform answers a request, whatever the answer is."""
    # Not urllib: it would ask a proxy of the environment.
    connection = HTTPConnection(local_host(config), config.PORT, timeout=ANSWER_SECONDS)
    with closing(connection):
        try:
            connection.request("GET", "/api/health")
            connection.getresponse()
        except (OSError, HTTPException):
            return False
    return True


def start_worker() -> Turns:
    """Return the application for a worker, which ends with its parent process."""
    heed_signals()
    at_process_end(end_at_once, last=True)
    end_with_parent()
    app = create_app(settings())
    gc_tuning.freeze()
    # Only a server runs jobs, no command and no test. With Redis, job workers do: a long import must not slow requests.
    if not app.config["REDIS_URL"]:
        runner_of(app).start()
    SlowConnections(app.config["PORT"], app.config["SLOW_CLIENT_SECONDS"]).start()
    return Turns(app, PLACES)


def start_job_worker() -> None:
    """Run jobs in this process until its parent ends."""
    # Ctrl-C reaches all processes of the terminal: the parent stops this one in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    work(create_app(settings()))


if __name__ == "__main__":
    main()
