"""Export of the audit log as a file."""

import csv
import json
from io import BytesIO, StringIO
from typing import Any

import openpyxl
import pytest

from app.audit_logs import pages
from app.servers.models import Server
from tests.client import Client
from tests.factories import Make
from tests.spread import any_database

pytestmark = any_database

EXPORT = "/api/audit-logs/export"


def download(admin: Client, kind: str, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of the file, by the titles of their columns."""
    answer = admin.send("GET", EXPORT, query_string={"format": kind, **parameters})
    assert answer.headers["Content-Disposition"] == f"attachment; filename=audit-log.{kind}"
    if kind == "ndjson":
        return [json.loads(line) for line in answer.data.splitlines()]
    if kind == "csv":
        return list(csv.DictReader(StringIO(answer.data.decode("utf-8-sig"))))
    titles, *rows = openpyxl.load_workbook(BytesIO(answer.data)).active.iter_rows(values_only=True)
    return [dict(zip(titles, row, strict=True)) for row in rows]


@pytest.mark.parametrize("kind", ["ndjson", "csv", "xlsx"])
def test_the_file_holds_the_matching_records(kind: str, make: Make, admin: Client) -> None:
    server = make(Server, name="first")
    make(Server, name="second")
    admin.call("PATCH", f"/api/servers/{server.id}", json={"status": "offline"})
    listed = {"resource_type": "servers", "sort": "-id"}
    expected = admin.call("GET", "/api/audit-logs", query_string=listed)["data"]
    rows = download(admin, kind, **listed)
    assert [int(row["id"]) for row in rows] == [record["id"] for record in expected]
    if kind == "ndjson":
        assert rows == expected
    else:
        assert [json.loads(row["changes"]) for row in rows] == [record["changes"] for record in expected]
        assert [row["created_at"] for row in rows] == [record["created_at"] for record in expected]
    assert [row["resource_name"] for row in download(admin, kind, field="status", to="offline")] == ["first"]


@pytest.mark.parametrize("kind", ["ndjson", "csv", "xlsx"])
def test_an_export_is_recorded_and_not_part_of_the_file(kind: str, make: Make, admin: Client) -> None:
    make(Server)
    assert "export" not in {row["action"] for row in download(admin, kind)}
    (record,) = admin.call("GET", "/api/audit-logs", query_string={"action": "export"})["data"]
    assert (record["resource_type"], record["resource_name"]) == ("audit_logs", f"audit-log.{kind}")
    assert record["changes"] == {"query": {"old": None, "new": f"format={kind}"}}
    assert record["user_id"] == admin.user.id


def test_formulas_stay_text(make: Make, admin: Client) -> None:
    name = '=HYPERLINK("http://example.com")'
    make(Server, name=name)
    query = {"resource_type": "servers"}
    assert download(admin, "csv", **query)[0]["resource_name"] == f"'{name}"
    data = admin.send("GET", EXPORT, query_string={"format": "xlsx", **query}).data
    cells = [cell for row in openpyxl.load_workbook(BytesIO(data)).active.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells if cell.value == name} == {"s"}


def test_records_are_read_in_several_queries(make: Make, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        make(Server)
    monkeypatch.setattr(pages, "FETCH_RECORDS", 3)
    for sort in ("id", "-id", "created_at", "-created_at"):
        listed = {"resource_type": "servers", "sort": sort}
        assert download(admin, "ndjson", **listed) == admin.call("GET", "/api/audit-logs", query_string=listed)["data"]


def test_invalid_parameters_are_refused(admin: Client) -> None:
    for wrong in ({"page": 1}, {"fields": "id"}, {"cursor": ""}, {"format": "pdf"}, {"sort": "username"}, {"x": 1}):
        admin.call("GET", EXPORT, query_string=wrong, expect=400)
    assert download(admin, "csv", user_id=10**9) == []
