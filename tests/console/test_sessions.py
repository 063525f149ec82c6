"""A tab that has slept: sessions that the server holds to be over, and a console that has been replaced meanwhile."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token
from playwright.sync_api import Page, Route, expect

from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import PASSWORD, Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_imports import servers
from tests.factories import Make

pytestmark = on_sqlite

START_PAGE = re.compile(r"127\.0\.0\.1:\d+/$")
NEXT_VERSION = '<script type="module" src="/assets/index-next.js"></script>'
TYPED = "typed before the tab fell asleep"
CREATE = {"itam_access": create_access_token, "itam_refresh": create_refresh_token}


@pytest.fixture
def expire(app: Flask) -> Callable[..., None]:
    """Put tokens whose time is over into cookies of a page; the browser keeps the cookies."""

    def expire(page: Page, *names: str) -> None:
        cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
        for name in names:
            with app.app_context():
                claims = decode_token(cookies[name]["value"])
                same_claims = {claim: claims[claim] for claim in ("sid", "jti") if claim in claims}
                late = timedelta(seconds=-1)
                token = CREATE[name](claims["sub"], expires_delta=late, additional_claims=same_claims)
            page.context.add_cookies([{**cookies[name], "value": token}])  # type: ignore[typeddict-item]

    return expire


def fill_form(page: Page, name: str) -> None:
    page.get_by_label("Name", exact=False).first.fill(name)
    page.get_by_label("Description").fill(TYPED)


def create(page: Page) -> None:
    page.get_by_role("button", name="Create", exact=True).click()


def sign_in_again(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your session has ended")
    assert_accessible(page)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)


def test_an_access_token_that_is_over_is_renewed_in_silence(
    open_console: OpenConsole, admin: Client, expire: Callable[..., None]
) -> None:
    page = open_console("/servers/new", user=admin.user)
    fill_form(page, "new-1")
    expire(page, "itam_access")
    create(page)
    expect(page.get_by_role("heading", name="new-1")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert servers(page)["new-1"]["description"] == TYPED


def test_a_session_whose_both_tokens_are_over_goes_on_after_a_sign_in(
    open_console: OpenConsole, admin: Client, expire: Callable[..., None]
) -> None:
    page = open_console("/servers/new", user=admin.user)
    fill_form(page, "new-1")
    expire(page, "itam_access", "itam_refresh")
    create(page)
    sign_in_again(page)
    expect(page.get_by_role("heading", name="new-1")).to_be_visible()
    assert servers(page)["new-1"]["description"] == TYPED


def test_a_session_that_an_administrator_has_ended_keeps_an_edit(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    server = make(Server, name="db-1")
    page = open_console(f"/servers/{server.id}", user=admin.user)
    page.get_by_role("button", name="Edit Owner").click()
    page.get_by_label("Owner", exact=True).fill("ann")
    admin.call("DELETE", f"/api/users/{admin.user.id}/sessions")
    page.keyboard.press("Enter")
    sign_in_again(page)
    expect(page.get_by_text("Owner is saved.")).to_be_visible()
    assert servers(page)["db-1"]["owner"] == "ann"


def test_a_tab_that_was_discarded_keeps_a_form_for_the_person_who_typed_it(
    open_console: OpenConsole, admin: Client, user: Client
) -> None:
    page = open_console("/servers/new", user=admin.user)
    fill_form(page, "new-1")
    for person, text in ((admin.user, TYPED), (user.user, "")):
        page.context.clear_cookies()
        page.reload()
        page.get_by_label("Username").fill(person.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Description")).to_have_value(text)


@pytest.fixture
def replace_console() -> Callable[[Page], None]:
    """Another version of the console: its page names other scripts, and those of the tab are gone."""

    def replace_console(page: Page) -> None:
        def answer(route: Route) -> None:
            if route.request.resource_type == "fetch":
                route.fulfill(body=NEXT_VERSION)
            else:
                route.continue_()

        page.route(START_PAGE, answer)
        page.route("**/assets/*.js", lambda route: route.fulfill(status=404))

    return replace_console


def test_a_screen_of_an_older_version_says_so_and_is_loaded_again(
    open_console: OpenConsole, admin: Client, replace_console: Callable[[Page], None]
) -> None:
    page = open_console("/servers/new", user=admin.user)
    fill_form(page, "new-1")
    replace_console(page)
    page.get_by_role("navigation").get_by_role("link", name="GPU board").click()
    expect(page.get_by_role("alert")).to_contain_text("There is a new version of the console")
    page.unroute_all()
    page.get_by_role("button", name="Load it again").click()
    expect(page.get_by_role("heading", name="GPU board")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Description")).to_have_value(TYPED)


def test_a_tab_that_wakes_up_offers_the_new_version_and_keeps_the_form(
    open_console: OpenConsole, admin: Client, replace_console: Callable[[Page], None]
) -> None:
    page = open_console("/servers/new", user=admin.user)
    fill_form(page, "new-1")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_label("Description")).to_have_value(TYPED)
    expect(page.get_by_text("There is a new version")).to_have_count(0)
    replace_console(page)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("There is a new version of the console.")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_contain_text("There is a new version of the console")
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.unroute_all()
    page.get_by_role("button", name="Load it", exact=True).click()
    expect(page.get_by_text("There is a new version")).to_have_count(0)
    expect(page.get_by_label("Description")).to_have_value(TYPED)


def test_a_late_answer_of_the_older_version_does_not_take_the_offer_back(
    open_console: OpenConsole, admin: Client
) -> None:
    page = open_console("/servers/new", user=admin.user)
    held: list[Route] = []

    def answer(route: Route) -> None:
        if held:
            route.fulfill(body=NEXT_VERSION)
        else:
            held.append(route)

    page.route(START_PAGE, answer)
    for _ in range(2):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    offer = page.get_by_text("There is a new version of the console.")
    expect(offer).to_be_visible()
    with page.expect_response(START_PAGE) as late:
        held[0].continue_()
    assert NEXT_VERSION not in late.value.text()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(offer).to_be_visible()


def test_a_server_that_is_away_is_no_new_version(open_console: OpenConsole, admin: Client) -> None:
    page = open_console("/servers", user=admin.user)
    expect(page.get_by_role("heading", name="Servers")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("navigation").get_by_role("link", name="Estate").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
