"""Descriptions by an AI provider: generated in the background, never over a user's text, whatever the provider does."""

import base64
import json
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from flask import Flask

from app.assets import ai_provider, image_store
from app.assets.description_job import RETRY_DELAYS
from app.assets.models import Asset, AssetImage
from app.core.db.unit_of_work import db
from app.core.jobs import queue
from app.core.jobs.runner import runner_of
from app.core.values import utcnow
from tests.client import Body, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.assets.conftest import form, upload
from tests.http_servers import Behaviour, Server, drips, floods, hangs, response, sends
from tests.images import SECRET, decode, encoded_image, exif_data
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = any_database

TOLERANCE = timedelta(seconds=60)
"""What a slow machine may take between two statements."""

TEXT = "A laptop with a cracked lid."


def completion(text: Any, **answer: str) -> bytes:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    return response(json.dumps(body).encode(), Content_Type="application/json", **answer)


class Scenario:
    """An application with an AI provider, a user of it, and an asset of this user."""

    def __init__(self, app: Flask, client: Client, make: Make, **fields: Any) -> None:
        self.app = app
        self.user = Client(app, client.document, client.token, client.user)
        self.asset = make(Asset, created_by_id=client.user.id, **fields)

    def upload(self) -> Body:
        return upload(self.user, self.asset, encoded_image(exif=exif_data()))

    def change(self, **fields: Any) -> None:
        self.user.call("PATCH", f"/api/assets/{self.asset.id}", json=fields)

    def now(self) -> Body:
        body: Body = self.user.call("GET", f"/api/assets/{self.asset.id}")["data"]
        return body


@pytest.fixture
def scenario_with(build_app: BuildApp, user: Client, make: Make, directory: Path) -> Callable[..., Scenario]:
    def scenario_with(port: int, path: str = "/v1", *, key: str | None = "key-1", **fields: Any) -> Scenario:
        url = f"http://127.0.0.1:{port}{path}"
        return Scenario(build_app(AI_BASE_URL=url, AI_MODEL="seer", AI_API_KEY=key), user, make, **fields)

    return scenario_with


def test_image_is_described_after_the_upload(scenario_with: Callable[..., Scenario], admin: Client) -> None:
    server = Server(sends(completion(f"  {TEXT}\n")))
    with server.listening() as port:
        scenario = scenario_with(port)
        shown = scenario.upload()
        assert (shown["description"], shown["description_status"]) == (None, "pending")
        assert not server.contacted.is_set()
        assert runner_of(scenario.app).run_pending() == 1
    now = scenario.now()
    assert (now["description"], now["description_status"], now["description_problem"]) == (TEXT, "described", None)
    query = {"resource_type": "assets", "resource_id": scenario.asset.id, "sort": "id"}
    *_, record = admin.call("GET", "/api/audit-logs", query_string=query)["data"]
    assert record["changes"] == {
        "description": {"old": None, "new": TEXT},
        "description_status": {"old": "pending", "new": "described"},
    }
    assert (record["user_id"], record["reason"]) == (scenario.user.user.id, "Described by the model seer.")


def test_request_to_the_provider(scenario_with: Callable[..., Scenario]) -> None:
    server = Server(sends(completion(TEXT)))
    with server.listening() as port:
        scenario = scenario_with(port)
        upload(scenario.user, scenario.asset, encoded_image("PNG", (3000, 1500), exif=exif_data()))
        runner_of(scenario.app).run_pending()
    (request,) = server.received
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["Authorization"] == "Bearer key-1"
    body = orjson.loads(request.body)
    assert body["model"] == "seer"
    text, image = body["messages"][0]["content"]
    assert "inventory" in text["text"]
    kind, _, encoded = image["image_url"]["url"].partition(";base64,")
    sent = base64.b64decode(encoded)
    assert (kind, decode(sent).format, decode(sent).size) == ("data:image/jpeg", "JPEG", (512, 1024))
    assert SECRET.encode() not in sent


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
    ],
)
def test_base_url_may_have_a_path(scenario_with: Callable[..., Scenario], path: str, endpoint: str) -> None:
    server = Server(sends(completion(TEXT)))
    with server.listening() as port:
        scenario = scenario_with(port, path, key=None)
        scenario.upload()
        runner_of(scenario.app).run_pending()
    assert server.received[0].target == endpoint
    assert server.received[0].headers["Authorization"] is None


