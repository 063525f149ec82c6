"""Descriptions by an AI provider: written where nobody has written any, whatever the provider does."""

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.assets import provider
from app.assets.models import Asset, AssetImage
from app.core.db.unit_of_work import db
from app.core.jobs import queue, runner
from tests.client import Body, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.assets.conftest import form, upload
from tests.http_servers import Behaviour, Server, drips, floods, hangs, response, says
from tests.pictures import SECRET, opened, picture, told
from tests.threads import PATIENCE, eventually

TEXT = "A laptop with a cracked lid."


def completion(text: Any, **answer: str) -> bytes:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    return response(json.dumps(body).encode(), Content_Type="application/json", **answer)


class Desk:
    """A user whose platform asks a provider that behaves so, and an asset of theirs."""

    def __init__(self, app: Flask, client: Client, make: Make, **fields: Any) -> None:
        self.app = app
        self.user = Client(app, client.document, client.token, client.user)
        self.asset = make(Asset, created_by_id=client.user.id, **fields)

    def upload(self) -> Body:
        return upload(self.user, self.asset, picture(exif=told()))

    def change(self, **fields: Any) -> None:
        self.user.call("PATCH", f"/api/assets/{self.asset.id}", json=fields)

    def now(self) -> Body:
        body: Body = self.user.call("GET", f"/api/assets/{self.asset.id}")["data"]
        return body


@pytest.fixture
def at_desk(build_app: BuildApp, user: Client, make: Make, directory: Path) -> Callable[..., Desk]:
    def at_desk(port: int, path: str = "/v1", *, key: str | None = "key-1", **fields: Any) -> Desk:
        url = f"http://127.0.0.1:{port}{path}"
        return Desk(build_app(AI_BASE_URL=url, AI_MODEL="seer", AI_API_KEY=key), user, make, **fields)

    return at_desk


def test_a_picture_is_described_after_the_upload(at_desk: Callable[..., Desk], admin: Client) -> None:
    server = Server(says(completion(f"  {TEXT}\n")))
    with server.listening() as port:
        desk = at_desk(port)
        shown = desk.upload()
        assert (shown["description"], shown["description_status"]) == (None, "pending")
        assert not server.met.is_set()
        assert runner.runner.run_pending() == 1
    now = desk.now()
    assert (now["description"], now["description_status"], now["description_problem"]) == (TEXT, "described", None)
    query = {"resource_type": "assets", "resource_id": desk.asset.id, "sort": "id"}
    *_, record = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert record["changes"] == {
        "description": {"old": None, "new": TEXT},
        "description_status": {"old": "pending", "new": "described"},
    }
    assert (record["user_id"], record["reason"]) == (desk.user.user.id, "The model seer was asked.")


def test_what_the_provider_is_sent(at_desk: Callable[..., Desk]) -> None:
    server = Server(says(completion(TEXT)))
    with server.listening() as port:
        desk = at_desk(port)
        upload(desk.user, desk.asset, picture("PNG", (3000, 1500), exif=told()))
        runner.runner.run_pending()
    (request,) = server.received
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["Authorization"] == "Bearer key-1"
    body = orjson.loads(request.body)
    assert body["model"] == "seer"
    text, image = body["messages"][0]["content"]
    assert "inventory" in text["text"]
    kind, _, encoded = image["image_url"]["url"].partition(";base64,")
    sent = base64.b64decode(encoded)
    assert (kind, opened(sent).format, opened(sent).size) == ("data:image/jpeg", "JPEG", (512, 1024))
    assert SECRET.encode() not in sent


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
    ],
)
def test_a_base_url_may_have_a_path(at_desk: Callable[..., Desk], path: str, asked: str) -> None:
    server = Server(says(completion(TEXT)))
    with server.listening() as port:
        at_desk(port, path, key=None).upload()
        runner.runner.run_pending()
    assert server.received[0].target == asked
    assert server.received[0].headers["Authorization"] is None


