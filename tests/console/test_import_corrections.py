"""Corrections of imports in the console: encodings, constants, missing objects, conflicts of an undo, cancelling, and a
session that ends in between."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.backends import on_sqlite
from tests.client import PASSWORD, Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_imports import rows_of, servers, tab_to, upload, workbook

pytestmark = on_sqlite

# Without titles that tell a language, the bytes are letters of several encodings.
UNSURE = "Name,Owner\nweb-01,Łódź\nweb-02,Škoda\n".encode("cp1250")
MANY_ROWS = 40_000


def excel(tmp_path: Path, *rows: tuple[object, ...]) -> Path:
    path = tmp_path / "servers.xlsx"
    path.write_bytes(workbook(("Servers", rows)))
    return path


def apply(page: Page, text: str) -> None:
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text(text)).to_be_visible()


def test_the_encoding_of_a_file_is_asked_and_chosen_by_keyboard(
    open_console: OpenConsole, admin: Client, tmp_path: Path
) -> None:
    path = tmp_path / "servers.csv"
    path.write_bytes(UNSURE)
    page = open_console(f"/imports/{upload(admin, path)}", user=admin.user)
    question = page.get_by_role("region", name="Which of these reads right?")
    expect(question).to_be_visible()
    assert_accessible(page)
    right = question.get_by_role("button", name="Łódź").first
    tab_to(page, right)
    page.keyboard.press("Enter")
    expect(page.get_by_text("This creates 2, changes 0 and leaves 0 as they are.")).to_be_visible()
    expect(rows_of(page)).to_contain_text("Łódź")
    # It can be chosen later, too.
    page.get_by_label("Encoding").select_option("cp1252")
    expect(rows_of(page)).not_to_contain_text("Łódź")
    # One that does not fit shows nothing of the plan before, and can be corrected.
    page.get_by_label("Encoding").select_option("utf-8")
    expect(page.get_by_role("alert")).to_contain_text("The text is UTF-8, but some of its bytes are not.")
    expect(page.get_by_text("There is nothing to apply.")).to_be_visible()
    expect(page.get_by_text("No row matches.")).to_be_visible()
    page.get_by_label("Encoding").select_option("cp1250")
    expect(rows_of(page)).to_contain_text("Łódź")
    apply(page, "Created 2, changed 0.")
    assert [server["owner"] for server in servers(page).values()] == ["Łódź", "Škoda"]


def test_one_value_for_all_rows_by_keyboard_alone(open_console: OpenConsole, admin: Client, tmp_path: Path) -> None:
    path = excel(tmp_path, ("Name", "Owner"), ("web-01", "ann"), ("web-02", None))
    page = open_console(f"/imports/{upload(admin, path)}", user=admin.user)
    summary = page.get_by_text("Values for all rows that have none")
    tab_to(page, summary)
    page.keyboard.press("Enter")
    field = page.get_by_role("combobox", name="Field", exact=True)
    for name, value in (("Owner", "storage"), ("Status", "Maint")):
        tab_to(page, field)
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=f"Remove: {name}")).to_be_visible()
        page.get_by_role("heading", name="servers.xlsx").focus()
    expect(page.get_by_text("This creates 2, changes 0 and leaves 0 as they are.")).to_be_visible()
    apply(page, "Created 2, changed 0.")
    assert {name: (one["owner"], one["status"]) for name, one in servers(page).items()} == {
        "web-01": ("ann", "maintenance"),
        "web-02": ("storage", "maintenance"),
    }


def test_a_missing_reference_is_created_or_means_another(
    open_console: OpenConsole, admin: Client, tmp_path: Path
) -> None:
    admin.call("POST", "/api/datacenters", json={"name": "Shanghai"}, expect=201)
    path = excel(tmp_path, ("Name", "Datacenter", "Type"), ("web-01", "SH", "storage"), ("web-02", "Beijing", "vm"))
    page = open_console(f"/imports/{upload(admin, path)}", user=admin.user)
    meaning = page.get_by_label("“SH” means")
    meaning.fill("Shanghai")
    meaning.press("Enter")
    expect(page.get_by_label("“Beijing” means")).to_be_visible()
    # A word that says more than its value is in question, too.
    expect(page.get_by_text("“storage” is read as physical").first).to_be_visible()
    page.get_by_label("“storage” means").select_option("Physical")
    expect(page.get_by_text("“storage” is read as physical")).to_have_count(0)
    missing = page.get_by_label("Create the datacenters that do not exist yet")
    missing.check()
    expect(page.get_by_text("This creates 3, changes 0 and leaves 0 as they are.")).to_be_visible()
    # It is taken back as easily.
    missing.uncheck()
    expect(page.get_by_text("Rows with errors: 1")).to_be_visible()
    missing.check()
    expect(page.get_by_text("This creates 3, changes 0 and leaves 0 as they are.")).to_be_visible()
    apply(page, "Created 3, changed 0.")
    placed = {name: one["datacenter"]["name"] for name, one in servers(page).items()}
    assert placed == {"web-01": "Shanghai", "web-02": "Beijing"}


def test_an_undo_names_what_was_changed_since_then(
    open_console: OpenConsole, admin: Client, tmp_path: Path, refusals: set[int]
) -> None:
    refusals.add(409)
    page = open_console(
        f"/imports/{upload(admin, excel(tmp_path, ('Name', 'Owner'), ('web-01', 'ann'), ('web-02', 'bob')))}",
        user=admin.user,
    )
    apply(page, "Created 2, changed 0.")
    created = servers(page)
    # By the server: the pages that it caches are to be those of after the change.
    path, origin = f"/api/servers/{created['web-02']['id']}", {"Origin": page.url.partition("/imports")[0]}
    assert page.request.patch(path, data={"owner": "carol"}, headers=origin).ok
    page.get_by_role("button", name="Undo…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("In the way:")
    expect(dialog).to_contain_text("Servers, row 3")
    expect(dialog.get_by_role("button", name="Undo")).to_be_disabled()
    assert_accessible(page)
    dialog.get_by_role("button", name="Cancel").click()
    assert {name: one["owner"] for name, one in servers(page).items()} == {"web-01": "ann", "web-02": "carol"}


def test_an_import_is_cancelled_while_it_runs(open_console: OpenConsole, admin: Client, tmp_path: Path) -> None:
    page = open_console("/imports", user=admin.user)
    names = ((f"node-{number}", number % 64 + 1) for number in range(1, MANY_ROWS + 1))
    path = excel(tmp_path, ("Name", "CPU Cores"), *names)
    page.on("filechooser", lambda chooser: chooser.set_files(path))
    page.get_by_role("button", name="Choose a file").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel the import").press("Enter")
    expect(page.get_by_text("cancelled", exact=True).first).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_role("button", name="Apply")).to_have_count(0)
    assert servers(page) == {}


def test_the_session_ends_within_a_correction_and_nothing_is_lost(
    open_console: OpenConsole, admin: Client, tmp_path: Path
) -> None:
    """As in a tab that was asleep until its cookies had expired."""
    path = excel(tmp_path, ("Name", "Datacenter"), ("web-01", "SH"))
    page = open_console(f"/imports/{upload(admin, path)}", user=admin.user)
    meaning = page.get_by_label("“SH” means")
    meaning.wait_for()
    admin.call("POST", "/api/datacenters", json={"name": "Shanghai"}, expect=201)
    page.context.clear_cookies()
    meaning.fill("Shanghai")
    meaning.press("Enter")
    sign_in_again(page)
    expect(page.get_by_text("This creates 1, changes 0 and leaves 0 as they are.")).to_be_visible()
    expect(meaning).to_have_value("Shanghai")
    apply(page, "Created 1, changed 0.")


def test_the_session_ends_within_an_upload_and_a_form(open_console: OpenConsole, admin: Client, tmp_path: Path) -> None:
    page = open_console("/servers/new", user=admin.user)
    page.get_by_label("Name", exact=False).first.fill("new-1")
    page.get_by_label("Description").fill("typed before the tab fell asleep")
    page.context.clear_cookies()
    page.get_by_role("button", name="Create", exact=True).click()
    sign_in_again(page)
    expect(page.get_by_role("heading", name="new-1")).to_be_visible()
    assert servers(page)["new-1"]["description"] == "typed before the tab fell asleep"

    page.goto("/imports")
    page.on("filechooser", lambda chooser: chooser.set_files(excel(tmp_path, ("Name",), ("web-01",))))
    choose = page.get_by_role("button", name="Choose a file")
    choose.wait_for()
    page.context.clear_cookies()
    choose.click()
    sign_in_again(page)
    expect(page.get_by_text("This creates 1, changes 0 and leaves 0 as they are.")).to_be_visible()


def sign_in_again(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your session has ended")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)
