"""The audit log and its proof in the console: questions, one record, restore, export, verification."""

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from app.proof.sealer import seal
from app.servers.models import Server
from tests.backends import on_sqlite
from tests.client import Client
from tests.console.conftest import OpenConsole, assert_accessible
from tests.factories import Make

pytestmark = on_sqlite


@pytest.fixture
def retired(make: Make, admin: Client) -> Server:
    """A server that was taken out of service for a reason."""
    server: Server = make(Server, name="db-7", status="active")
    admin.call("PATCH", f"/api/servers/{server.id}", json={"status": "retired"}, query_string={"reason": "机架起火"})
    return server


def test_who_took_the_server_out_of_service_and_back_again(
    open_console: OpenConsole, admin: Client, retired: Server
) -> None:
    page = open_console("/", user=admin.user)
    # Three clicks: the question on the home page, the row's button, and the dialog's.
    page.get_by_role("link", name="Servers taken out of service").click()
    row = page.get_by_role("row").filter(has_text="db-7").filter(has_text="Active")
    expect(row).to_contain_text(admin.user.username)
    expect(row).to_contain_text("机架起火")
    row.get_by_role("button", name="Restore…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Server: db-7")
    dialog.get_by_label("Reason").fill("It was another rack")
    page.reload()
    expect(dialog.get_by_label("Reason")).to_have_value("It was another rack")
    dialog.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("status").filter(has_text="Restored")).to_be_visible()
    assert admin.call("GET", f"/api/servers/{retired.id}")["data"]["status"] == "active"


def test_a_restore_shows_its_conflicts_before_it_does_anything(
    open_console: OpenConsole, admin: Client, make: Make, refusals: set[int]
) -> None:
    refusals.add(409)
    gone = make(Server, name="web-1")
    admin.call("DELETE", f"/api/servers/{gone.id}")
    make(Server, name="web-1")
    page = open_console("/audit?action=delete", user=admin.user)
    page.get_by_role("row").filter(has_text="web-1").get_by_role("button", name="Restore…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was restored")
    expect(dialog.get_by_role("listitem")).to_contain_text("has the same name now")
    expect(dialog.get_by_role("button", name="Restore")).to_be_disabled()


def test_a_question_and_its_record_can_be_sent(open_console: OpenConsole, admin: Client, retired: Server) -> None:
    page = open_console("/audit", user=admin.user)
    page.locator("select[name=resource_type]").select_option("servers")
    page.locator("select[name=action]").select_option("update")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("row").filter(has_text="db-7").filter(has_text="Active").get_by_role("button").first.click()
    page.get_by_role("link", name="Everything of this request").wait_for()
    page.reload()
    expect(page.locator("select[name=resource_type]")).to_have_value("servers")
    expect(page.get_by_role("link", name="Everything of this request")).to_be_visible()
    page.get_by_role("link", name="Everything about this object").click()
    expect(page.get_by_role("button", name="Clear: Everything about this object")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="db-7").first).to_be_visible()
    expect(page).to_have_url(re.compile(rf"resource_id={retired.id}$"))


def test_what_changed_is_asked_by_titles(open_console: OpenConsole, admin: Client, retired: Server) -> None:
    admin.call("PATCH", f"/api/servers/{retired.id}", json={"attributes": {"team": "blue"}})
    page = open_console("/audit", user=admin.user)
    page.get_by_label("Kind of object").select_option("Servers")
    page.get_by_text("By address, and by what changed").click()
    page.get_by_label("Field that changed").select_option("Status")
    page.get_by_label("New value").select_option("Retired")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("field=status&to=retired"))
    row = page.get_by_role("row").filter(has_text="db-7")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("机架起火")
    page.get_by_label("Field that changed").select_option("Attributes")
    page.get_by_label("Attribute", exact=True).fill("team")
    page.get_by_label("New value").fill("blue")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("field=attributes.team&to=blue"))
    expect(row).to_contain_text("team: blue")
    page.reload()
    expect(page.get_by_label("Attribute", exact=True)).to_have_value("team")
    assert_accessible(page)


def test_the_proof_of_a_record_is_downloaded_and_verifies(
    open_console: OpenConsole, app: Flask, admin: Client, retired: Server, tmp_path: Path
) -> None:
    with app.app_context():
        seal()
    page = open_console("/audit?resource_type=servers&action=update", user=admin.user)
    page.get_by_role("row").filter(has_text="db-7").get_by_role("button").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the proof").click()
    download.value.save_as(tmp_path / "proof.json")
    assert json.loads(json.loads((tmp_path / "proof.json").read_text())["record"])["resource_id"] == retired.id
    with page.expect_download() as exported:
        page.get_by_role("button", name="Export CSV").click()
    exported.value.save_as(tmp_path / "log.csv")
    assert "db-7" in (tmp_path / "log.csv").read_text()


def test_the_log_is_verified_in_the_console(open_console: OpenConsole, admin: Client, retired: Server) -> None:
    page = open_console("/proof", user=admin.user)
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("Intact:")).to_be_visible()
    # The server's own sealer seals within seconds.
    expect(page.get_by_text("Newest checkpoint")).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_both_screens_are_accessible_in_chinese(
    open_console: OpenConsole, admin: Client, retired: Server, theme: str, width: int
) -> None:
    page = open_console("/audit?action=update", user=admin.user, language="zh", theme=theme, width=width)
    page.get_by_role("row").filter(has_text="db-7").get_by_role("button").first.click()
    expect(page.get_by_role("columnheader", name="变更前")).to_be_visible()
    expect_no_sideways_scroll(page)
    assert_accessible(page)
    page.goto("/proof")
    expect(page.get_by_role("heading", name="公钥")).to_be_visible()
    expect_no_sideways_scroll(page)
    assert_accessible(page)


def expect_no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
