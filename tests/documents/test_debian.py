"""A bare Debian becomes a running service by the pages alone, is backed up, and is upgraded."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import config
from tests.backends import Missing
from tests.conftest import leave_out
from tests.documents.blocks import Block, commands_of
from tests.documents.debian import Debian, DidNotBoot, bare_debian
from tests.threads import wait_until

PAGES = (
    "docs/installing.md",
    "docs/monitoring.md",
    "docs/backup.md",
    "docs/scaling.md",
    "docs/upgrading.md",
    "CONTRIBUTING.md",
)
STANDBY = "docs/scaling.md"
REQUEST_ID = "5f0c-the-request"
WHEELS = "/var/cache/wheels"
CURL = "curl --silent --show-error --fail --insecure --resolve itam.example.com:443:127.0.0.1"
API = "https://itam.example.com/api"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Debian]:
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(bare_debian(tmp_path / "debian"))
        except Missing as missing:
            leave_out(missing)
        # pip asks no index there: the settings that lead to one are those of this machine, and so is its Python.
        wheels = machine.folder / WHEELS[1:]
        pinned = (config.ROOT / "requirements.txt").read_text().splitlines()
        packages = [line.partition(";")[0].strip() for line in pinned if "==" in line]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *packages],
            check=True,
        )  # fmt: skip
        (machine.folder / "etc/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {WHEELS}\n")
        yield machine


def execute(machine: Debian, *blocks: Block) -> str:
    """Execute blocks one after the other, and return what they print."""
    return "".join(
        copy_program(machine, block) if "git archive" in block.text
        else machine.run(block.text.replace("5f0c…", REQUEST_ID))
        for block in blocks
    )  # fmt: skip


def copy_program(machine: Debian, block: Block) -> str:
    """`git archive HEAD | ssh root@itam.example.com COMMANDS`, with the program as it is in this folder."""
    match = re.fullmatch(r"git archive HEAD \| ssh root@itam\.example\.com (.+)\n", block.text)
    assert match is not None, block.text
    # A file with another time and the same content would be an error of `stash create`.
    subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=config.ROOT, check=False)
    changed = subprocess.run(["git", "stash", "create"], cwd=config.ROOT, capture_output=True, text=True, check=True)
    commit = changed.stdout.strip() or "HEAD"
    program = subprocess.run(["git", "archive", commit], cwd=config.ROOT, capture_output=True, check=True)
    (commands,) = shlex.split(match[1])
    return machine.run(commands, program.stdout)


def test_a_bare_debian_becomes_a_running_service(machine: Debian) -> None:
    pages = (commands_of(page, on="debian") for page in PAGES)
    installing, following, backing_up, scaling, upgrading, developing = pages
    (packages,) = [number for number, block in enumerate(installing) if "createuser" in block.text]
    execute(machine, *installing[:packages])
    # Packaged beside a PostgreSQL of this machine, it takes the next port.
    machine.run("sed -i 's/^port = .*/port = 5432/' /etc/postgresql/*/main/postgresql.conf")
    try:
        with machine.booted():
            printed = execute(machine, *installing[packages:])
            assert '"status":' in printed
            wait_until(lambda: call(machine, "", "GET", "/health/ready")["status"] == "ok")
            token = sign_in(machine, printed)
            server = call(machine, token, "POST", "/servers", {"name": "web-1"})
            assert "<title>" in machine.run(f"{CURL} https://itam.example.com/")
            assert "POST" in execute(machine, *following)

            execute(machine, *backing_up)
            assert "Intact" in machine.run(f"runuser -u itam -- sh -c {shlex.quote(job_of_cron(machine))}")
            assert machine.run("ls /var/backups/itam/*/manifest.json")

            start_standby(machine, execute(machine, *scaling).split()[-1])
            execute(machine, *upgrading)
            machine.run(f"{CURL} --retry 30 --retry-delay 2 --retry-all-errors {API}/health/ready")
            assert machine.run("readlink /opt/itam") == "itam-0.2.0\n"
            assert call(machine, token, "GET", f"/servers/{server['id']}")["name"] == "web-1"
            wait_until(lambda: call(machine, token, "GET", "/health/ready")["replica"] == "ok")
            assert machine.run("systemctl --failed --quiet") == ""
            execute(machine, *developing)
    except DidNotBoot as error:
        pytest.skip(f"This machine lets no container boot: {error}")


def start_standby(machine: Debian, password: str) -> None:
    """Execute the commands for the machine of a standby, here as a second cluster; the upgrade begins to use it."""
    machine.run("pg_createcluster --start --port 5433 15 standby")
    names = {"15 main": "15 standby", "15/main": "15/standby", "primary.example.com": "127.0.0.1", "…": password}
    for block in commands_of(STANDBY, on="standby"):
        text = block.text
        for name, other in names.items():
            assert name in text
            text = text.replace(name, other)
        machine.run(text)
    setting = "DATABASE_REPLICA_URL=postgresql:///itam?host=/var/run/postgresql&port=5433"
    machine.run(f"echo {shlex.quote(setting)} >> /opt/itam/.env")


def sign_in(machine: Debian, printed: str) -> str:
    """The token of the first administrator, with the password that the page has printed."""
    match = re.search(r"administrator is (\S+) with the password (\S+)", printed)
    assert match is not None, printed
    return call(machine, "", "POST", "/auth/login", {"username": match[1], "password": match[2]})["access_token"]


def job_of_cron(machine: Debian) -> str:
    """What cron executes as the user itam."""
    (job,) = re.findall(r"^30 2 \* \* \* itam (.+)$", machine.run("cat /etc/cron.d/itam"), re.MULTILINE)
    return job.replace("\\%", "%")


def call(machine: Debian, token: str, method: str, path: str, body: object = None) -> dict[str, Any]:
    """The data of an answer to a request through nginx."""
    data = f"-d {shlex.quote(json.dumps(body))} -H 'Content-Type: application/json'" if body else ""
    bearer = f"-H 'Authorization: Bearer {token}'" if token else ""
    request_id = f"-H 'X-Request-ID: {REQUEST_ID}'"
    answer: dict[str, Any] = json.loads(machine.run(f"{CURL} -X {method} {bearer} {request_id} {data} {API}{path}"))[
        "data"
    ]
    return answer
