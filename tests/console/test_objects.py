"""Lists, objects and forms in the console, made from the description of the resources."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.core.http.access import Role
from app.datacenters.models import Datacenter
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.conftest import SignIn
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make

pytestmark = on_sqlite


@pytest.fixture
def fleet(make: Make) -> list[Server]:
    shanghai = make(Datacenter, name="Shanghai")
    states = ("active", "active", "maintenance")
    return [
        make(Server, name=f"web-{number}", status=status, datacenter_id=shanghai.id, memory_gb=64 * number)
        for number, status in enumerate(states, start=1)
    ]


def names(page: Page) -> list[str]:
    return page.locator("tbody tr td:nth-child(2)").all_inner_texts()


def test_a_filter_its_columns_and_the_row_are_in_the_address(
    open_console: OpenConsole, admin: Client, fleet: list[Server]
) -> None:
    page = open_console("/servers", user=admin.user)
    page.get_by_role("button", name="Add a filter").click()
    page.get_by_label("Field").select_option("status")
    page.get_by_label("Value").select_option("active")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="2 in all")).to_be_visible()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("Memory", exact=False).check()
    page.get_by_role("button", name="Name", exact=True).click()
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.get_by_role("columnheader", name="Name", exact=True)).to_have_attribute("aria-sort", "descending")
    # The title turns at once, its rows when they have arrived.
    expect(page.locator("tbody tr").first).to_contain_text("web-2")
    page.get_by_role("heading", name="Servers").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.reload()
    expect(page.get_by_text("128 GB")).to_be_visible()
    assert names(page) == ["web-2", "web-1"]
    expect(page.get_by_role("row").and_(page.locator("[aria-current]"))).to_contain_text("web-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="web-1")).to_be_visible()


def test_pages_are_walked_by_cursor_and_kept_in_the_address(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    for number in range(120):
        make(Datacenter, name=f"site-{number}")
    page = open_console("/datacenters?sort=-name", user=admin.user)
    expect(page.get_by_role("link", name="site-119")).to_be_visible()
    with page.expect_request(lambda request: "/api/datacenters?" in request.url) as asked:
        page.get_by_role("button", name="Next").click()
    assert "cursor=" in asked.value.url
    expect(page.get_by_role("link", name="site-69", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("link", name="site-19", exact=True)).to_be_visible()
    page.reload()
    number = page.get_by_role("spinbutton", name="Page")
    expect(number).to_have_value("3")
    expect(page.get_by_text("of 3")).to_be_visible()
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    assert names(page)[0] == "site-19"
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_role("link", name="site-69", exact=True)).to_be_visible()
    number.fill("3")
    number.press("Enter")
    expect(page.get_by_role("link", name="site-19", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="site-69", exact=True)).to_be_visible()
    page.get_by_role("button", name="Last").click()
    expect(page.get_by_role("link", name="site-19", exact=True)).to_be_visible()
    page.goto("/datacenters?sort=-name&page=7")
    expect(page.get_by_text("There is no page 7.")).to_be_visible()
    page.get_by_role("button", name="Last").click()
    expect(page.get_by_role("link", name="site-19", exact=True)).to_be_visible()
    page.goto("/datacenters?sort=-name&page=2")
    expect(page.get_by_role("link", name="site-69", exact=True)).to_be_visible()
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.get_by_role("link", name="site-0", exact=True)).to_be_visible()


def test_many_are_changed_after_a_preview(open_console: OpenConsole, admin: Client, fleet: list[Server]) -> None:
    page = open_console("/servers?status=active", user=admin.user)
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Field").select_option("owner")
    dialog.get_by_label("New value").fill("storage team")
    page.reload()
    expect(dialog.get_by_label("New value")).to_have_value("storage team")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_role("row").filter(has_text="web-2")).to_contain_text("storage team")
    page.reload()
    expect(dialog.get_by_role("row").filter(has_text="web-2")).to_contain_text("storage team")
    assert admin.call("GET", f"/api/servers/{fleet[0].id}")["data"]["owner"] is None
    dialog.get_by_role("button", name="Change 2").click()
    expect(page.get_by_text("2 objects are changed.")).to_be_visible()
    owners = [admin.call("GET", f"/api/servers/{server.id}")["data"]["owner"] for server in fleet]
    assert owners == ["storage team", "storage team", None]


def test_objects_of_others_are_read_only_and_say_so(
    open_console: OpenConsole, user: Client, make: Make, tmp_path: Path
) -> None:
    other = make(Server, name="web-1")
    make(Server, name="web-2", created_by_id=user.user.id)
    page = open_console("/servers?columns=name,rack", user=user.user)
    expect(page.get_by_label("Select web-2")).to_be_visible()
    expect(page.get_by_label("Select web-1")).to_have_count(0)
    page.get_by_label("Select this page").check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Columns shown: CSV").click()
    download.value.save_as(tmp_path / "servers.csv")
    assert (tmp_path / "servers.csv").read_text(encoding="utf-8-sig").startswith("_id,_version,Name,Rack,_installation")
    page.goto(f"/servers/{other.id}")
    expect(page.get_by_text("Only its creator and administrators change it.")).to_be_visible()
    expect(page.get_by_role("button", name="Edit Name")).to_have_count(0)


def test_all_matches_of_a_keyword_are_changed_beyond_the_page(
    open_console: OpenConsole, admin: Client, make: Make
) -> None:
    for number in range(60):
        make(Server, name=f"web-{number}", status="active")
    other = make(Server, name="db-1", status="active")
    page = open_console("/servers?q=web&sort=name", user=admin.user)
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Select all 60 that match").click()
    page.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Field").select_option("status")
    dialog.get_by_label("New value").select_option("retired")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_role("row").filter(has_text="web-0")).to_contain_text("Active → Retired")
    dialog.get_by_role("button", name="Change 60").click()
    expect(page.get_by_text("60 objects are changed.")).to_be_visible()
    assert admin.call("GET", "/api/servers?status=retired")["pagination"]["total"] == 60
    assert admin.call("GET", f"/api/servers/{other.id}")["data"]["status"] == "active"


def test_an_edit_is_named_by_its_field_and_gives_the_keyboard_back(
    open_console: OpenConsole, admin: Client, fleet: list[Server]
) -> None:
    page = open_console(f"/servers/{fleet[0].id}", user=admin.user)
    pencil = page.get_by_role("button", name="Edit Owner")
    pencil.press("Enter")
    expect(page.get_by_label("Owner", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(pencil).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Owner is saved.")).to_be_visible()
    expect(pencil).to_be_focused()


def test_an_object_that_is_gone_leads_to_its_records(
    open_console: OpenConsole, admin: Client, fleet: list[Server], refusals: set[int]
) -> None:
    refusals.add(404)
    gone = fleet[0]
    admin.call("DELETE", f"/api/servers/{gone.id}")
    page = open_console(f"/servers/{gone.id}", user=admin.user)
    expect(page.get_by_role("alert")).to_contain_text("There is no server")
    page.get_by_role("link", name="What the audit log says of it").click()
    expect(page.get_by_role("row").filter(has_text="web-1").filter(has_text="Deleted")).to_be_visible()
    # A time before it was there says so, and leads back.
    page.goto(f"/servers/{fleet[1].id}?as_of=2020-01-01T00:00:00Z")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Back to now").click()
    expect(page.get_by_role("heading", name="web-2")).to_be_visible()


def test_a_view_is_saved_and_opened_again(open_console: OpenConsole, admin: Client, fleet: list[Server]) -> None:
    page = open_console("/servers?status=maintenance", user=admin.user)
    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Name of the view").fill("In repair")
    page.get_by_role("button", name="Save this view").click()
    expect(page.get_by_role("link", name="In repair")).to_be_visible()
    page.goto("/servers")
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("link", name="In repair").click()
    expect(page.get_by_role("status").filter(has_text="1 in all")).to_be_visible()


def test_two_people_edit_one_server_and_nothing_is_lost(
    open_console: OpenConsole, sign_in: SignIn, fleet: list[Server], refusals: set[int]
) -> None:
    refusals.add(412)
    first, second = sign_in(role=Role.ADMIN), sign_in(role=Role.ADMIN)
    address = f"/servers/{fleet[0].id}"
    mine, theirs = open_console(address, user=first.user), open_console(address, user=second.user)
    expect(mine.get_by_role("button", name="Edit Owner")).to_be_visible()
    for page, field, text in ((theirs, "Rack", "B-12"), (mine, "Owner", "ann")):
        page.get_by_role("button", name=f"Edit {field}", exact=True).click()
        page.locator("dd form input").fill(text)
        page.locator("dd form input").press("Enter")
        expect(page.get_by_text(f"{field} is saved.")).to_be_visible()
    server = first.call("GET", f"/api{address}")["data"]
    assert (server["rack"], server["owner"]) == ("B-12", "ann"), "Different fields: both are kept."

    theirs.reload()
    expect(theirs.get_by_text("B-12", exact=True)).to_be_visible()
    mine.get_by_role("button", name="Edit Description").click()
    theirs.get_by_role("button", name="Edit Description").click()
    for page, text in ((theirs, "moved in May"), (mine, "moved in June")):
        page.locator("dd form textarea").fill(text)
        page.get_by_role("button", name="Save").click()
        if page is theirs:
            expect(page.get_by_text("Description is saved.")).to_be_visible()
    merge = mine.get_by_role("dialog")
    expect(merge).to_contain_text("moved in May")
    merge.get_by_role("radio", name="moved in May").check()
    merge.get_by_role("button", name="Save what is chosen").click()
    expect(merge).to_have_count(0)
    expect(mine.get_by_text("moved in May").first).to_be_visible()
    assert first.call("GET", f"/api{address}")["data"]["description"] == "moved in May"


def test_an_object_is_created_with_its_errors_beside_the_fields_and_kept_over_a_reload(
    open_console: OpenConsole, admin: Client, fleet: list[Server], refusals: set[int]
) -> None:
    refusals.add(422)
    page = open_console("/servers/new", user=admin.user)
    page.get_by_label("Internal IP").fill("10.1.2.300")
    page.get_by_label("Datacenter").fill("shang")
    page.get_by_role("option", name="Shanghai").click()
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_label("Internal IP")).to_have_attribute("aria-invalid", "true")
    # The keyboard goes on from the first field that is wrong.
    expect(page.locator("main [aria-invalid=true]").first).to_be_focused()
    page.reload()
    expect(page.get_by_label("Datacenter")).to_have_value("Shanghai")
    page.get_by_label("Internal IP").fill("10.1.2.3")
    page.get_by_label("Name", exact=False).first.fill("new-1")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name="new-1")).to_be_visible()
    expect(page.get_by_role("link", name="Shanghai").first).to_be_visible()


@pytest.mark.parametrize(
    ("language", "after", "preview", "title"),
    [("en", "New value", "Preview", "Internal IP: "), ("zh", "修改后", "预览", "内网IP：")],
    ids=["en", "zh"],
)
def test_errors_without_an_input_of_their_own_name_fields_by_their_titles(
    open_console: OpenConsole,
    admin: Client,
    fleet: list[Server],
    refusals: set[int],
    language: str,
    after: str,
    preview: str,
    title: str,
) -> None:
    refusals.add(422)
    page = open_console("/servers", user=admin.user, language=language)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Change…" if language == "en" else "修改…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").first.select_option("internal_ip")
    dialog.get_by_label(after).fill("10.1.2.300")
    dialog.get_by_role("button", name=preview).click()
    expect(dialog).to_contain_text(title)
    expect(dialog).not_to_contain_text("internal_ip")


def test_assets_are_shown_at_addresses_that_begin_like_those_of_scripts(
    open_console: OpenConsole, admin: Client
) -> None:
    created = admin.call("POST", "/api/assets", expect=201, json={"name": "a laptop", "asset_type": "laptop"})["data"]
    page = open_console("/assets", user=admin.user)
    expect(page.get_by_role("link", name="a laptop")).to_be_visible()
    page.goto(f"/assets/{created['id']}")
    expect(page.get_by_role("heading", name="a laptop")).to_be_visible()
    page.goto("/assets/new")
    expect(page.get_by_role("button", name="Create", exact=True)).to_be_visible()


def test_an_object_is_deleted_with_what_is_below_it_and_taken_back(
    open_console: OpenConsole, admin: Client, fleet: list[Server], make: Make
) -> None:
    container = admin.call("POST", "/api/containers", expect=201, json={"name": "db", "server_id": fleet[0].id})["data"]
    page = open_console(f"/servers/{fleet[0].id}", user=admin.user)
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Containers: 1")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("web-1 is deleted.")).to_be_visible()
    admin.call("GET", f"/api/containers/{container['id']}", expect=404)
    page.get_by_role("button", name="Undo").click()
    # The page of the object that was deleted may still be there.
    expect(page.get_by_text("web-1 is back.")).to_be_visible()
    expect(page.get_by_role("heading", name="web-1")).to_be_visible()
    admin.call("GET", f"/api/containers/{container['id']}")


def test_the_history_shows_how_it_was_and_undoes_a_change(
    open_console: OpenConsole, admin: Client, fleet: list[Server]
) -> None:
    path = f"/api/servers/{fleet[0].id}"
    admin.call("PATCH", path, json={"rack": "A-1"})
    admin.call("PATCH", path, json={"rack": "A-2"})
    page = open_console(f"/servers/{fleet[0].id}", user=admin.user)
    slider = page.get_by_role("slider", name="As of")
    expect(page.get_by_text("Version 3 of 3")).to_be_visible()
    slider.press("ArrowLeft")
    expect(page.get_by_text("This is how it was on")).to_be_visible()
    expect(page.get_by_role("region", name="Fields").get_by_text("A-1", exact=True)).to_be_visible()
    page.get_by_role("button", name="Back to now").click()
    page.get_by_role("button", name="Undo this change").first.click()
    expect(page.get_by_role("region", name="Fields").get_by_text("A-1", exact=True)).to_be_visible()
    assert admin.call("GET", path)["data"]["rack"] == "A-1"


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_list_object_and_form_are_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, fleet: list[Server], theme: str, width: int
) -> None:
    page = open_console("/servers?status=active", user=admin.user, language="zh", theme=theme, width=width)
    expect(page.get_by_text("共 2 个")).to_be_visible()
    page.get_by_role("button", name="添加筛选").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    page.goto(f"/servers/{fleet[0].id}")
    expect(page.get_by_role("heading", name="历史")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    page.goto("/containers/new")
    expect(page.get_by_role("button", name="创建", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
