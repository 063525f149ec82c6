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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

import click
import structlog
from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from sqlalchemy import Engine

from app import create_app
from app.cli import prepare_database
from app.core import gc_tuning
from app.core.db import engines, schema
from app.core.db.dialects.registry import dialect_of
from app.core.http import metrics
from app.core.http.limits.turns import Turns
from app.core.jobs.runner import GRACE_SECONDS, runner_of
from app.core.jobs.worker import work
from app.core.net.slow_connections import SlowConnections
from app.core.storage.storage import settings_problem
from app.users.service import admin_setting_errors
from config import Config, ConfigError, load, warnings

gc.freeze()
gc.enable()

log = structlog.get_logger()

# Fewer than the connections of the pool, so that no thread waits for one.
PLACES = 8  # for requests that work
THREADS = 64  # for them, and for those whose client sends or reads slowly; the server starts them as they are needed
STOP_SECONDS = 5
POLL_SECONDS = 0.1  # between two attempts to reach the server that starts
ANSWER_SECONDS = 5  # that an attempt waits for an answer: the first one also warms the worker up
RESTART_SECONDS = 1.0  # between the end of a job worker and the start of the next

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
    app = create_app(config)
    prepare(app)
    try:
        serve(config)
    finally:
        # The workers have ended, some of them without closing their connections.
        close_database(app)


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


def prepare(app: Flask) -> None:
    """Migrate or check the schema and add the first records, once, before workers start."""
    with app.app_context():
        engine: Engine = app.extensions["sqlalchemy"].engine
        if dialect_of(engine).is_file:
            schema.upgrade()
        elif problem := schema.schema_problem(engine):
            sys.exit(problem)
        prepare_database(app)
        if problem := settings_problem():
            sys.exit(problem)
        # From here on this process only supervises the workers: it needs no connection.
        engine.dispose()


def serve(config: Config) -> None:
    """Run the workers; on stop, requests in progress have STOP_SECONDS to finish."""
    share_metrics(config)
    # A forked worker would inherit the connections, locks and threads of this process.
    multiprocessing.set_start_method("spawn")
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
    # Granian's own hook runs before the workers have imported the application.
    server.on_startup(threading.Thread(target=announce, args=(config,), name="announce", daemon=True).start)
    with job_workers(config.JOB_WORKERS):
        server.serve(target_loader=start_worker, wrap_loader=False)


def announce(config: Config) -> None:
    """Print the address when a worker answers there; opened earlier, it would show an error."""
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


@contextmanager
def job_workers(count: int) -> Iterator[None]:
    """Run `count` job workers for the duration of the block."""
    stopping = threading.Event()
    supervisors = [threading.Thread(target=supervise_job_worker, args=(stopping,)) for _ in range(count)]
    for supervisor in supervisors:
        supervisor.start()
    try:
        yield
    finally:
        stopping.set()
        for supervisor in supervisors:
            supervisor.join()


def supervise_job_worker(stopping: threading.Event) -> None:
    """Run a job worker, and restart it whenever it ends, until `stopping`."""
    while not stopping.is_set():
        process = multiprocessing.Process(target=start_job_worker, name="job-worker", daemon=True)
        process.start()
        while process.is_alive() and not stopping.wait(RESTART_SECONDS):
            pass
        if process.is_alive():
            process.terminate()
            process.join(GRACE_SECONDS + STOP_SECONDS)
            process.kill()
        else:
            log.warning("job_worker_ended", exit_code=process.exitcode)


def share_metrics(config: Config) -> None:
    """Give the workers a directory for their metrics, so that each can report the sum."""
    if config.WORKERS + config.JOB_WORKERS > 1 and metrics.DIRECTORY not in os.environ:
        directory = tempfile.TemporaryDirectory(prefix="itam-metrics-")
        os.environ[metrics.DIRECTORY] = directory.name
        atexit.register(directory.cleanup)


def start_worker() -> Turns:
    """Return the application for a worker, which ends with its parent process."""
    # The first of all such functions runs last.
    atexit.register(end_at_once)
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
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
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    work(create_app(settings()))


def end_at_once() -> None:
    """End a worker without finalising the interpreter.

    A thread that asks for the interpreter meanwhile is ended by pthread_exit() (before CPython 3.14). Of a thread with
    frames of Rust below, such as one of Granian or one that writes a workbook, that aborts the whole process: "panic in
    a function that cannot unwind".
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def end_with_parent() -> None:
    # Workers of a killed parent would go on serving, beside those of the next start.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


if __name__ == "__main__":
    main()
