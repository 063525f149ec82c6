"""Imports in the console: from the file to what it did and back, by mouse and by keyboard alone."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from playwright.sync_api import Locator, Page, expect

from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_audit import expect_no_sideways_scroll

pytestmark = on_sqlite

MANY_ROWS = 16_000
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ROWS = (
    ("2026年服务器清单",),
    ("名称", "数据中心", "状态", "CPU核数", "负责部门", "Serail Number"),
    ("web-01", "上海", "在用", 8, "平台组", "SN-1"),
    ("web-02", "上海", "actve", 16, "平台组", "SN-2"),
    ("web-03", "上海", "跑着呢", 32, "算法组", "SN-3"),
    ("web-04", "上海", "在用", "很多", "算法组", "SN-4"),
)
"""A title above the titles, a misspelt title, a column that is no field, two statuses that are none, no number, and a
datacenter that does not exist."""


def workbook(*sheets: tuple[str, Any]) -> bytes:
    book = Workbook(write_only=True)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    content = BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    path = tmp_path / "机房.xlsx"
    path.write_bytes(workbook(("服务器", ROWS)))
    return path


def upload(client: Client, path: Path) -> int:
    file = {"file": (BytesIO(path.read_bytes()), path.name)}
    import_id: int = client.call("POST", "/api/imports", data=file, expect=202)["data"]["id"]
    return import_id


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page, as the pointer does."""
    page.evaluate(
        """([content, name, type]) => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name, { type }));
            for (const kind of ["dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name, XLSX],
    )


def rows_of(page: Page) -> Locator:
    return page.get_by_role("table", name="Rows")


def servers(page: Page) -> dict[str, Any]:
    """The servers by name. The server is asked: pages that the test's own process caches would be old ones."""
    listed = page.request.get("/api/servers?sort=name").json()["data"]
    return {server["name"]: server for server in listed}


def column_of(page: Page, title: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_label(f"Understood as: {title}"))


def test_a_workbook_with_mistakes_from_drop_to_undo(
    open_console: OpenConsole, admin: Client, mistakes: Path, tmp_path: Path
) -> None:
    page = open_console("/imports", user=admin.user)
    page.get_by_role("button", name="Choose a file").wait_for()
    drop(page, mistakes)
    page.get_by_role("heading", name="机房.xlsx").wait_for()
    expect(page.get_by_label("Row of the titles")).to_have_value("2")
    rows = rows_of(page)
    # One typo is read as what it means, and said.
    expect(column_of(page, "Serail Number").get_by_role("combobox")).to_have_value("serial_number")
    expect(page.get_by_text("Serail Number is not a field of servers. It is read as Serial number")).to_be_visible()

    # A value by one click, another one by saying what it means, and a column by its field.
    rows.get_by_role("button", name="Take “Active”").click()
    page.get_by_label("“跑着呢” means").select_option("Maintenance")
    page.get_by_label("Understood as: 负责部门").select_option("Owner")
    page.get_by_label("Create the datacenters that do not exist yet").check()
    expect(page.get_by_text("This creates 4, changes 0 and leaves 0 as they are.")).to_be_visible()
    expect(page.get_by_role("button", name="+ Datacenters")).to_be_visible()

    # The last error: its rows by a click on its group, and the row in full.
    page.get_by_role("button", name="is not a number").click()
    expect(page.get_by_text("Rows: 1", exact=True)).to_be_visible()
    rows.get_by_role("button", name="Row 6").click()
    details = page.get_by_role("region", name="Row 6 of 服务器")
    expect(details).to_contain_text("D6")
    details.get_by_role("button", name="Leave this row out").click()
    expect(page.get_by_role("button", name="Take row 6 in again")).to_be_visible()
    apply = page.get_by_role("button", name="Apply")
    expect(apply).to_be_enabled()
    assert servers(page) == {}
    apply.click()
    expect(page.get_by_text("Created 4, changed 0.")).to_be_visible()
    assert {name: (one["status"], one["owner"]) for name, one in servers(page).items()} == {
        "web-01": ("active", "平台组"),
        "web-02": ("active", "平台组"),
        "web-03": ("maintenance", "算法组"),
    }

    with page.expect_download() as report:
        page.get_by_role("button", name="Marked workbook").click()
    report.value.save_as(tmp_path / "report.xlsx")
    marks = [row[-1] for row in load_workbook(tmp_path / "report.xlsx").worksheets[0].values]
    assert marks[1] == "_import"
    assert all(marks[2:5])
    page.get_by_role("button", name="Undo…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Servers: 3 deleted")
    dialog.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone: deleted 4, restored 0.")).to_be_visible()
    assert servers(page) == {}


def test_the_same_by_keyboard_alone(open_console: OpenConsole, admin: Client, mistakes: Path) -> None:
    page = open_console("/imports", user=admin.user)
    # The listener is there before the key is pressed: a dialog that opens earlier is not seen.
    page.on("filechooser", lambda chooser: chooser.set_files(mistakes))
    tab_to(page, page.get_by_role("button", name="Choose a file"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="机房.xlsx")).to_be_focused()

    skip = page.get_by_label("Leave them out")
    column = page.get_by_label("Understood as: 负责部门")
    tab_to(page, column)
    page.keyboard.type("Owner")
    expect(column_of(page, "负责部门")).to_contain_text("set")
    expect(column).to_be_focused()  # the new plan leaves the keyboard where it is
    value = page.get_by_label("“跑着呢” means")
    tab_to(page, value)
    page.keyboard.type("Maint")
    expect(page.get_by_role("button", name="跑着呢")).to_have_count(0)
    expect(value).to_be_focused()
    missing = page.get_by_label("Create the datacenters that do not exist yet")
    tab_to(page, missing)
    page.keyboard.press("Space")
    take = rows_of(page).get_by_role("button", name="Take “Active”")
    tab_to(page, take)
    page.keyboard.press("Enter")
    expect(page.get_by_text("This creates 4, changes 0 and leaves 0 as they are.")).to_be_visible()
    tab_to(page, skip, back=True)
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Apply"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Created 4, changed 0.")).to_be_visible()
    assert list(servers(page)) == ["web-01", "web-02", "web-03"]
    tab_to(page, page.get_by_role("button", name="Undo…"), back=True)
    page.keyboard.press("Enter")
    undo = page.get_by_role("dialog").get_by_role("button", name="Undo")
    expect(undo).to_be_enabled()
    tab_to(page, undo)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Undone: deleted 4, restored 0.")).to_be_visible()
    assert servers(page) == {}


