"""The job workers of a server: processes beside those that answer requests."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from app.core.jobs.runner import GRACE_SECONDS

LOOK_SECONDS = 1.0
"""Between two looks at whether a job worker has ended."""
STOP_SECONDS = 5
"""For a job worker to end, beside those that its jobs have."""

log = structlog.get_logger()


@contextmanager
def job_workers(count: int, work: Callable[[], None]) -> Iterator[None]:
    """Run processes that `work` until the block ends, and replace each one that ends before."""
    stopping = threading.Event()
    # All of them are started before there is another thread, whose locks would stay locked in a forked process.
    processes = [_start(work) for _ in range(count)]
    supervisors = [threading.Thread(target=_supervise, args=(one, work, stopping)) for one in processes]
    for supervisor in supervisors:
        supervisor.start()
    try:
        yield
    finally:
        stopping.set()
        for supervisor in supervisors:
            supervisor.join()


def _start(work: Callable[[], None]) -> multiprocessing.Process:
    process = multiprocessing.Process(target=work, name="job-worker", daemon=True)
    process.start()
    return process


def _supervise(process: multiprocessing.Process, work: Callable[[], None], stopping: threading.Event) -> None:
    while not stopping.wait(LOOK_SECONDS):
        if not process.is_alive():
            log.warning("job_worker_ended", exit_code=process.exitcode)
            process = _start(work)
    process.terminate()
    process.join(GRACE_SECONDS + STOP_SECONDS)
    process.kill()