def json_response(text: str) -> Behaviour:
    return sends(response(text.encode(), Content_Type="application/json"))


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (hangs, "within 0.5 seconds"),
        (drips(completion(TEXT)), "within 0.5 seconds"),
        (floods, "more than 1048576 bytes"),
        (sends(completion("x" * 1_100_000)), "more than 1048576 bytes"),
        (sends(b""), "no complete answer in HTTP"),
        (sends(b"\x00\x01garbage"), "no complete answer in HTTP"),
        (sends(response(status="400 Bad Request")), "answered 400"),
        (sends(completion(TEXT, status="401 Unauthorized")), "answered 401"),
        (sends(response(status="307 Moved", Location="http://127.0.0.1:1/")), "answered 307"),
        (json_response(""), "contains no description"),
        (json_response("<html>"), "contains no description"),
        (json_response("[" * 200_000), "contains no description"),
        (json_response("{}"), "contains no description"),
        (json_response('{"choices": []}'), "contains no description"),
        (json_response('{"choices": [null]}'), "contains no description"),
        (json_response('{"choices": {"0": 1}}'), "contains no description"),
        (json_response('{"choices": [{"message": {"content": "\\ud800"}}]}'), "contains no description"),
        (sends(completion(None)), "contains no description"),
        (sends(completion({"a": 1})), "contains no description"),
        (sends(completion(" \x00\x1b \n")), "empty description"),
    ],
)
def test_failing_provider_does_not_fail_the_upload(
    scenario_with: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch, behave: Behaviour, problem: str
) -> None:
    monkeypatch.setattr(ai_provider, "TIMEOUT_SECONDS", 0.5 if "0.5" in problem else TIMEOUT_SECONDS)
    with Server(behave).listening() as port:
        scenario = scenario_with(port)
        url = scenario.upload()["image_url"]
        assert runner_of(scenario.app).run_pending() == 1
    now = scenario.now()
    assert (now["description"], now["description_status"]) == (None, "failed")
    assert problem in now["description_problem"]
    assert now["description_problem"].isprintable()
    scenario.user.send("GET", url)
    assert runner_of(scenario.app).run_pending() == 0


def test_description_is_stripped_of_control_characters_and_truncated(scenario_with: Callable[..., Scenario]) -> None:
    with Server(sends(completion("A\x00 \x1b[31mred\x9b\u202e box.\nTwo\r\n" + "x" * 5000))).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
    description = scenario.now()["description"]
    assert description.startswith("A   [31mred   box.\nTwo \nxxx")
    assert len(description) == ai_provider.MAX_DESCRIPTION_CHARS


def test_description_by_a_user_is_kept_and_none_is_requested(scenario_with: Callable[..., Scenario]) -> None:
    server = Server(sends(completion(TEXT)))
    with server.listening() as port:
        scenario = scenario_with(port, description="Mine.")
        assert scenario.upload()["description_status"] == "kept"
        assert runner_of(scenario.app).run_pending() == 0
    assert scenario.now()["description"] == "Mine."
    assert not server.contacted.is_set()


def test_description_written_meanwhile_is_kept(scenario_with: Callable[..., Scenario]) -> None:
    """Nor is a lock held while the provider answers: the change succeeds."""

    def answer_late(server: Server, connection: socket.socket) -> None:
        scenario.change(description="Written meanwhile.")
        connection.sendall(completion(TEXT))

    with Server(answer_late).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert (now["description"], now["description_status"]) == ("Written meanwhile.", "kept")


def test_new_image_replaces_a_generated_description_unless_it_was_edited(
    scenario_with: Callable[..., Scenario],
) -> None:
    texts = iter(["First.", "Second.", "Third."])
    with Server(lambda _, connection: connection.sendall(completion(next(texts)))).listening() as port:
        scenario = scenario_with(port)
        for expected in ("First.", "Second."):
            scenario.upload()
            runner_of(scenario.app).run_pending()
            assert scenario.now()["description"] == expected
        scenario.change(description="Second, corrected.")
        scenario.upload()
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert (now["description"], now["description_status"]) == ("Second, corrected.", "kept")


