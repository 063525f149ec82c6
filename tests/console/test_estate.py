"""The estate as a tree: by keyboard, with what is open in the address, and with thousands of servers."""

import pytest
from playwright.sync_api import Locator, Page, expect

from app.containers.models import Container
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from app.gpus.models import Gpu
from app.servers.models import Server
from app.services.models import Service
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_live import send
from tests.factories import Make

pytestmark = on_sqlite

MANY = 2_000


@pytest.fixture
def estate(make: Make) -> Server:
    """A server with something of everything on it, beside others; a server without a datacenter."""
    frankfurt, _ = make(Datacenter, name="Frankfurt"), make(Datacenter, name="Shanghai")
    bench = make(Environment, name="bench")
    server = make(
        Server, name="gpu-1", status="maintenance", datacenter_id=frankfurt.id, environment_id=bench.id, rack="R7"
    )
    make(Server, name="web-1", datacenter_id=frankfurt.id)
    make(Server, name="spare")
    container = make(Container, name="trainer", server_id=server.id)
    make(Service, name="api", container_id=container.id)
    make(Gpu, server_id=server.id, slot=0, model="H100")
    return server


def press(page: Page, key: str, expected: str) -> None:
    """Press a key; the row with this text is the active one then."""
    page.keyboard.press(key)
    expect(active(page)).to_contain_text(expected)


def active(page: Page) -> Locator:
    return page.locator("[role=treeitem][aria-selected=true]")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem", name=name)


def walk_to_the_end(page: Page, last: Locator) -> None:
    """Press End until the last row of all pages is there."""
    page.get_by_role("tree").focus()
    while not last.is_visible():
        page.keyboard.press("End")
        page.evaluate("new Promise(requestAnimationFrame)")


def test_the_tree_is_walked_by_keyboard_and_kept_in_the_address(
    open_console: OpenConsole, admin: Client, estate: Server
) -> None:
    page = open_console("/", user=admin.user)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("estate")
    page.get_by_role("option", name="Estate").click()
    expect(row(page, "Frankfurt")).to_contain_text("2 servers")
    expect(row(page, "Without a datacenter")).to_contain_text("1 server")
    page.get_by_role("tree").focus()
    press(page, "End", "Without a datacenter")
    press(page, "Home", "Frankfurt")
    page.keyboard.press("ArrowRight")
    expect(row(page, "bench")).to_have_attribute("aria-level", "2")
    press(page, "b", "bench")
    page.keyboard.press("ArrowRight")
    expect(row(page, "gpu-1")).to_contain_text("Maintenance")
    press(page, "ArrowRight", "gpu-1")
    page.keyboard.press("ArrowRight")
    expect(row(page, "H100, slot 0")).to_contain_text("Available")
    press(page, "ArrowRight", "trainer")
    page.keyboard.press("ArrowRight")
    press(page, "ArrowRight", "api")
    press(page, "h", "H100, slot 0")
    expect(page.get_by_role("region", name="Selected")).to_contain_text("H100")

    page.wait_for_url("**selected=g*")
    page.reload()
    expect(active(page)).to_contain_text("H100, slot 0")
    expect(row(page, "api")).to_have_attribute("aria-level", "5")
    page.get_by_role("tree").focus()
    press(page, "ArrowLeft", "gpu-1")
    page.keyboard.press("ArrowLeft")
    expect(row(page, "H100, slot 0")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="gpu-1")).to_be_visible()
    page.go_back()
    expect(active(page)).to_contain_text("gpu-1")


def test_thousands_of_servers_are_walked_and_found_again(open_console: OpenConsole, admin: Client, make: Make) -> None:
    place = make(Datacenter, name="Frankfurt")
    page = open_console("/datacenters", user=admin.user)
    for begin in range(0, MANY, 1_000):
        items = [{"name": f"node-{number}", "datacenter_id": place.id} for number in range(begin, begin + 1_000)]
        send(page, "POST", "/api/servers/bulk", {"items": items})
    page.goto("/estate")
    row(page, "Frankfurt").locator(".caret").click()
    row(page, "Without an environment").locator(".caret").click()
    expect(row(page, "node-0")).to_have_attribute("aria-setsize", str(MANY))
    walk_to_the_end(page, row(page, f"node-{MANY - 1}"))
    page.keyboard.press("End")
    expect(active(page)).to_contain_text(f"node-{MANY - 1}")
    assert page.get_by_role("treeitem").count() < 60, "Only the rows in sight are in the document."
    key = (active(page).get_attribute("id") or "").rpartition("-")[2]
    page.wait_for_url(f"**selected={key}")
    page.reload()
    expect(active(page)).to_be_in_viewport()
    expect(active(page)).to_contain_text(f"node-{MANY - 1}")


def test_more_environments_and_datacenters_than_the_api_counts_at_once(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    many = 130
    places = [make(Datacenter, name=f"DC {number:03}") for number in range(many)]
    groups = [make(Environment, name=f"team {number:03}") for number in range(many)]
    for number in range(many):
        make(Server, name=f"own {number}", datacenter_id=places[number].id)
        make(Server, name=f"node {number}", datacenter_id=places[-1].id, environment_id=groups[number].id)
    make(Server, name="spare")
    page = open_console(f"/estate?open=d{places[-1].id}", user=admin.user)
    walk_to_the_end(page, row(page, "Without a datacenter"))
    expect(row(page, "Without a datacenter")).to_contain_text("1 server")
    walk_to_the_end(page, row(page, "Without an environment"))
    expect(row(page, "Without an environment")).to_contain_text("1 server")
    expect(row(page, f"team {many - 1:03}")).to_contain_text("1 server")
    # Frequent and rare ones, each once: all datacenters, all environments of one of them, and those without.
    page.get_by_role("tree").focus()
    page.keyboard.press("Home")
    expect(active(page)).to_contain_text("DC 000")
    expect(active(page)).to_contain_text("1 server")
    expect(active(page)).to_have_attribute("aria-setsize", str(many + 1))
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(active(page)).to_have_attribute("aria-setsize", str(many + 1))


def test_the_tree_follows_what_changes(open_console: OpenConsole, admin: Client, estate: Server) -> None:
    place = f"d{estate.datacenter_id}"
    group = f"{place}.e{estate.environment_id}"
    page = open_console(f"/estate?open={place},{group},s{estate.id}", user=admin.user)
    expect(row(page, "gpu-1")).to_contain_text("Maintenance")
    send(page, "PATCH", f"/api/servers/{estate.id}", {"status": "active"})
    values = {"name": "gpu-0", "datacenter_id": estate.datacenter_id, "environment_id": estate.environment_id}
    send(page, "POST", "/api/servers", values)
    send(page, "POST", "/api/gpus", {"server_id": estate.id, "slot": 1, "model": "H100"})
    expect(row(page, "gpu-1")).to_contain_text("Active")
    expect(row(page, "H100, slot 1")).to_be_visible()
    expect(row(page, "bench")).to_contain_text("2 servers")
    expect(row(page, "gpu-0")).to_have_count(0)
    page.get_by_role("button", name="Show more").click()
    expect(row(page, "gpu-0")).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_the_tree_is_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, estate: Server, theme: str, width: int
) -> None:
    address = f"/estate?open=d{estate.datacenter_id},d{estate.datacenter_id}.e{estate.environment_id},s{estate.id}"
    page = open_console(f"{address}&selected=s{estate.id}", user=admin.user, language="zh", theme=theme, width=width)
    expect(row(page, "H100，插槽 0")).to_contain_text("空闲")
    expect(page.get_by_role("region", name="所选对象")).to_contain_text("R7")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
