"""The change feed in the console: what others do appears without moving what a person looks at or types."""

from typing import Any

from playwright.sync_api import Page, expect

from app.core.http.access import Role
from app.gpus.models import Gpu
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.conftest import SignIn
from tests.console.conftest import OpenConsole
from tests.factories import Make

pytestmark = on_sqlite

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def send(page: Page, method: str, path: str, body: Any = None) -> Any:
    """A request of the person of this page through the server, whose cached pages another process would not renew."""
    answer = page.request.fetch(path, method=method, data=body, headers=SAME_ORIGIN)
    assert answer.ok, answer.text()
    return answer.json()["data"]


def names(page: Page) -> list[str]:
    return page.locator("tbody tr td:nth-child(2) a").all_inner_texts()


def test_a_list_changes_in_place_and_new_rows_wait(open_console: OpenConsole, sign_in: SignIn, make: Make) -> None:
    first, second, third = (make(Server, name=f"web-{number}", status="active") for number in (1, 2, 3))
    mine = open_console("/servers?status=active&sort=-name", user=sign_in(role=Role.ADMIN).user)
    theirs = open_console("/servers", user=sign_in(role=Role.ADMIN).user)
    expect(mine.get_by_role("link", name="web-1", exact=True)).to_be_visible()
    mine.get_by_label("Select web-2").check()

    send(theirs, "PATCH", f"/api/servers/{second.id}", {"name": "a-2", "status": "offline"})
    send(theirs, "DELETE", f"/api/servers/{first.id}")
    send(theirs, "POST", "/api/servers", {"name": "web-9", "status": "active"})
    send(theirs, "POST", "/api/servers", {"name": "web-8", "status": "offline"})
    row = mine.get_by_role("row").filter(has_text="a-2")
    expect(row).to_contain_text("Offline")
    expect(mine.get_by_role("row").filter(has_text="web-1")).to_contain_text("deleted")
    arrivals = mine.get_by_role("button", name="1 new")
    expect(arrivals).to_be_visible()
    assert names(mine) == [third.name, "a-2", "web-1"], "Every row is where it was."
    expect(mine.get_by_label("Select a-2")).to_be_checked()

    arrivals.click()
    expect(mine.get_by_role("row").filter(has_text="web-9")).to_contain_text("new")
    assert names(mine) == ["web-9", "web-3"]
    expect(arrivals).to_have_count(0)


def test_an_edit_is_neither_overwritten_nor_overwrites(
    open_console: OpenConsole, sign_in: SignIn, make: Make, refusals: set[int]
) -> None:
    refusals.add(412)
    server = make(Server, name="db-1", owner="ann")
    address = f"/servers/{server.id}"
    mine = open_console(address, user=sign_in(role=Role.ADMIN).user)
    theirs = open_console("/", user=sign_in(role=Role.ADMIN).user)
    mine.get_by_role("button", name="Edit Owner").click()
    mine.locator("dd form input").fill("bob")

    send(theirs, "PATCH", f"/api{address}", {"owner": "eve", "rack": "B-12"})
    expect(mine.get_by_text("Somebody else has set it to eve meanwhile.")).to_be_visible()
    expect(mine.locator("dl").get_by_text("B-12", exact=True)).to_be_visible()
    expect(mine.locator("dd form input")).to_have_value("bob")

    mine.reload()
    expect(mine.locator("dd form input")).to_have_value("bob")
    mine.get_by_role("button", name="Save").click()
    dialog = mine.get_by_role("dialog")
    expect(dialog.get_by_role("row", name="Owner")).to_contain_text("eve")
    dialog.get_by_role("button", name="Save what is chosen").click()
    expect(mine.get_by_text("Owner is saved.").or_(mine.get_by_text("Field is saved."))).to_be_visible()
    stored = send(theirs, "GET", f"/api{address}")
    assert (stored["owner"], stored["rack"]) == ("bob", "B-12")
    mine.reload()
    expect(mine.get_by_role("button", name="Edit Owner")).to_be_visible()


def test_home_and_the_gpu_board_follow(open_console: OpenConsole, sign_in: SignIn, make: Make) -> None:
    gpu = make(Gpu, server_id=make(Server, name="gpu-1").id, slot=0, model="H100")
    home = open_console("/", user=sign_in(role=Role.ADMIN).user)
    board = open_console("/gpu-board", user=sign_in(role=Role.ADMIN).user)
    person = sign_in(role=Role.ADMIN)
    theirs = open_console("/", user=person.user)
    expect(home.get_by_role("main").get_by_role("link", name="Servers 1")).to_be_visible()
    expect(board.get_by_role("button", name="slot 0, H100, available")).to_be_visible()

    server = send(theirs, "POST", "/api/servers", {"name": "gpu-2"})
    send(theirs, "POST", "/api/gpus", {"server_id": server["id"], "slot": 0, "model": "A100"})
    send(theirs, "POST", f"/api/gpus/{gpu.id}/assign", {"user_id": person.user.id})
    expect(home.get_by_role("main").get_by_role("link", name="Servers 2")).to_be_visible()
    expect(board.get_by_role("button", name="slot 0, H100, assigned")).to_be_visible()
    expect(board.get_by_role("link", name="gpu-2")).to_have_count(0)
    board.get_by_role("button", name="1 new").click()
    expect(board.get_by_role("link", name="gpu-2")).to_be_visible()


def test_one_poller_asks_for_what_it_does_not_have_and_rests_while_hidden(
    open_console: OpenConsole, admin: Client
) -> None:
    page = open_console("/servers", user=admin.user)
    page.clock.install()
    # What the screen itself asks for is over before the requests are counted.
    with page.expect_response("**/api/servers?*"), page.expect_response("**/api/views?*"):
        page.reload()
    with page.expect_response(lambda response: is_poll(response.url) and response.status == 304) as answer:
        page.clock.fast_forward(5_000)
    assert answer.value.request.headers["if-none-match"]
    assert "after=" in answer.value.url
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.clock.fast_forward("01:00:00")
    assert asked == []
    with page.expect_response(lambda response: is_poll(response.url)):
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        page.clock.fast_forward(1)


def is_poll(url: str) -> bool:
    return "/api/events" in url


def test_an_object_that_is_deleted_meanwhile_stays_in_sight(
    open_console: OpenConsole, sign_in: SignIn, make: Make
) -> None:
    server = make(Server, name="db-1", owner="ann")
    path = f"/api/servers/{server.id}"
    mine = open_console(f"/servers/{server.id}", user=sign_in(role=Role.ADMIN).user)
    expect(mine.get_by_role("button", name="Delete…")).to_be_visible()
    theirs = open_console("/servers", user=sign_in(role=Role.ADMIN).user)
    send(theirs, "DELETE", path)
    deleted = mine.get_by_text("It has been deleted meanwhile.")
    expect(deleted).to_be_visible()
    expect(mine.get_by_text("ann", exact=True)).to_be_visible()
    expect(mine.get_by_role("button", name="Delete…")).to_have_count(0)
    [record] = theirs.request.get("/api/audit-logs?action=delete").json()["data"]
    send(theirs, "POST", f"/api/audit-logs/{record['id']}/restore")
    expect(mine.get_by_role("button", name="Delete…")).to_be_visible()
    expect(deleted).to_have_count(0)
