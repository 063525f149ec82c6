"""Serve the platform: check the settings, prepare the database, start the production server and who works for it."""

import atexit
import errno
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask_migrate
import structlog
from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from sqlalchemy import Engine

from app import create_app
from app.cli import MIGRATIONS, prepare_database, schema_problem
from app.core.gc_tuning import settle
from app.core.http import metrics
from app.core.jobs.runner import GRACE, runner
from app.core.jobs.worker import work
from config import Config, ConfigError, load

log = structlog.get_logger()

# Fewer than the 15 connections of the pool, so that no thread waits for one.
THREADS = 8
STOP_SECONDS = 5
PAUSE = 1.0
"""Seconds between the end of a process that carries out jobs and the start of the next."""

application: Flask


def __getattr__(name: str) -> Any:
    # Made when first asked for, so that importing this module starts nothing; `flask --app run`
    # and other WSGI servers find it here.
    if name == "application":
        globals()[name] = create_app(settings())
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    config = settings()
    require_free_address(config)
    prepare(create_app(config))
    serve(config)


def settings() -> Config:
    """Return the settings, or end the process with all that is wrong with them."""
    try:
        return load()
    except ConfigError as error:
        sys.exit(str(error))


def require_free_address(config: Config) -> None:
    """End the process if somebody else serves there.

    Granian's workers share their port (SO_REUSEPORT), and so they would with a server that
    somebody forgot to stop: each would answer some of the requests.
    """
    family = socket.AF_INET6 if ":" in config.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        # Connections of a server that has just been stopped are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.HOST, config.PORT))
        except OSError as error:
            reason = (
                "another program serves there" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            )
            sys.exit(f"Cannot serve on {address(config)}: {reason} (HOST, PORT).")


def address(config: Config) -> str:
    """Return the URL that the platform is served at."""
    host = f"[{config.HOST}]" if ":" in config.HOST else config.HOST
    return f"http://{host}:{config.PORT}"


def prepare(app: Flask) -> None:
    """See to the schema and the first admin, once, before there are workers."""
    with app.app_context():
        engine: Engine = app.extensions["sqlalchemy"].engine
        if engine.dialect.name == "sqlite":
            flask_migrate.upgrade(directory=MIGRATIONS)
        elif problem := schema_problem(engine):
            sys.exit(problem)
        prepare_database(app)
        # This process only watches the workers from here on: it needs no connection.
        engine.dispose()


def serve(config: Config) -> None:
    """Run the workers; requests in progress have STOP_SECONDS to finish when it stops."""
    count_together(config)
    # A forked worker would inherit the connections, locks and threads of this process.
    multiprocessing.set_start_method("spawn")
    server = Granian(
        "run:application",
        address=config.HOST,
        port=config.PORT,
        interface=Interfaces.WSGI,
        workers=config.WORKERS,
        blocking_threads=THREADS,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        # Its warnings take eight threads on two cores for a mistake; ours mostly wait for I/O.
        log_level=LogLevels.error,
        log_access=False,
    )
    server.on_startup(lambda: print(f"Serving on {address(config)}", flush=True))
    with job_workers(config.JOB_WORKERS):
        server.serve(target_loader=start_worker, wrap_loader=False)


@contextmanager
def job_workers(count: int) -> Iterator[None]:
    """Have so many processes that carry out jobs, for as long as the block lasts."""
    stopping = threading.Event()
    keepers = [threading.Thread(target=keep_job_worker, args=(stopping,)) for _ in range(count)]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stopping.set()
        for keeper in keepers:
            keeper.join()


def keep_job_worker(stopping: threading.Event) -> None:
    """Have a process that carries out jobs, and another one whenever it ends, until `stopping`."""
    while not stopping.is_set():
        process = multiprocessing.Process(target=start_job_worker, name="job-worker", daemon=True)
        process.start()
        while process.is_alive() and not stopping.wait(PAUSE):
            pass
        if process.is_alive():
            process.terminate()
            process.join(GRACE + STOP_SECONDS)
            process.kill()
        else:
            log.warning("job_worker_ended", exit_code=process.exitcode)


def count_together(config: Config) -> None:
    """Have the workers write their metrics where each of them can add them up."""
    if config.WORKERS > 1 and metrics.DIRECTORY not in os.environ:
        directory = tempfile.TemporaryDirectory(prefix="itam-metrics-")
        os.environ[metrics.DIRECTORY] = directory.name
        atexit.register(directory.cleanup)


def start_worker() -> Flask:
    """Return the application for a worker that does not outlive the process that watches it."""
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    app = create_app(settings())
    settle()
    # Only a server carries out jobs: neither a command nor a test that imports the application does. Where there is
    # Redis to wake others, a long import is not to share a process with requests.
    if not app.config["REDIS_URL"]:
        runner.start()
    return app


def start_job_worker() -> None:
    """Carry out jobs in this process, for as long as the one that watches it lives."""
    # A terminal interrupts all processes: the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    work(create_app(settings()))


def end_with_parent() -> None:
    # Else workers whose parent was killed would serve on, beside those of the next start.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


if __name__ == "__main__":
    main()
