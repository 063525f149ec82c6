"""The report of an import: marks, formats, fallback, background job, retention."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

from app.core.db.unit_of_work import db
from app.core.jobs import queue
from app.core.jobs.runner import runner_of
from app.core.values import utcnow
from app.imports.models import Import, ImportFile
from app.imports.report import service
from app.imports.report.models import ImportReport
from app.sheets.marking import in_place
from tests.client import Body, Client
from tests.features.conftest import Upload, apply, rows_of, workbook
from tests.spread import any_database
from tests.threads import run_concurrently

pytestmark = any_database

ROWS = [
    ("Fleet", None, None, None),
    ("Name", "Datacenter", "CPU cores", "Status"),
    ("n1", None, 8, "Running"),
    ("n2", "SH-l", "eight", "-"),
    (None, None, None, None),
    ("n1", None, 8, "active"),
]


def report(client: Client, job: Body) -> openpyxl.Workbook:
    answer = client.send("GET", f"/api/imports/{job['id']}/report.xlsx")
    assert answer.content_type.endswith("spreadsheetml.sheet")
    return openpyxl.load_workbook(BytesIO(answer.data))


def comments(page: Any) -> dict[str, str]:
    return {cell.coordinate: cell.comment.text for row in page.iter_rows() for cell in row if cell.comment}


def colour(cell: Any) -> str:
    return str(cell.fill.fgColor.rgb)[-6:]


def decorated(decorate: Callable[[Worksheet], None]) -> bytes:
    book = openpyxl.load_workbook(BytesIO(workbook(Servers=ROWS, Other=[("left", "=1+1"), ("alone", 2)])))
    page = book["Servers"]
    assert isinstance(page, Worksheet)
    decorate(page)
    content = BytesIO()
    book.save(content)
    return content.getvalue()


MARKED = {
    "B4": "There is no datacenter called SH-l: correct the name, or create it, for instance with the import.",
    "C4": "“eight” is not a number: write digits, such as 64 or 64 cores.",
    "D4": "Read as an empty cell: the value does not change.",
    "A6": "Row 3 describes the same server: leave one of the two out.",
}


def test_bad_cells_are_marked_and_rows_have_their_action(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=ROWS)
    page = report(admin, job)["Servers"]
    assert [page.cell(row, 5).value for row in range(1, 7)] == [None, "_import", "create", "error", None, "error"]
    assert comments(page) == MARKED
    assert [colour(page[at]) for at in ("B4", "D4", "A4")] == ["FFC7CE", "FFEB9C", "000000"]


def test_suggestions_and_errors_of_rows_and_columns_are_marked(user: Client, upload: Upload) -> None:
    job = upload(user, Servers=[("Name", "Staus"), ("n1", "active")], Datacenters=[("Name",), ("SH-1",)])
    book = report(user, job)
    misspelt = "Column B: Staus is not a field of servers. It is read as Status"
    assert comments(book["Servers"])["B1"].startswith(misspelt)
    assert comments(book["Datacenters"]) == {
        "B2": "Only administrators create datacenters: ask one of them to import this row."
    }
    job = upload(user, Servers=[("Name", "Status"), ("n1", "Runing")])
    assert "Did you mean active?" in comments(report(user, job)["Servers"])["B2"]


def test_the_rest_of_the_workbook_is_unchanged(admin: Client, upload: Upload) -> None:
    def decorate(page: Worksheet) -> None:
        page["A3"].font = Font(bold=True, color="00FF00")
        page["A3"].fill = PatternFill("solid", fgColor="0000FF")
        page["C4"].font = Font(italic=True)
        page["C4"].comment = Comment("Ask Ann.", "Ann")
        page.column_dimensions["A"].width = 42
        page.merge_cells("A1:D1")
        page.freeze_panes = "A3"
        page["F9"].font = Font(bold=True)

    job = upload(admin, content=decorated(decorate))
    book = report(admin, job)
    page = book["Servers"]
    assert (page["A3"].font.b, colour(page["A3"]), page["C4"].font.i) == (True, "0000FF", True)
    assert (page.column_dimensions["A"].width, page.freeze_panes) == (42, "A3")
    assert comments(page)["C4"] == "Ask Ann.\n“eight” is not a number: write digits, such as 64 or 64 cores."
    assert [cell.value for cell in book["Other"][1]] == ["left", "=1+1"]
    assert page["E2"].value == "_import"


def test_the_report_can_be_corrected_and_imported_again(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=[("Name", "CPU cores"), ("n1", "eight"), ("n2", 4)])
    book = report(admin, job)
    book["Servers"]["B2"].value = 8
    content = BytesIO()
    book.save(content)
    again = upload(admin, content=content.getvalue())
    assert again["status"] == "ready"
    assert [row["changes"].get("attributes") for row in rows_of(admin, again)] == [None, None]
    assert [cell.value for cell in report(admin, again)["Servers"][1]] == ["Name", "CPU cores", "_import"]


def test_rows_are_skipped_by_their_status(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=[("Name", "_import"), ("n1", "skip"), ("n2", "create"), ("n3", "示例")])
    assert [row["row"] for row in rows_of(admin, job)] == [3]
    assert job["sheets"][0]["notes"] == ["Skipped because of their _import column: row 2, 4."]


def test_the_report_of_text_is_a_workbook(admin: Client, upload: Upload) -> None:
    text = "Name;CPU cores;Notes\nn1;eight;=1+1\nn2;4;007\n"
    job = upload(admin, content=text.encode(), filename="服务器.csv")
    page = report(admin, job)["服务器"]
    assert [[cell.value for cell in row] for row in page.iter_rows()] == [
        ["Name", "CPU cores", "Notes", "_import"],
        ["n1", "eight", "=1+1", "error"],
        ["n2", 4, "007", "create"],
    ]
    assert page["C2"].data_type == "s"
    assert comments(page) == {"B2": "“eight” is not a number: write digits, such as 64 or 64 cores."}


def test_a_workbook_that_cannot_be_marked_is_reported_without_formats(
    admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place, "MAX_MARKED_BYTES", 0)
    page = report(admin, upload(admin, Servers=ROWS))["Servers"]
    assert comments(page) == MARKED
    assert [page.cell(row, 5).value for row in range(1, 7)] == [None, "_import", "create", "error", None, "error"]


def test_the_report_is_stored_with_its_import(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=[("Name",), ("n1",)])
    path = f"/api/imports/{job['id']}/report.xlsx"
    first = admin.send("GET", path)
    assert apply(admin, job)["status"] == "applied"
    assert admin.send("GET", path).data == first.data
    records = admin.call("GET", "/api/audit-logs?action=export&resource_type=imports")["data"]
    assert [(record["resource_id"], record["resource_name"]) for record in records] == [
        (job["id"], "fleet-report.xlsx")
    ] * 2


def test_files_are_deleted_after_the_configured_days(app: Flask, admin: Client, upload: Upload) -> None:
    jobs = [upload(admin, Servers=[("Name",), ("n1",)]) for _ in range(2)]
    with app.app_context():
        long_ago = utcnow() - timedelta(days=app.config["IMPORT_FILE_DAYS"] + 1)
        db.session.execute(sa.update(Import).where(Import.id == jobs[0]["id"]).values(finished_at=long_ago))
        db.session.commit()
    upload(admin, Servers=[("Name",), ("n2",)])
    admin.call("GET", f"/api/imports/{jobs[0]['id']}/report.xlsx", expect=404)
    assert [row["action"] for row in rows_of(admin, jobs[0])] == ["create"]
    admin.send("GET", f"/api/imports/{jobs[1]['id']}/report.xlsx")


def test_an_import_without_a_plan_has_no_report(admin: Client, upload: Upload) -> None:
    job = upload(admin, content=b'Name\n"never closed\n', filename="servers.csv")
    assert job["problem"]["reason"] == "damaged"
    answer = admin.call("GET", f"/api/imports/{job['id']}/report.xlsx", expect=409)
    assert answer["data"]["reason"] == "not_reportable"


@pytest.fixture
def in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every report is too large for its request."""
    monkeypatch.setattr(service, "MAX_REQUEST_ROWS", 0)