def garbled(text: str) -> Behaviour:
    return says(response(text.encode(), Content_Type="application/json"))


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (hangs, "within 0.5 seconds"),
        (drips(completion(TEXT)), "within 0.5 seconds"),
        (floods, "more than 1048576 bytes"),
        (says(completion("x" * 1_100_000)), "more than 1048576 bytes"),
        (says(b""), "no complete answer in HTTP"),
        (says(b"\x00\x01garbage"), "no complete answer in HTTP"),
        (says(response(status="500 Oops")), "answered 500"),
        (says(completion(TEXT, status="401 Unauthorized")), "answered 401"),
        (says(response(status="307 Moved", Location="http://127.0.0.1:1/")), "answered 307"),
        (garbled(""), "no description"),
        (garbled("<html>"), "no description"),
        (garbled("[" * 200_000), "no description"),
        (garbled("{}"), "no description"),
        (garbled('{"choices": []}'), "no description"),
        (garbled('{"choices": [null]}'), "no description"),
        (garbled('{"choices": {"0": 1}}'), "no description"),
        (garbled('{"choices": [{"message": {"content": "\\ud800"}}]}'), "no description"),
        (says(completion(None)), "no description"),
        (says(completion({"a": 1})), "no description"),
        (says(completion(" \x00\x1b \n")), "empty description"),
    ],
)
def test_a_provider_that_fails_fails_no_upload(
    at_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, behave: Behaviour, problem: str
) -> None:
    monkeypatch.setattr(provider, "SECONDS", 0.5 if "0.5" in problem else PATIENCE)
    with Server(behave).listening() as port:
        desk = at_desk(port)
        url = desk.upload()["image_url"]
        assert runner.runner.run_pending() == 1
    now = desk.now()
    assert (now["description"], now["description_status"]) == (None, "failed")
    assert problem in now["description_problem"]
    assert now["description_problem"].isprintable()
    desk.user.send("GET", url)
    assert runner.runner.run_pending() == 0


def test_control_characters_are_not_stored_and_too_much_is_cut(at_desk: Callable[..., Desk]) -> None:
    with Server(says(completion("A\x00 \x1b[31mred\x9b\u202e box.\nTwo\r\n" + "x" * 5000))).listening() as port:
        desk = at_desk(port)
        desk.upload()
        runner.runner.run_pending()
    description = desk.now()["description"]
    assert description.startswith("A   [31mred   box.\nTwo \nxxx")
    assert len(description) == provider.MAX_DESCRIPTION


def test_what_a_person_has_written_stays_and_nobody_is_asked(at_desk: Callable[..., Desk]) -> None:
    server = Server(says(completion(TEXT)))
    with server.listening() as port:
        desk = at_desk(port, description="Mine.")
        assert desk.upload()["description_status"] == "kept"
        assert runner.runner.run_pending() == 0
    assert desk.now()["description"] == "Mine."
    assert not server.met.is_set()


def test_what_a_person_writes_meanwhile_stays(at_desk: Callable[..., Desk]) -> None:
    """While the provider is at it, nothing is locked either."""

    def answer_late(server: Server, connection: socket.socket) -> None:
        desk.change(description="Written meanwhile.")
        connection.sendall(completion(TEXT))

    with Server(answer_late).listening() as port:
        desk = at_desk(port)
        desk.upload()
        runner.runner.run_pending()
    now = desk.now()
    assert (now["description"], now["description_status"]) == ("Written meanwhile.", "kept")


def test_another_picture_has_another_description_unless_somebody_touched_it(at_desk: Callable[..., Desk]) -> None:
    texts = iter(["First.", "Second.", "Third."])
    with Server(lambda _, connection: connection.sendall(completion(next(texts)))).listening() as port:
        desk = at_desk(port)
        for expected in ("First.", "Second."):
            desk.upload()
            runner.runner.run_pending()
            assert desk.now()["description"] == expected
        desk.change(description="Second, corrected.")
        desk.upload()
        runner.runner.run_pending()
    now = desk.now()
    assert (now["description"], now["description_status"]) == ("Second, corrected.", "kept")