def test_description_of_a_replaced_or_removed_image_is_dropped(scenario_with: Callable[..., Scenario]) -> None:
    def take_away(server: Server, connection: socket.socket) -> None:
        scenario.user.call("DELETE", f"/api/assets/{scenario.asset.id}/image")
        connection.sendall(completion(TEXT))

    server = Server(take_away)
    with server.listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        scenario.upload()
        assert runner_of(scenario.app).run_pending() == 2
    assert len(server.received) == 1, "The replaced image was described."
    now = scenario.now()
    assert (now["description"], now["description_status"], now["image_url"]) == (None, None, None)


def test_a_new_image_replaces_the_description_of_a_deleted_one(scenario_with: Callable[..., Scenario]) -> None:
    texts = iter(["First.", "Second."])
    with Server(lambda _, connection: connection.sendall(completion(next(texts)))).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
        scenario.user.call("DELETE", f"/api/assets/{scenario.asset.id}/image")
        assert scenario.now()["description"] == "First."
        with scenario.app.app_context():
            image_store.delete_unneeded()
        assert scenario.upload()["description_status"] == "pending"
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert (now["description"], now["description_status"]) == ("Second.", "described")


def delays_of(scenario: Scenario) -> list[timedelta]:
    """After how long each waiting job begins; they are made due at once."""
    with scenario.app.app_context():
        now = utcnow()
        waiting = db.session.scalars(sa.select(queue.Job).where(queue.Job.state == "queued")).all()
        delays = [job.due_at - now for job in waiting if job.due_at]
        for job in waiting:
            job.due_at = None
        db.session.commit()
    return delays


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        ("429 Too Many Requests", {}, timedelta(seconds=10)),
        ("500 Oops", {}, timedelta(seconds=10)),
        ("503 Unavailable", {"Retry_After": "1"}, timedelta(seconds=10)),
        ("503 Unavailable", {"Retry_After": "90"}, timedelta(seconds=90)),
        ("429 Too Many Requests", {"Retry_After": "soon"}, timedelta(seconds=10)),
        ("429 Too Many Requests", {"Retry_After": "Tue, 01 Jan 2019 00:00:00 GMT"}, timedelta(seconds=10)),
    ],
)
def test_a_busy_provider_is_asked_again(
    scenario_with: Callable[..., Scenario], status: str, header: dict[str, str], expected: timedelta
) -> None:
    answers = iter([response(status=status, **header), completion(TEXT)])
    server = Server(lambda _, connection: connection.sendall(next(answers)))
    with server.listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
        waiting = scenario.now()
        assert (waiting["description_status"], waiting["description_problem"]) == ("pending", None)
        (delay,) = delays_of(scenario)
        assert expected - TOLERANCE < delay <= expected
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert (now["description"], now["description_status"], now["version"]) == (TEXT, "described", 3)


def test_a_provider_that_stays_busy_is_given_up(scenario_with: Callable[..., Scenario]) -> None:
    server = Server(sends(response(status="503 Unavailable")))
    with server.listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        delays = []
        while runner_of(scenario.app).run_pending():
            delays += delays_of(scenario)
    assert len(delays) == len(RETRY_DELAYS)
    assert all(expected - TOLERANCE < delay <= expected for delay, expected in zip(delays, RETRY_DELAYS, strict=True))
    now = scenario.now()
    assert (now["description_status"], now["description_problem"]) == ("failed", "The AI provider answered 503.")


def test_a_provider_that_is_busy_for_days_is_not_waited_for(scenario_with: Callable[..., Scenario]) -> None:
    with Server(sends(response(status="429 Slow Down", Retry_After="999999999"))).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
        failed = scenario.user.send("POST", "/api/assets/describe", expect=503, **form(encoded_image()))
    assert scenario.now()["description_status"] == "failed"
    assert failed.headers["Retry-After"] == "999999999"


def test_an_image_is_described_again_on_request(scenario_with: Callable[..., Scenario]) -> None:
    answers = iter([response(status="400 Oops"), completion("First."), completion("Second."), completion("Third.")])
    server = Server(lambda _, connection: connection.sendall(next(answers)))
    with server.listening() as port:
        scenario = scenario_with(port)
        path = f"/api/assets/{scenario.asset.id}/describe"
        assert scenario.user.call("POST", path, expect=404)["data"]["reason"] == "no_picture"
        scenario.upload()
        runner_of(scenario.app).run_pending()
        assert scenario.now()["description_status"] == "failed"
        for expected in ("First.", "Second."):
            again = scenario.user.call("POST", path, expect=202)["data"]
            assert (again["description_status"], again["description_problem"]) == ("pending", None)
            scenario.user.call("POST", path, expect=202)
            assert runner_of(scenario.app).run_pending() == 1
            assert scenario.now()["description"] == expected
        scenario.change(description="Mine.")
        assert scenario.user.call("POST", path, expect=409)["data"]["reason"] == "written_by_hand"
        scenario.user.call("POST", f"{path}?replace=true", expect=202)
        runner_of(scenario.app).run_pending()
        assert scenario.now()["description"] == "Third."


