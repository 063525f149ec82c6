"""The pictures of the documents, of a sample estate: `pytest tests/console/test_screenshots.py --screenshots`."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import config
from app.core.http.access import Role
from tests.backends import on_sqlite
from tests.client import Client
from tests.conftest import SignIn
from tests.console.conftest import OpenConsole
from tests.console.test_imports import upload, workbook
from tests.threads import wait_until

pytestmark = on_sqlite

MOST_BYTES = 120_000
COLORS = 128
ROWS = (
    ("Name", "Datacenter", "Status", "CPU cores", "Team", "Serail Number"),
    ("web-01", "Shanghai 1", "active", 8, "platform", "SN-1"),
    ("web-02", "Shanghai 1", "actve", 16, "platform", "SN-2"),
    ("web-03", "Frankfurt 2", "running", 32, "research", "SN-3"),
    ("web-04", "Frankfurt 3", "active", "many", "research", "SN-4"),
)


@pytest.fixture
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Save what a page shows, as a small PNG: among the documents with --screenshots, else where it is forgotten."""
    is_wanted = request.config.getoption("--screenshots")
    folder = config.ROOT / "docs/pictures" if is_wanted else tmp_path
    folder.mkdir(exist_ok=True)

    def save(page: Page, name: str) -> None:
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        path = folder / f"{name}.png"
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < MOST_BYTES

    return save


@pytest.fixture
def admin(sign_in: SignIn) -> Client:
    return sign_in(role=Role.ADMIN, username="ada")


@pytest.fixture
def page(open_console: OpenConsole, admin: Client, server: str) -> Page:
    """The console with the sample estate."""
    page = open_console("/imports", user=admin.user)
    answer = page.request.post("/api/demo", headers={"Origin": server})
    assert answer.ok, answer.text()
    path = f"/api/imports/{answer.json()['data']['import_id']}"
    wait_until(lambda: page.request.get(path).json()["data"]["status"] == "applied")
    gpus = page.request.get("/api/gpus?status=available&sort=-id&page_size=11").json()["data"]
    for gpu in gpus:
        assigned = page.request.post(
            f"/api/gpus/{gpu['id']}/assign", data={"user_id": admin.user.id}, headers={"Origin": server}
        )
        assert assigned.ok, assigned.text()
    return page


def test_pictures_of_the_documents(
    page: Page, save: Callable[[Page, str], None], admin: Client, tmp_path: Path
) -> None:
    page.goto("/")
    expect(page.get_by_text("Warranties that end next")).to_be_visible()
    expect(page.get_by_text("Assigned", exact=True).nth(3)).to_be_visible()
    save(page, "home")

    page.goto("/gpu-board")
    expect(page.get_by_role("link", name="gpu-fr-2-04")).to_be_visible()
    expect(page.get_by_text("Utilization in the last 30 days")).to_be_visible()
    save(page, "gpu-board")

    path = tmp_path / "servers.xlsx"
    path.write_bytes(workbook(("Servers", ROWS)))
    page.goto(f"/imports/{upload(admin, path)}")
    expect(page.get_by_text("Rows with errors: 2")).to_be_visible()
    save(page, "import")

    server = page.request.get("/api/servers?sort=name&page_size=1").json()["data"][0]
    origin = {"Origin": page.url.partition("/imports")[0]}
    changed = page.request.patch(f"/api/servers/{server['id']}", data={"status": "retired"}, headers=origin)
    assert changed.ok, changed.text()
    page.goto("/audit?resource_type=servers&field=status&to=retired")
    expect(page.get_by_text(server["name"]).first).to_be_visible()
    save(page, "audit-log")
