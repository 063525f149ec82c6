"""Everything at once: Redis and the database go away and come back, mail and AI servers hang, a worker is killed."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import urllib3
from flask import Flask

import config
from tests.backends import REDIS_URL
from tests.client import PASSWORD
from tests.faults.conftest import OwnServer
from tests.faults.proxy import Proxy, place_of
from tests.features.auth.smtp_servers import HangingServer
from tests.http_servers import Server as AiServer
from tests.http_servers import hangs
from tests.images import encoded_image
from tests.load.run import make_estate
from tests.load.traffic import EXPECTED, Answer, Estate, Traffic
from tests.server import Server, encode_request, send_simultaneously, served
from tests.threads import TIMEOUT_SECONDS, wait_until

REFUSED = 5
"""How many requests meet the database away before it returns."""
NOTICED = 100
"""How many requests are answered while something else is away."""
HEALTHY = 6
"""How many times in turn the platform says that it is healthy: each worker has been asked."""

RECOVERY_SECONDS = 2.0
"""Within this time of the return of what had failed the platform is to be healthy."""
EVERYTHING = ("a worker", "Redis", "the database")
SERIES = (EVERYTHING, *((one,) for one in EVERYTHING))
"""What `make load` has fail in turn. Mail and AI servers hang all the time."""

addresses = (f"198.51.100.{number % 250}" for number in count())


class Fault(NamedTuple):
    """What failed, and when: in seconds since the traffic began."""

    failed: tuple[str, ...]
    began: float
    returned: float
    """When the last of them was back."""
    healthy: float
    """When everything worked again."""

    @property
    def recovery_seconds(self) -> float:
        return self.healthy - self.returned

    @property
    def is_long(self) -> bool:
        return self.recovery_seconds > RECOVERY_SECONDS

    def __str__(self) -> str:
        verdict = f"longer than {RECOVERY_SECONDS:.0f} s" if self.is_long else "in time"
        return (
            f"{', '.join(self.failed)} failed at {self.began:.1f} s and returned at {self.returned:.1f} s; "
            f"healthy {self.recovery_seconds:.2f} s after the return: {verdict}"
        )


@dataclass
class Fragile:
    """A server whose dependencies can fail."""

    server: Server
    estate: Estate
    cluster: OwnServer
    redis: Proxy
    mail: HangingServer
    ai: AiServer

    def strike(self, traffic: Traffic, failing: tuple[str, ...] = EVERYTHING, seconds: float = 0) -> Fault:
        """Have these fail at once, and return when that was noticed and these seconds are over."""
        began = time.monotonic() - traffic.began
        if "Redis" in failing:
            self.redis.cut()
        if "a worker" in failing:
            os.kill(workers(self.server)[0], signal.SIGKILL)
        if "the database" in failing:
            self.cluster.stop()
            wait_until(lambda: refused(traffic, began) >= REFUSED)
        else:
            wait_until(lambda: answered(traffic, began) >= NOTICED)
        time.sleep(max(0.0, traffic.began + began + seconds - time.monotonic()))
        if "the database" in failing:
            self.cluster.start()
        self.redis.mend()
        returned = time.monotonic() - traffic.began
        wait_until(self.is_healthy, 4 * TIMEOUT_SECONDS)
        return Fault(failing, began, returned, time.monotonic() - traffic.began)

    def is_healthy(self) -> bool:
        try:
            answers = [self.server.call("GET", "/api/health/ready") for _ in range(HEALTHY)]
        except OSError:
            # The connection of a worker that was killed.
            return False
        return all(answer.status == 200 and answer.body["data"]["status"] == "ok" for answer in answers)

    def contact_what_hangs(self) -> None:
        """Have mail be sent and a picture be described, and wait until the servers that hang are asked."""
        self.log_in_from_elsewhere()
        self.log_in_from_elsewhere()
        self.upload_image()
        for server in (self.mail, self.ai):
            assert server.contacted.wait(TIMEOUT_SECONDS)

    def log_in_from_elsewhere(self) -> None:
        """Have a mail be sent: the account has not been used from this address before."""
        credentials = {"username": self.estate.accounts[0].username, "password": PASSWORD}
        headers = {"X-Forwarded-For": next(addresses)}
        request = encode_request("POST", "/api/auth/login", None, credentials, headers)
        (answer,) = send_simultaneously([(self.server, request)])
        assert answer.status == 200

    def upload_image(self) -> None:
        """Have the AI provider be asked."""
        credentials = {"username": self.estate.accounts[0].username, "password": PASSWORD}
        token = self.server.call("POST", "/api/auth/login", None, credentials).body["data"]["access_token"]
        asset = self.server.call("POST", "/api/assets", token, {"name": "pictured", "asset_type": "other"}).body["data"]
        body, content_type = urllib3.encode_multipart_formdata({"file": ("a.png", encoded_image(), "image/png")})
        request = b"".join(
            (
                f"POST /api/assets/{asset['id']}/image HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n".encode(),
                f"Authorization: Bearer {token}\r\nContent-Type: {content_type}\r\n".encode(),
                f"Content-Length: {len(body)}\r\n\r\n".encode(),
                body,
            )
        )
        (answer,) = send_simultaneously([(self.server, request)])
        assert answer.status == 200


@contextmanager
def fragile(app: Flask, settings: config.Config, cluster: OwnServer, **environ: str) -> Iterator[Fragile]:
    """Serve an application whose database is in the cluster."""
    estate = make_estate(app)
    redis, mail, ai = Proxy(place_of(REDIS_URL, 6379)), HangingServer(), AiServer(hangs)
    with ExitStack() as stack:
        redis_port = stack.enter_context(redis.listening())
        environ = {
            "WORKERS": "2",
            **environ,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}{REDIS_URL[REDIS_URL.rindex('/') :]}",
            "JOB_WORKERS": "1",
            "TRUSTED_PROXIES": "1",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(stack.enter_context(mail.listening())),
            "AI_BASE_URL": f"http://127.0.0.1:{stack.enter_context(ai.listening())}",
            "AI_MODEL": "model",
            "OUTGOING_ALLOWED": "127.0.0.1",
        }
        server = stack.enter_context(served(settings, **environ))
        # Ends what hangs before the server is stopped.
        stack.callback(mail.released.set)
        stack.callback(ai.released.set)
        yield Fragile(server, estate, cluster, redis, mail, ai)


def workers(server: Server) -> list[int]:
    """The processes that answer for a server."""
    names = Path(f"/proc/{server.pid}/task").glob("*/children")
    children = sorted(int(child) for path in names for child in path.read_text().split())
    sockets = listening_sockets(server.port)
    return [child for child in children if not sockets.isdisjoint(open_files(child))]


def open_files(pid: int) -> Iterator[str]:
    """What the descriptors of a process are."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # It may have been closed since it was listed.
        with suppress(FileNotFoundError):
            yield str(descriptor.readlink())


def listening_sockets(port: int) -> set[str]:
    """The sockets that listen on a port of this machine, as the names of descriptors show them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}


def refused(traffic: Traffic, since: float) -> int:
    return sum(answer.status == 503 and answer.ended_at > since for answer in tuple(traffic.answers))


def answered(traffic: Traffic, since: float) -> int:
    return sum(answer.ended_at > since for answer in tuple(traffic.answers))


def outside_contract(answers: list[Answer], faults: list[Fault]) -> list[str]:
    """The answers that nothing explains.

    Within a fault it may be a 503 or no answer; and a creation that is sent again may find the first one still running.
    """
    wrong = []
    for answer in answers:
        meets_fault = any(
            answer.ended_at > fault.began and answer.ended_at - answer.seconds < fault.healthy for fault in faults
        )
        allowed = EXPECTED[answer.kind] | ({0, 503} if meets_fault else set())
        if answer.kind == "create" and faults:
            allowed = allowed | {409}
        if answer.status not in allowed:
            wrong.append(f"{answer.kind}: {answer.status} after {answer.ended_at:.2f} s")
    return wrong
