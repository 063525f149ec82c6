"""How much script a browser loads, and from where."""

import gzip
from urllib.parse import SplitResult, urlsplit

import pytest
from playwright.sync_api import Page, expect

from app.console.pages import STATIC
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole

FIRST_SCREEN_BYTES = 80 * 1024
ALL_BYTES = 200 * 1024


def gzipped(name: str) -> int:
    """The size of a script in bytes as a proxy sends it."""
    return len(gzip.compress((STATIC / "assets" / name).read_bytes()))


def test_all_scripts_together() -> None:
    sizes = {path.name: gzipped(path.name) for path in (STATIC / "assets").glob("*.js")}
    assert len(sizes) > 10  # a screen is loaded when it is opened
    assert sum(sizes.values()) <= ALL_BYTES, sizes


@on_sqlite
@pytest.mark.parametrize("is_signed_in", [False, True], ids=["sign-in", "home"])
def test_scripts_of_the_first_screen(open_console: OpenConsole, admin: Client, is_signed_in: bool) -> None:
    page = open_console("/api/docs/start.js", user=admin.user if is_signed_in else None)
    requested = requests_of(page)
    page.goto("/")
    expect(page.get_by_role("heading", name="Home" if is_signed_in else "Sign in")).to_be_visible()
    scripts = {url.path.rpartition("/")[2] for url in requested if url.path.endswith(".js")}
    sizes = {name: gzipped(name) for name in scripts}
    assert sizes
    assert sum(sizes.values()) <= FIRST_SCREEN_BYTES, sizes


@on_sqlite
def test_no_screen_asks_another_host(open_console: OpenConsole, admin: Client, server: str) -> None:
    page = open_console("/", user=admin.user)
    requested = requests_of(page)
    navigation = page.get_by_role("navigation")
    expect(navigation.get_by_role("link", name="Servers")).to_be_visible()
    addresses = navigation.get_by_role("link").evaluate_all("(links) => links.map((link) => link.pathname)")
    assert len(addresses) > 10
    for address in [*addresses, "/servers/new", "/account", "/reset-password"]:
        page.goto(address)
        expect(page.get_by_role("main").last).not_to_be_empty()
    assert {f"{url.scheme}://{url.netloc}" for url in requested} == {server}


def requests_of(page: Page) -> list[SplitResult]:
    """The addresses that the page requests from now on."""
    requested: list[SplitResult] = []
    page.on("request", lambda request: requested.append(urlsplit(request.url)))
    return requested
