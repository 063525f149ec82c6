"""The racks of CONTRIBUTING.md in a copy of the application: the console shows a new resource as it is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from tests.backends import Backend, on_sqlite
from tests.client import PASSWORD
from tests.console.conftest import OpenConsole, assert_accessible
from tests.console.test_imports import XLSX, workbook
from tests.documents.racks import add_racks, copy_application
from tests.server import environment, served

pytestmark = on_sqlite

ADMIN = SimpleNamespace(username="admin")


@pytest.fixture
def server(backend: Backend, app: object, tmp_path: Path) -> Iterator[str]:
    """The address of the copy, on a database of its own that the generated migration has made."""
    settings, root = backend.settings(), tmp_path / "copy"
    root.mkdir()
    copy_application(root)
    add_racks(root)
    own = {"DATABASE_URL": f"sqlite:///{tmp_path / 'racks.db'}", "ADMIN_PASSWORD": PASSWORD}
    environ = {**environment(settings), **own, "FLASK_APP": "run"}
    for arguments in (["upgrade"], ["migrate", "-m", "racks"]):
        subprocess.run([sys.executable, "-m", "flask", "db", *arguments], cwd=root, env=environ, check=True)
    assert (root / "migrations/versions/0002_racks.py").exists()
    with served(settings, root, **own) as served_copy:
        yield f"http://127.0.0.1:{served_copy.port}"


def test_racks_in_list_form_import_search_and_history(open_console: OpenConsole) -> None:
    page = open_console("/", user=ADMIN)
    # In the navigation, the form and the list.
    page.get_by_role("navigation").get_by_role("link", name="Racks").click()
    expect(page.get_by_role("heading", name="Racks")).to_be_visible()
    page.goto("/racks/new")
    page.get_by_label("Name", exact=False).first.fill("A-01")
    expect(page.get_by_label("Status").get_by_role("option")).to_have_text(["Active", "Retired"])
    page.get_by_label("Description").fill("next to the door")
    assert_accessible(page)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name="A-01")).to_be_visible()

    # A change of a field, and the history that takes it back.
    page.get_by_role("button", name="Edit Status", exact=True).click()
    page.locator("dd form select").select_option("retired")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Status is saved.")).to_be_visible()
    expect(page.get_by_text("Version 2 of 2")).to_be_visible()
    page.get_by_role("button", name="Undo this change").first.click()
    fields = page.get_by_role("region", name="Fields")
    expect(fields.get_by_text("Active", exact=True)).to_be_visible()

    # An import in Chinese words, whose titles are those of the columns.
    page.goto("/imports")
    rows = [("机柜", "状态", "备注"), ("A-01", "报废", "next to the door"), ("A-02", "在用", "behind it")]
    chosen = {"name": "racks.xlsx", "mimeType": XLSX, "buffer": workbook(("机柜", rows))}
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files([chosen])  # type: ignore[list-item]
    expect(page.get_by_text("This creates 1, changes 1 and leaves 0 as they are.")).to_be_visible()
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Created 1, changed 1.")).to_be_visible()
    page.get_by_role("link", name="Racks").last.click()
    expect(page.get_by_role("row").filter(has_text="A-02")).to_contain_text("Active")
    expect(page.get_by_role("row").filter(has_text="A-01")).to_contain_text("Retired")

    # The search, and the audit log.
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("behind it")
    page.get_by_role("option", name="A-02").click()
    expect(page.get_by_role("heading", name="A-02")).to_be_visible()
    page.goto("/audit?resource_type=racks")
    expect(page.get_by_text("A-02").first).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("navigation").get_by_role("link", name="机柜")).to_be_visible()
