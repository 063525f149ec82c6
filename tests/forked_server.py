"""Servers as `tests.server.served` starts them, forked from a process that has imported the platform already.

A server of its own for each test keeps tests apart, but two processes that import the application are most of what a
short test costs: 3.5 seconds of CPU. Forked, both take half a second. What differs from `python run.py` is only that
nothing is imported again; `tests/faults` and others start servers as they are started in production.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import config
from tests.server import Server, environment, free_port


class ForkingProcess:
    """A process that forks a server for each line of JSON: its environment variables."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=config.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fork(self, env: Mapping[str, str]) -> int:
        """Start a server with these environment variables; returns the number of its process."""
        return self._ask(json.dumps(env))

    def stop(self, pid: int) -> None:
        """Stop a server, and return when its processes have ended."""
        os.kill(pid, signal.SIGTERM)
        self._ask(str(pid))

    def close(self) -> None:
        with self._process:
            pass

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forked(process: ForkingProcess, settings: config.Config, **environ: str) -> Iterator[Server]:
    """Serve the platform on the database of these settings until the block ends."""
    port = free_port()
    env = {**environment(settings), "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}", **environ}
    server = Server(port, process.fork(env))
    try:
        server.wait()
        yield server
    finally:
        process.stop(server.pid)


def main() -> None:
    """Fork servers until standard input ends: JSON starts one, the number of its process waits for its end."""
    # Not at the top: only this process needs it. What it imports is frozen, and so shared by the servers.
    import run  # noqa: PLC0415

    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            os.waitpid(request, 0)
            running.remove(request)
            answer(request)
        elif pid := os.fork():
            running.add(pid)
            answer(pid)
        else:
            serve(run, request)
    # The tests were killed.
    for pid in running:
        os.kill(pid, signal.SIGTERM)


def answer(pid: int) -> None:
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()


def serve(run: object, env: Mapping[str, str]) -> None:
    """Be a server, in the process that has just been forked."""
    os.environ.clear()
    os.environ.update(env)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    run.START_METHOD = "fork"  # type: ignore[attr-defined]
    code = 1
    try:
        # The process that prepares the database and the worker are forked with this application.
        app = run.create_app(run.settings())  # type: ignore[attr-defined]
        run.create_app = lambda config: app  # type: ignore[attr-defined]
        run.main()  # type: ignore[attr-defined]
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
