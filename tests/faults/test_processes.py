"""The processes of a server: what they share, and what happens when one is killed."""

import ctypes
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.backends import REDIS_URL, Backend, on_servers
from tests.client import Client
from tests.features.conftest import workbook
from tests.server import Server, served
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = [on_servers, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

WORKERS = 2
ENVIRON = {"WORKERS": str(WORKERS), "JOB_WORKERS": "1", "REDIS_URL": REDIS_URL}


def read(path: Path) -> str:
    """The content of a file of /proc; nothing where its process or thread has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return path.read_text()
    return ""


def children(pid: int) -> set[int]:
    """The workers and the job worker: processes that were forked, or that were started anew in their place."""
    found = {int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in read(task).split()}
    return {one for one in found if lives(one) and "resource_tracker" not in read(Path(f"/proc/{one}/cmdline"))}


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended may stay until its parent asks for it."""
    state = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def processes(server: Server) -> set[int]:
    """All processes under the one that has started them, which starts one after the other."""
    wait_until(lambda: len(children(server.pid)) == WORKERS + 1, seconds=10 * TIMEOUT_SECONDS)
    return children(server.pid)


def connections(pid: int) -> set[str]:
    """The TCP connections that a process has open."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets |= set(re.findall(r"socket:\[(\d+)\]", str(entry.readlink())))
        except FileNotFoundError:
            continue  # It was closed meanwhile.
    fields = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sockets & {one[9] for one in fields if one[3] == "01"}  # 01: established


def answers(server: Server) -> bool:
    try:
        return server.call("GET", "/api/health").status == 200
    except OSError:
        return False


def test_no_process_has_a_connection_of_another(admin: Client, backend: Backend) -> None:
    with served(backend.settings(), **ENVIRON) as server:
        workers = processes(server)

        def all_are_connected() -> bool:
            # Over a connection of its own, which another worker may accept.
            assert server.call("GET", "/api/datacenters", admin.token).status == 200
            return all(map(connections, workers))

        wait_until(all_are_connected, seconds=10 * TIMEOUT_SECONDS)
        by_process = {pid: connections(pid) for pid in workers}
        assert sum(map(len, by_process.values())) == len(set().union(*by_process.values()))
        assert connections(server.pid) == set()


def test_workers_share_the_memory_of_the_modules(admin: Client, backend: Backend) -> None:
    """A process that shared nothing would have 80 MB or more of them for itself."""
    with served(backend.settings(), **ENVIRON) as server:
        for pid in processes(server):
            sizes = dict(re.findall(r"^(\w+): +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
            assert int(sizes["Anonymous"]) - int(sizes["Private_Dirty"]) > 40_000, sizes


def test_metrics_are_those_of_all_workers(admin: Client, backend: Backend) -> None:
    with served(backend.settings(), **ENVIRON) as server:
        url = f"http://127.0.0.1:{server.port}"
        for _ in range(20):
            # Each over a connection of its own, so that both workers answer some.
            assert requests.get(f"{url}/api/no-such-path", timeout=TIMEOUT_SECONDS).status_code == 404
        text = requests.get(f"{url}/metrics", timeout=TIMEOUT_SECONDS).text
    counts = re.findall(r'^itam_http_requests_total\{[^}]*status="404"[^}]*\} (\d+)', text, re.MULTILINE)
    assert list(map(int, counts)) == [20], text


def test_killed_processes_are_replaced(admin: Client, backend: Backend) -> None:
    with served(backend.settings(), **ENVIRON) as server:
        before = processes(server)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: len(children(server.pid) - before) == len(before) and answers(server),
            seconds=10 * TIMEOUT_SECONDS,
        )
        url = f"http://127.0.0.1:{server.port}/api/imports"
        headers = {"Authorization": f"Bearer {admin.token}"}
        files = {"file": ("sites.xlsx", workbook(Datacenters=[("Name",), ("site 1",)]))}
        uploaded = requests.post(url, headers=headers, files=files, timeout=TIMEOUT_SECONDS)
        assert uploaded.status_code == 202, uploaded.text
        path = f"/api/imports/{uploaded.json()['data']['id']}"
        wait_until(
            lambda: server.call("GET", path, admin.token).body["data"]["status"] == "ready",
            seconds=10 * TIMEOUT_SECONDS,
        )


def end_by_other_threads(pids: set[int]) -> bool:
    """Have another thread than the main one receive SIGTERM, as the kernel may choose; whether all have ended."""
    for pid in filter(lives, pids):
        with suppress(FileNotFoundError, ProcessLookupError):
            threads = {int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()} - {pid}
            for thread in sorted(threads)[:1]:
                ctypes.CDLL(None).tgkill(pid, thread, signal.SIGTERM)
    return not any(map(lives, pids))


def test_a_signal_ends_a_process_in_whatever_thread_it_arrives(admin: Client, backend: Backend) -> None:
    with served(backend.settings(), **ENVIRON) as server:
        # Sent again to those that are still starting.
        every = processes(server)
        wait_until(lambda: end_by_other_threads(every), seconds=10 * TIMEOUT_SECONDS, every=2)
        wait_until(lambda: end_by_other_threads({server.pid}), seconds=10 * TIMEOUT_SECONDS, every=2)


def test_all_processes_end_with_a_server_that_is_killed(admin: Client, backend: Backend) -> None:
    with served(backend.settings(), **ENVIRON) as server:
        every = processes(server)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(lives, every)))