def test_many_rows_are_drawn_where_they_are_looked_at(open_console: OpenConsole, admin: Client, tmp_path: Path) -> None:
    path = tmp_path / "fleet.xlsx"
    names = ((f"node-{number}", number % 64 + 1) for number in range(1, MANY_ROWS + 1))
    path.write_bytes(workbook(("Servers", [("Name", "CPU Cores"), *names])))
    import_id = upload(admin, path)
    page = open_console(f"/imports/{import_id}", user=admin.user)
    rows = rows_of(page)
    expect(rows).to_have_attribute("aria-rowcount", str(MANY_ROWS))
    expect(rows.get_by_text("node-1", exact=True)).to_be_visible()
    assert rows.get_by_role("row").count() < 40

    page.get_by_role("group", name="Rows").evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
    expect(rows.get_by_text(f"node-{MANY_ROWS}", exact=True)).to_be_visible()
    assert rows.get_by_role("row").count() < 40
    # The arrow keys go through the rows; the chosen one is in the address.
    last = rows.get_by_role("button", name=f"Row {MANY_ROWS + 1}")
    last.press("ArrowUp")
    before = rows.get_by_role("button", name=f"Row {MANY_ROWS}", exact=True)
    expect(before).to_be_focused()
    before.press("Enter")
    expect(page.get_by_role("region", name=f"Row {MANY_ROWS} of Servers")).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name=f"Row {MANY_ROWS} of Servers")).to_be_visible()
    expect(rows.get_by_role("button", name=f"Row {MANY_ROWS}", exact=True)).to_be_visible()


def test_of_two_people_the_second_sees_the_change_of_the_first(
    open_console: OpenConsole, admin: Client, mistakes: Path, refusals: set[int]
) -> None:
    refusals.add(412)
    import_id = upload(admin, mistakes)
    page = open_console(f"/imports/{import_id}", user=admin.user)
    owner = page.get_by_label("Understood as: 负责部门")
    owner.wait_for()
    admin.call(
        "PATCH", f"/api/imports/{import_id}", json={"sheets": {"服务器": {"columns": {"D": "ignore"}}}}, expect=202
    )
    owner.select_option("Owner")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Somebody else has changed this import")
    expect(page.get_by_label("Understood as: CPU核数")).to_have_value("ignore")
    alert.get_by_role("button", name="Make my change again").click()
    expect(column_of(page, "负责部门")).to_contain_text("set")
    expect(page.get_by_label("Understood as: CPU核数")).to_have_value("ignore")
    expect(owner).to_have_value("owner")


def test_mappings_and_templates(open_console: OpenConsole, admin: Client, mistakes: Path, tmp_path: Path) -> None:
    import_id = upload(admin, mistakes)
    page = open_console(f"/imports/{import_id}", user=admin.user)
    page.get_by_label("Understood as: 负责部门").select_option("Owner")
    page.get_by_text("Save how the sheets are read").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("机房表")
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_text("Saved as “机房表”.")).to_be_visible()
    expect(page.get_by_text("has errors", exact=True)).to_be_visible()
    page.get_by_role("link", name="All imports").click()
    mappings = page.get_by_role("region", name="Saved mappings")
    expect(mappings.get_by_role("row").last).to_contain_text("Servers")
    mappings.get_by_role("textbox", name="Name").fill("上海机房")
    mappings.get_by_role("textbox", name="Name").press("Enter")
    expect(page.get_by_text("Saved as “上海机房”.")).to_be_visible()
    mappings.get_by_label("Share with everybody").check()
    expect(mappings.get_by_text("shared", exact=True)).to_be_visible()
    (saved,) = admin.call("GET", "/api/imports/mappings")["data"]
    assert (saved["name"], saved["shared"]) == ("上海机房", True)
    mappings.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(mappings).to_contain_text("None yet.")
    with page.expect_download() as template:
        page.get_by_role("button", name="Servers").click()
    template.value.save_as(tmp_path / "template.xlsx")
    assert "Servers" in load_workbook(tmp_path / "template.xlsx").sheetnames


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_both_screens_are_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, mistakes: Path, theme: str, width: int
) -> None:
    import_id = upload(admin, mistakes)
    page = open_console("/imports", user=admin.user, language="zh", theme=theme, width=width)
    page.get_by_role("link", name="机房.xlsx").wait_for()
    expect_no_sideways_scroll(page)
    assert_accessible(page)
    page.goto(f"/imports/{import_id}?at=1")
    expect(page.get_by_role("button", name="采用“在用”").first).to_be_visible()
    expect(page.get_by_role("heading", name="服务器 第 4 行")).to_be_visible()
    expect_no_sideways_scroll(page)
    assert_accessible(page)


def tab_to(page: Page, target: Locator, *, back: bool = False) -> None:
    """Press Tab until the target has the focus."""
    target.wait_for()
    for _ in range(100):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"{target} is not reached by keyboard.")