def request_report(client: Client, job: Body, expect: int) -> Body:
    return client.call("GET", f"/api/imports/{job['id']}/report.xlsx", expect=expect)


def age_report(app: Flask, delta: timedelta) -> None:
    with app.app_context():
        db.session.execute(sa.update(ImportReport).values(changed_at=utcnow() - delta))
        db.session.commit()


@pytest.mark.usefixtures("in_background")
def test_a_large_report_is_made_in_the_background(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=ROWS)
    path = f"/api/imports/{job['id']}/report.xlsx"
    for _ in range(2):
        answer = admin.send("GET", path, expect=202)
        assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Location"]) == (202, "1", path)
        assert answer.json["data"] == {"import_id": job["id"], "status": "making"}
    assert admin.call("GET", "/api/audit-logs?action=export&resource_type=imports")["data"] == []
    assert runner_of(admin.app).run_pending() == 1
    assert comments(report(admin, job)["Servers"]) == MARKED


@pytest.mark.usefixtures("in_background")
def test_a_report_survives_the_death_of_its_worker(app: Flask, admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=ROWS)
    request_report(admin, job, 202)
    with app.app_context():
        assert queue.claim([service.REPORT], "killed") is not None
    assert runner_of(admin.app).run_pending() == 0
    request_report(admin, job, 202)
    with app.app_context():
        lease_end = utcnow() - timedelta(seconds=1)
        db.session.execute(sa.update(queue.Job).where(queue.Job.holder == "killed").values(lease_expires_at=lease_end))
        db.session.commit()
    assert runner_of(admin.app).run_pending() == 1
    first = admin.send("GET", f"/api/imports/{job['id']}/report.xlsx").data
    with app.app_context():
        # The worker was slow, not dead: its late result changes nothing.
        service.make_report(job["id"])
    assert admin.send("GET", f"/api/imports/{job['id']}/report.xlsx").data == first


