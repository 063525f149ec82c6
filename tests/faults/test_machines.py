"""Two servers and two job workers with folders of their own share a database, Redis and an object store only."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import requests
from flask import Flask

import config
from app.assets.models import Asset
from tests.backends import REDIS_URL, Backend, on_servers
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import workbook
from tests.images import decode, encoded_image
from tests.object_store import ObjectStore
from tests.server import Server, environment, served
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, wait_until

pytestmark = on_servers


@contextmanager
def working(environ: dict[str, str]) -> Iterator[None]:
    """Run `flask worker` until the block ends."""
    command = [sys.executable, "-m", "flask", "worker"]
    with subprocess.Popen(command, cwd=config.ROOT, env=environ, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "Carrying out jobs.\n"
            yield
        finally:
            worker.terminate()
            worker.wait(TIMEOUT_SECONDS)


@any_database
def test_machines_share_no_folder(
    app: Flask, backend: Backend, admin: Client, make: Make, object_store: ObjectStore, tmp_path: Path
) -> None:
    bucket = object_store.new_bucket()
    store = {name: str(value) for name, value in object_store.settings(bucket).items()}
    common = store | {
        "STORAGE_URL": f"s3://{bucket}/images",
        "AUDIT_CHECKPOINTS": f"s3://{bucket}/checkpoints",
        "REDIS_URL": REDIS_URL,
        "WORKERS": "1",
        "JOB_WORKERS": "0",
    }

    def machine(name: str) -> dict[str, str]:
        return common | {"UPLOAD_DIR": str(tmp_path / name)}

    def worker(name: str) -> dict[str, str]:
        return {**environment(backend.settings()), **machine(name), "FLASK_APP": "run"}

    asset = make(Asset, created_by_id=admin.user.id)
    content = workbook(Servers=[("Name", "CPU cores"), ("web-1", 4), ("web-2", "many")])
    with ExitStack() as stack:
        one, other = (stack.enter_context(served(backend.settings(), **machine(name))) for name in ("one", "other"))
        with working(worker("first")):
            shown = send(one, admin, "POST", f"/assets/{asset.id}/image", files={"file": encoded_image()})
            uploaded = send(one, admin, "POST", "/imports", files={"file": ("fleet.xlsx", content)})
            wait_for(other, admin, uploaded["data"]["id"], "invalid")
        with working(worker("second")):
            again = send(other, admin, "POST", "/imports", files={"file": ("fleet.xlsx", content)})
            wait_for(one, admin, again["data"]["id"], "invalid")
            # The seal of one worker is known to all.
            for server in (one, other):
                wait_until(lambda server=server: is_well(server), seconds=TIMEOUT_SECONDS)
        for server, import_ in ((other, uploaded), (one, again)):
            report = requests.get(
                url(server, f"/imports/{import_['data']['id']}/report.xlsx"), headers=headers(admin), timeout=30
            )
            assert report.status_code == 200
            assert openpyxl.load_workbook(BytesIO(report.content)).sheetnames[0] == "Servers"
        image = requests.get(url(other, shown["data"]["image_url"][4:]), headers=headers(admin), timeout=30)
        assert decode(image.content).size == (80, 40)
        verified = send(other, admin, "GET", "/audit-logs/verify")["data"]
        assert verified["status"] == "intact", verified
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = {name.split("/")[0] for name in object_store.names(bucket)}
    assert kinds == {"checkpoints", "images"}


def is_well(server: Server) -> bool:
    state = requests.get(url(server, "/health/ready"), timeout=30).json()["data"]
    return bool((state["status"], state["audit"], state["storage"]) == ("ok", "ok", "ok"))


def wait_for(server: Server, client: Client, import_id: int, status: str) -> None:
    wait_until(
        lambda: send(server, client, "GET", f"/imports/{import_id}")["data"]["status"] == status,
        seconds=TIMEOUT_SECONDS,
    )


def send(server: Server, client: Client, method: str, path: str, **options: Any) -> Any:
    answer = requests.request(method, url(server, path), headers=headers(client), timeout=30, **options)
    assert answer.ok, answer.text
    return answer.json()


def headers(client: Client) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.token}"}


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}/api{path}"
