"""Executes blocks of commands in one shell, as somebody who pastes them one after the other."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.documents.blocks import Block

TIMEOUT_SECONDS = 300
ANNOUNCED = re.compile(r"#.*\b([45]\d\d)\b")
PRINTED = re.compile(r"# prints: (.+)$", re.MULTILINE)

# What differs from a terminal. Requests are noted with their status, because curl succeeds whatever the answer is.
# `make` starts the server, and only says what it would do for targets that run these tests or install packages.
PRELUDE = r"""
set -Eeuo pipefail
trap 'echo "$block: $BASH_COMMAND" >&2' ERR
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
curl() { command curl "$@" --write-out "%{stderr}\n$block %{http_code} %{url}\n" 2>>requests.log && echo; }
sleep() { command sleep 0.1; }
make() {
  local targets=(--old-file=.venv/runtime --old-file=.venv/installed "$@")
  if [ "$1" != run ]; then command make --dry-run "${targets[@]}"; return; fi
  command make "${targets[@]}" >server.log 2>&1 &
  until grep -q '^Serving on' server.log; do kill -0 $!; command sleep 0.1; done
}
nvidia-smi() {
  printf 'index, name, uuid, serial, memory.total [MiB]\n0, NVIDIA H100 80GB HBM3, GPU-5f0c, 1650, 81559 MiB\n'
}
flask() {
  until [ -S flask.socket ]; do command sleep 0.1; done
  local run=(python -IS tests/documents/warm_flask.py run flask.socket "$@")
  # A worker is a process that stop_servers ends.
  if [ "$1" = worker ]; then exec "${run[@]}"; fi
  "${run[@]}"
}
python tests/documents/warm_flask.py serve flask.socket &
warm=$!
stop_servers() { for job in $(jobs -p); do if [ $job != $warm ]; then kill $job; wait $job || true; fi; done; }
"""


def execute(
    blocks: Sequence[Block],
    folder: Path,
    environ: Mapping[str, str],
    replaced: Mapping[str, str],
    before: Mapping[str, str] | None = None,
) -> None:
    """Execute the blocks in a copy of the program; `before` has commands that precede the block with this first line.

    Each command succeeds, each request is answered as the comments announce (`# … 409`), else with a success, and what
    they say that is printed is printed.
    """
    script = [PRELUDE]
    for number, block in enumerate(blocks):
        text = block.text
        for old, new in replaced.items():
            text = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _, new=new: new, text)
        first = block.text.partition("\n")[0]
        preparation = [command for key, command in (before or {}).items() if first.startswith(key)]
        script += [f"block={block.place}", *preparation, f"exec >printed.{number}", text]
    (folder / "script.sh").write_text("\n".join(script), encoding="utf-8")
    (folder / "requests.log").touch()
    status, errors = run(folder, environ)
    requests = (folder / "requests.log").read_text()
    assert status == 0, f"{errors}\n{requests[-1000:]}"

    answers = re.findall(r"^(\S+) (\d{3}) (\S+)$", requests, re.MULTILINE)
    for number, block in enumerate(blocks):
        refused = [answer for answer in answers if answer[0] == block.place and int(answer[1]) >= 400]
        assert [answer[1] for answer in refused] == ANNOUNCED.findall(block.text), refused
        lines = (folder / f"printed.{number}").read_text().splitlines()
        assert [expected for expected in PRINTED.findall(block.text) if expected not in lines] == [], block.place


def run(folder: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run the script, and end everything that it has started."""
    with (folder / "errors.log").open("w+") as errors:
        process = subprocess.Popen(
            ["bash", "script.sh"], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(TIMEOUT_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0)
        return status, errors.read()


def path_with(folder: Path) -> str:
    """PATH in the virtual environment of the copy."""
    return f"{folder / '.venv' / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
