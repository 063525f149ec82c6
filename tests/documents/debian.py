"""A bare Debian in a folder, which boots with a systemd and a network of its own."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.backends import Missing

RELEASE, MIRROR = "bookworm", "http://deb.debian.org/debian"
NEEDED = ("mmdebstrap", "systemd-nspawn", "nsenter")
# What is not needed to run: half of what dpkg would write, and a third of what apt would read.
WITHOUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
SMALLER = (
    *(f"--dpkgopt=path-exclude={path}" for path in WITHOUT),
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
    "--skip=cleanup/apt/lists",
)
STEP_SECONDS = 900
"""The longest that one block may take: it installs packages, on a machine with other work."""
# A container is registered with systemd, which some machines do not run.
UNREGISTERED = [] if Path("/run/systemd/system").exists() else ["--register=no", "--keep-unit"]


class DidNotBoot(Exception):
    """This machine does not let a container boot."""


class Debian:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._systemd = 0
        """The process of its systemd, 0 while it is not booted."""

    def run(self, script: str, stdin: bytes | None = None) -> str:
        """Execute a script as root, and return what it prints.

        :raises AssertionError: one of its commands failed
        """
        shell = ["bash", "-euo", "pipefail", "-c", script]
        if self._systemd:
            command = ["nsenter", "--all", f"--target={self._systemd}", *shell]
        else:
            # With the network of this machine, for packages.
            command = ["systemd-nspawn", "--quiet", "--pipe", f"--directory={self.folder}", *UNREGISTERED, *shell]
        environ = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        ended = subprocess.run(
            command, input=stdin or b"", capture_output=True, timeout=STEP_SECONDS, env=environ, check=False, cwd="/"
        )
        printed = ended.stdout.decode()
        assert ended.returncode == 0, f"{script}\n{printed[-2000:]}\n{ended.stderr.decode()[-4000:]}"
        return printed

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Boot it, with no network but its own loopback.

        :raises DidNotBoot: with what was printed
        """
        with subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--private-network", "--console=pipe", f"--directory={self.folder}",
             *UNREGISTERED], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as container:  # fmt: skip
            try:
                self._systemd = self._wait_for_systemd(container)
                yield
            finally:
                self._systemd = 0
                container.terminate()
                container.communicate()

    def _wait_for_systemd(self, container: subprocess.Popen[bytes]) -> int:
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
        while container.poll() is None:
            for child in map(int, children.read_text().split()):
                ready = subprocess.run(
                    ["nsenter", "--all", f"--target={child}", "systemctl", "is-system-running", "--wait"],
                    capture_output=True, check=False,
                )  # fmt: skip
                if ready.stdout.strip() in {b"running", b"degraded"}:
                    return child
            time.sleep(0.2)
        assert container.stdout is not None
        raise DidNotBoot(container.stdout.read().decode(errors="replace")[-500:])


@contextmanager
def bare_debian(folder: Path) -> Iterator[Debian]:
    """A minimal Debian, with the packages that every installed one has besides: systemd and cron.

    By mmdebstrap, which takes half the processor time of debootstrap.

    :raises Missing: there is no root, or a program is not there
    """
    needed = [name for name in NEEDED if shutil.which(name) is None] + ["root"] * (os.geteuid() != 0)
    if needed:
        raise Missing(f"with a bare Debian: {', '.join(needed)} is not there")
    try:
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=systemd-sysv,dbus,cron",
             *SMALLER, RELEASE, folder, MIRROR],
            check=True, timeout=STEP_SECONDS,
        )  # fmt: skip
        yield Debian(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