def test_the_answer_about_a_picture_that_was_replaced_or_taken_away_is_dropped(at_desk: Callable[..., Desk]) -> None:
    def take_away(server: Server, connection: socket.socket) -> None:
        desk.user.call("DELETE", f"/api/assets/{desk.asset.id}/image")
        connection.sendall(completion(TEXT))

    server = Server(take_away)
    with server.listening() as port:
        desk = at_desk(port)
        desk.upload()
        desk.upload()
        assert runner.runner.run_pending() == 2
    assert len(server.received) == 1, "The first was no longer there to be described."
    now = desk.now()
    assert (now["description"], now["description_status"], now["image_url"]) == (None, None, None)


def test_a_picture_that_is_gone_is_said(at_desk: Callable[..., Desk], directory: Path) -> None:
    with Server(hangs).listening() as port:
        desk = at_desk(port)
        desk.upload()
        for path in directory.iterdir():
            path.unlink()
        runner.runner.run_pending()
    now = desk.now()
    assert (now["description_status"], now["description_problem"]) == ("failed", "The picture is gone.")


def test_a_job_that_is_given_up_is_said(at_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise RuntimeError

    monkeypatch.setattr(provider, "describe", fail)
    with Server(hangs).listening() as port:
        desk = at_desk(port)
        desk.upload()
        runner.runner.run_pending()
    now = desk.now()
    assert now["description_status"] == "failed"
    assert "mistake" in now["description_problem"]


def test_a_provider_that_hangs_delays_neither_uploads_nor_other_jobs(
    at_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    monkeypatch.setitem(runner.runner._lanes["work"].kinds, "probe", (done.append, lambda *_: None))
    server = Server(hangs)
    with server.listening() as port:
        desk = at_desk(port)
        runner.runner.start()
        try:
            desk.upload()
            assert server.met.wait(PATIENCE)
            desk.upload()
            with desk.app.app_context():
                queue.enqueue("probe", 7)
                db.session.commit()
            eventually(lambda: done == [7])
            assert not server.released.is_set()
        finally:
            server.released.set()
            runner.runner.stop()


def test_without_a_provider_nothing_is_described(app: Flask, user: Client, make: Make, directory: Path) -> None:
    asset = make(Asset, created_by_id=user.user.id)
    assert upload(user, asset, picture())["description_status"] is None
    answer = user.call("POST", "/api/assets/describe", expect=409, **form(picture()))
    assert answer["data"]["reason"] == "descriptions_off"
    assert runner.runner.run_pending() == 0


def test_a_picture_that_is_not_kept_is_described_at_once(at_desk: Callable[..., Desk], directory: Path) -> None:
    with Server(says(completion(TEXT))).listening() as port:
        desk = at_desk(port)
        answer = desk.user.call("POST", "/api/assets/describe", **form(picture()))
        bad = desk.user.call("POST", "/api/assets/describe", expect=422, **form(b"no picture"))
    assert answer["data"] == {"description": TEXT, "model": "seer"}
    assert bad["data"]["reason"] == "not_a_picture"
    assert list(directory.iterdir()) == []
    with desk.app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AssetImage)) == 0


def test_a_provider_that_fails_is_told_to_whoever_waits(
    at_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.setattr(provider, "SECONDS", 0.4)
    with Server(hangs).listening() as port:
        desk = at_desk(port)
        failed = desk.user.send("POST", "/api/assets/describe", expect=503, **form(picture()))
    assert b"within 0.4 seconds" in failed.data
    assert failed.headers["Retry-After"]


def test_only_the_provider_s_own_host_is_admitted(at_desk: Callable[..., Desk]) -> None:
    """That the operator runs a model on this machine opens it to no health check."""
    with Server(says(completion(TEXT))).listening() as port:
        desk = at_desk(port)
        container = desk.user.call("POST", "/api/containers", json={"name": "c"}, expect=201)["data"]["id"]
        body = {"name": "web", "container_id": container, "health_check": f"http://127.0.0.1:{port}/"}
        service = desk.user.call("POST", "/api/services", json=body, expect=201)["data"]["id"]
        found = desk.user.call("POST", f"/api/services/{service}/check")["data"]
    assert found["status"] == "unknown"
    assert "OUTGOING_ALLOWED" in found["problem"]