def test_missing_file_is_reported(scenario_with: Callable[..., Scenario], directory: Path) -> None:
    with Server(hangs).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        for path in directory.iterdir():
            path.unlink()
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert (now["description_status"], now["description_problem"]) == (
        "failed",
        "The image file is missing. Please upload it again.",
    )


def test_failed_job_is_reported(scenario_with: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise RuntimeError

    monkeypatch.setattr(ai_provider, "describe_image", fail)
    with Server(hangs).listening() as port:
        scenario = scenario_with(port)
        scenario.upload()
        runner_of(scenario.app).run_pending()
    now = scenario.now()
    assert now["description_status"] == "failed"
    assert now["description_problem"] == "An internal error occurred. It has been logged."


def test_hanging_provider_delays_neither_uploads_nor_other_jobs(
    scenario_with: Callable[..., Scenario],
) -> None:
    done: list[int] = []
    server = Server(hangs)
    with server.listening() as port:
        scenario = scenario_with(port)
        runner = runner_of(scenario.app)
        runner.register("probe", done.append, lambda *_: None)
        runner.start()
        try:
            scenario.upload()
            assert server.contacted.wait(TIMEOUT_SECONDS)
            scenario.upload()
            with scenario.app.app_context():
                queue.enqueue("probe", 7)
                db.session.commit()
            wait_until(lambda: done == [7])
            assert not server.released.is_set()
        finally:
            server.released.set()
            runner.stop()


def test_without_a_provider_nothing_is_described(app: Flask, user: Client, make: Make, directory: Path) -> None:
    asset = make(Asset, created_by_id=user.user.id)
    assert upload(user, asset, encoded_image())["description_status"] is None
    answer = user.call("POST", "/api/assets/describe", expect=409, **form(encoded_image()))
    assert answer["data"]["reason"] == "descriptions_off"
    assert runner_of(app).run_pending() == 0


def test_image_can_be_described_without_being_stored(scenario_with: Callable[..., Scenario], directory: Path) -> None:
    with Server(sends(completion(TEXT))).listening() as port:
        scenario = scenario_with(port)
        answer = scenario.user.call("POST", "/api/assets/describe", **form(encoded_image()))
        bad = scenario.user.call("POST", "/api/assets/describe", expect=422, **form(b"not an image"))
    assert answer["data"] == {"description": TEXT, "model": "seer"}
    assert bad["data"]["reason"] == "not_a_picture"
    assert list(directory.iterdir()) == []
    with scenario.app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AssetImage)) == 0


def test_failing_provider_is_reported_to_the_caller(
    scenario_with: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.setattr(ai_provider, "TIMEOUT_SECONDS", 0.4)
    with Server(hangs).listening() as port:
        scenario = scenario_with(port)
        failed = scenario.user.send("POST", "/api/assets/describe", expect=503, **form(encoded_image()))
    assert b"within 0.4 seconds" in failed.data
    assert failed.headers["Retry-After"]


def test_configured_provider_is_admitted_for_descriptions_only(scenario_with: Callable[..., Scenario]) -> None:
    """A model on this machine does not open the machine to health checks."""
    with Server(sends(completion(TEXT))).listening() as port:
        scenario = scenario_with(port)
        container = scenario.user.call("POST", "/api/containers", json={"name": "c"}, expect=201)["data"]["id"]
        body = {"name": "web", "container_id": container, "health_check": f"http://127.0.0.1:{port}/"}
        service = scenario.user.call("POST", "/api/services", json=body, expect=201)["data"]["id"]
        result = scenario.user.call("POST", f"/api/services/{service}/check")["data"]
    assert result["status"] == "unknown"
    assert "OUTGOING_ALLOWED" in result["problem"]
