"""Sends generated requests to a server, checks what it answers, and counts it."""

import http.client
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import orjson

from tests.client import CANARIES, PASSWORD, check_envelope
from tests.fuzz.known import Known
from tests.fuzz.requests import Request
from tests.openapi import JSON, Document
from tests.server import Server
from tests.threads import TIMEOUT_SECONDS

SIGNED_IN = ("admin", "user")
FAULTS_SHOWN = 30
PROGRESS_REQUESTS = 5000

SignInAs = Callable[[str], str]
"""Makes a user of a role, and returns an access token."""


class Answer(NamedTuple):
    status: int
    mimetype: str
    headers: tuple[str, ...]
    """Their names."""
    body: bytes


def send(
    server: Server, method: str, target: str, token: str | None, headers: Mapping[str, bytes], body: bytes
) -> Answer:
    """The answer to one request, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
    own = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request(method, target, body or None, {"Connection": "close", **headers, **own})
        response = connection.getresponse()
        mimetype = response.headers.get_content_type() if "Content-Type" in response.headers else ""
        return Answer(response.status, mimetype, tuple(response.headers), response.read())
    finally:
        connection.close()


class Run:
    """The counts of a run, and its faults: the first request for each kind of them."""

    def __init__(self, server: Server, document: Document, sign_in: SignInAs) -> None:
        self.document = document
        self.known = Known(document)
        self.sign_in = sign_in
        self.server = server
        self.tokens = {role: sign_in(role) for role in SIGNED_IN}
        self.statuses: Counter[int] = Counter()
        self.successes: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self.fault_count = 0

    def try_all(self, requests: Iterable[Request]) -> None:
        for number, request in enumerate(requests, start=1):
            self.try_one(request)
            if number % PROGRESS_REQUESTS == 0:
                sys.stdout.write(f"{number} requests, {self.fault_count} faults of {len(self.faults)} kinds\n")

    def try_one(self, request: Request) -> None:
        token = self.tokens.get(request.caller)
        try:
            answer = self._send(request, token)
            self.statuses[answer.status] += 1
            if answer.status < 300:
                self.successes[f"{request.operation.method.upper()} {request.operation.path}"] += 1
                self.known.learn(request.operation, request.target, answer.body)
            self._check(request, answer)
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self._note(request, f"{type(error).__name__}: {error}")
            return
        # Logging out, changing the own password or role, deactivating, deleting: another one takes over.
        if token is not None and (answer.status in (401, 403) or request.operation.method != "get"):
            self._replace_if_signed_out(request.caller)

    def _send(self, request: Request, token: str | None) -> Answer:
        method = request.operation.method.upper()
        return send(self.server, method, request.target, token, request.headers, request.body)

    def _replace_if_signed_out(self, role: str) -> None:
        answer = send(self.server, "GET", "/api/auth/me", self.tokens[role], {}, b"")
        user = orjson.loads(answer.body)["data"]
        if answer.status != 200 or user["role"] != role:
            self.replaced[role] += 1
            self.tokens[role] = self.sign_in(role)
        elif role == "user":
            self.known.username = user["username"]

    def _check(self, request: Request, answer: Answer) -> None:
        shown = answer.body[:1000].decode(errors="replace")
        assert answer.status < 500, f"{answer.status} {shown}"
        access = self.document.operations[request.operation]["x-access"]
        if answer.status < 400:
            assert request.caller in ("admin", access) or access == "public", f"{request.caller} got {answer.status}"
        # Hypothesis takes texts from the sources of the application, and errors repeat what was sent.
        sent = unquote_to_bytes(request.target) + request.body
        for canary in CANARIES:
            is_secret = canary == PASSWORD or canary.encode() not in sent
            assert not is_secret or canary.encode() not in answer.body, f"{canary!r} is in the answer {shown}"
        body = None
        if answer.mimetype == JSON:
            body = orjson.loads(answer.body)
            if not self.document.is_any_file(request.operation, answer.status):
                check_envelope(body, answer.status)
        in_part = "fields" in request.parameters
        self.document.check_answer(
            request.operation, answer.status, answer.mimetype, body, headers=answer.headers, in_part=in_part
        )

    def _note(self, request: Request, error: str) -> None:
        self.fault_count += 1
        kind = f"{request.operation.method} {request.operation.path} {error[:60]}"
        if kind not in self.faults:
            self.faults[kind] = f"{request}\n    {error[:1500]}"
            # At once: a run of hours may be stopped at its first fault.
            sys.stdout.write(f"{self.faults[kind]}\n")

    def lines(self) -> Iterator[str]:
        """The report: answers by status, operations that never succeeded, callers who were replaced, faults."""
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        yield f"{self.statuses.total()} answers ({counts})"
        replaced = ", ".join(f"{role} {self.replaced[role]} times" for role in SIGNED_IN)
        yield f"Signed out, demoted, deactivated or deleted by the requests, and replaced: {replaced}"
        names = {f"{operation.method.upper()} {operation.path}" for operation in self.document.operations}
        never = sorted(names - set(self.successes))
        yield f"{len(names) - len(never)} of {len(names)} operations succeeded at least once; never: {', '.join(never)}"
        yield f"{self.fault_count} faults of {len(self.faults)} kinds"
        yield from list(self.faults.values())[:FAULTS_SHOWN]
