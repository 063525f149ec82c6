"""Commands of `flask` in processes of their own, several in each: to import the application takes longer than most."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.threads import TIMEOUT_SECONDS

PROGRAM = """
import json, sys, run

app = run.create_app(run.settings())
for command in json.loads(sys.argv[1]):
    result = app.test_cli_runner().invoke(args=command)
    print(result.output)
    if result.exit_code:
        sys.exit(f"{command} failed: {result.exception!r}")
"""


def flask(root: Path, environ: Mapping[str, str], *commands: Sequence[str]) -> str:
    """The output of commands of the program in this folder, which succeed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=10 * TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
