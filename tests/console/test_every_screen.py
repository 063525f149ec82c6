"""Every screen and dialog of the console: axe-core finds nothing, and nothing is wider than the window."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

import config
from app.assets.models import Asset
from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu
from app.servers.models import Server
from app.users.models import User
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_imports import upload, workbook
from tests.factories import Make

pytestmark = on_sqlite

LONG = "a-name-that-somebody-has-imported-from-somewhere-else-and-that-is-longer-than-any-column.example.internal"
SOURCE = config.ROOT / "console/src/screens.ts"
SHAPES: Sequence[tuple[Literal["light", "dark"], int]] = (("light", 1280), ("dark", 400))
DOORS = ("/reset-password", "/forgotten-password", "/register")


@pytest.fixture
def addresses(make: Make, admin: Client, tmp_path: Path) -> dict[str, list[str]]:
    """Of every screen one address or several, with objects that have long names and much in them."""
    place, group = make(Datacenter, name="Frankfurt"), make(Environment, name="bench")
    server = make(Server, name=LONG, datacenter_id=place.id, environment_id=group.id, tags=["one", "two", "three"])
    path = f"/api/servers/{server.id}"
    attributes = {"a rather long key of an attribute": "and a value that does not fit into a narrow column" * 3}
    admin.call("PATCH", path, json={"status": "retired", "attributes": attributes, "memory_gb": 512})
    make(Container, name="trainer", server_id=server.id)
    gpu = make(Gpu, server_id=make(Server, name="gpu-1", datacenter_id=place.id).id, slot=0, model="H100")
    admin.call("POST", f"/api/gpus/{gpu.id}/assign", json={"user_id": admin.user.id, "purpose": LONG})
    asset = make(Asset, name="ThinkPad")
    gone = make(Server, name="gone")
    admin.call("DELETE", f"/api/servers/{gone.id}")
    [deletion] = admin.call("GET", "/api/audit-logs?action=delete")["data"]
    file = tmp_path / f"{LONG}.xlsx"
    file.write_bytes(
        workbook(("Servers", [("Name", "Status", "Team"), ("web-1", "actve", "a"), (LONG, "active", "b")]))
    )
    import_ = upload(admin, file)
    return {
        "/": ["/"],
        "/estate": [f"/estate?open=d{place.id},d{place.id}.e{group.id},s{server.id}&selected=s{server.id}"],
        "/gpu-board": ["/gpu-board", f"/gpu-board?gpu={gpu.id}", "/gpu-board?model=nothing"],
        "/imports": ["/imports"],
        "/imports/:id": [f"/imports/{import_}", f"/imports/{import_}?at=0"],
        "/audit": ["/audit", f"/audit?action=delete&record={deletion['id']}", "/audit?q=nothing"],
        "/people": ["/people", f"/people?person={admin.user.id}", "/people?q=nobody"],
        "/account": ["/account"],
        "/proof": ["/proof"],
        "/:resource": ["/servers?status=retired&sort=-name", "/servers?name=nothing", "/services", "/nothing"],
        "/:resource/new": ["/servers/new", "/containers/new", "/users/new"],
        "/:resource/:id": [
            f"/servers/{server.id}",
            f"/servers/{server.id}?as_of=2020-01-01T00:00:00Z",
            f"/servers/{gone.id}",
            f"/gpus/{gpu.id}",
            f"/assets/{asset.id}",
        ],
    }


def is_shown(page: Page, address: str) -> None:
    """The screen is there, and the requests that fill it are answered."""
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle")


def assert_fits(page: Page, what: str) -> None:
    """Wide and light, and narrow and dark."""
    for scheme, width in SHAPES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (what, scheme)


def test_every_screen(
    open_console: OpenConsole, admin: Client, addresses: dict[str, list[str]], refusals: set[int]
) -> None:
    refusals.add(404)
    patterns = re.findall(r'pattern: "([^"]+)"', SOURCE.read_text(encoding="utf-8"))
    assert sorted(patterns) == sorted(addresses), "A new screen belongs here."
    page = open_console("/", user=admin.user)
    for address in (address for each in addresses.values() for address in each):
        is_shown(page, address)
        assert_fits(page, address)


def test_every_screen_before_the_sign_in(open_console: OpenConsole) -> None:
    assert all(f'"{door}"' in SOURCE.read_text(encoding="utf-8") for door in DOORS)
    page = open_console("/")
    for address in ("/", *DOORS):
        is_shown(page, address)
        assert_fits(page, address)


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def press(*names: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        for name in names:
            button(page, name)

    return act


def menu(number: int) -> Callable[[Page], None]:
    return lambda page: page.locator("details.menu summary").nth(number).click()


def select_all(name: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.get_by_label("Select this page").check()
        button(page, name)

    return act


def find_by_palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("trainer")
    expect(page.get_by_role("option").first).to_contain_text("trainer")


def test_every_dialog_and_menu(
    open_console: OpenConsole, admin: Client, addresses: dict[str, list[str]], make: Make, refusals: set[int]
) -> None:
    # Of an empty form, and of the deletion of servers that others refer to.
    refusals.update({409, 422})
    person = make(User, username="olga")
    server, audit = addresses["/:resource/:id"][0], addresses["/audit"][1]
    shown = {
        "the palette": ("/", find_by_palette),
        "a filter": ("/servers", press("+ Add a filter")),
        "saved views": ("/servers?status=retired", menu(0)),
        "columns": ("/servers", menu(1)),
        "exports": ("/servers", menu(2)),
        "a change of many": ("/servers", select_all("Change…")),
        "a deletion of many": ("/servers", select_all("Delete…")),
        "a deletion": (server, press("Delete…")),
        "an edit of text": (server, press("Edit Name")),
        "an edit of a choice": (server, press("Edit Status")),
        "an edit of a reference": (server, press("Edit Datacenter")),
        "an edit of tags": (server, press("Edit Tags")),
        "an edit of attributes": (server, press("Edit Attributes")),
        "refused fields": ("/servers/new", press("Create")),
        "offers of GPUs": ("/gpu-board", press("Find")),
        "a restore": (audit, press("Restore…")),
        "a deactivation": (f"/people?person={person.id}", press("Deactivate…")),
    }
    page = open_console("/", user=admin.user)
    for what, (address, act) in shown.items():
        is_shown(page, address)
        act(page)
        page.wait_for_load_state("networkidle")
        assert_fits(page, what)