@pytest.mark.usefixtures("in_background")
def test_a_failed_report_can_be_requested_again_after_a_minute(
    app: Flask, admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = upload(admin, Servers=ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(service, "_make", lambda *_: 1 / 0)
        request_report(admin, job, 202)
        runner_of(admin.app).run_pending()
    answer = request_report(admin, job, 503)
    assert answer["data"]["reason"] == "report_failed"
    age_report(app, service.RETRY_DELAY)
    request_report(admin, job, 202)
    runner_of(admin.app).run_pending()
    assert comments(report(admin, job)["Servers"]) == MARKED


@pytest.mark.race
@pytest.mark.usefixtures("in_background")
def test_simultaneous_first_requests_queue_one_job(admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=ROWS)
    run_concurrently([lambda: request_report(admin, job, 202)] * 4)
    assert runner_of(admin.app).run_pending() == 1


@pytest.mark.usefixtures("in_background")
def test_a_report_is_not_made_of_a_deleted_file(app: Flask, admin: Client, upload: Upload) -> None:
    job = upload(admin, Servers=ROWS)
    request_report(admin, job, 202)
    with app.app_context():
        for model in (ImportReport, ImportFile):
            db.session.execute(sa.delete(model))
        db.session.commit()
    assert runner_of(admin.app).run_pending() == 1
    request_report(admin, job, 404)


def test_a_download_is_recorded(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=ROWS)
    admin.send("GET", f"/api/imports/{import_['id']}/report.xlsx")
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"action": "export"})["data"]
    assert (record["resource_type"], record["resource_id"]) == ("imports", import_["id"])
    assert (record["resource_name"], record["user_id"]) == ("fleet-report.xlsx", admin.user.id)
