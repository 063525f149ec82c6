"""Templates: titles, example rows, drop-down lists, and their import."""

from io import BytesIO
from typing import Any

import openpyxl
import pytest

from app.catalog import IMPORTABLE
from app.datacenters.models import Datacenter
from app.environments.models import Environment
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import Upload, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database


def template(client: Client, resource: str) -> openpyxl.Workbook:
    return openpyxl.load_workbook(BytesIO(client.send("GET", f"/api/imports/template.xlsx?resource={resource}").data))


def saved(book: openpyxl.Workbook) -> bytes:
    content = BytesIO()
    book.save(content)
    return content.getvalue()


def titles(page: Any) -> list[str]:
    return [cell.value for cell in page[1]]


@pytest.mark.parametrize("name", IMPORTABLE)
def test_a_template_can_be_imported_and_its_example_is_skipped(
    name: str, admin: Client, make: Make, upload: Upload
) -> None:
    resource = IMPORTABLE[name]
    make(resource.model)
    book = template(admin, name)
    job = upload(admin, content=saved(book))
    (sheet,) = job["sheets"]
    assert (job["status"], sheet["resource"], rows_of(admin, job)) == ("ready", name, [])
    assert sheet["notes"] == ["Skipped because of their _import column: row 2."]
    assert {column["use"] for column in sheet["columns"]} == {"status", "field"}
    page = book[resource.titles[0]]
    assert {title for title in titles(page) if title.endswith(" *")} == {
        f"{field.title} *" for field in resource.fields.values() if field.required
    }


@pytest.mark.parametrize("name", IMPORTABLE)
def test_the_example_of_a_template_is_valid(name: str, admin: Client, make: Make, upload: Upload) -> None:
    resource = IMPORTABLE[name]
    make(resource.model)
    book = template(admin, name)
    book[resource.titles[0]]["A2"].value = None
    job = upload(admin, form={"apply": "true"}, content=saved(book))
    assert errors_of(admin, job) == []
    assert [row["action"] for row in rows_of(admin, job)] == ["create"]


@pytest.mark.parametrize("name", IMPORTABLE)
def test_a_template_on_an_empty_installation(name: str, admin: Client, upload: Upload) -> None:
    """The example names objects that are not there yet, and is skipped all the same."""
    resource = IMPORTABLE[name]
    book = template(admin, name)
    assert upload(admin, content=saved(book))["status"] == "ready"
    page = book[resource.titles[0]]
    values = {title: cell.value for title, cell in zip(titles(page), page[2], strict=True)}
    assert all(value is not None for title, value in values.items() if title.endswith(" *"))
    page["A2"].value = None
    assert {rule for *_, rule in errors_of(admin, upload(admin, content=saved(book)))} <= {"reference"}


def test_drop_down_lists_have_choices_and_names(admin: Client, make: Make) -> None:
    for name in ("SH-1", "=BJ", "北京"):
        make(Datacenter, name=name)
    for name in ("a", "b"):
        make(Environment, name=name)
    book = template(admin, "servers")
    page, lists = book["Servers"], book["_lists"]
    assert lists.sheet_state == "hidden"
    offered = {}
    for rule in page.data_validations.dataValidation:
        (area,) = rule.sqref.ranges
        offered[titles(page)[area.min_col - 1]] = [
            cell.value for (cell,) in lists[rule.formula1.removeprefix("_lists!").replace("$", "")]
        ]
        assert rule.errorStyle == "warning"
        assert area.max_row >= 10_000
    assert offered["Datacenter"] == ["=BJ", "SH-1", "北京"]
    assert {"a", "b"} <= set(offered["Environment"])
    assert offered["Status"] == ["active", "maintenance", "offline", "retired"]


def test_a_filled_template_is_imported(admin: Client, make: Make, upload: Upload) -> None:
    make(Datacenter, name="SH-1")
    book = template(admin, "servers")
    page = book["Servers"]
    for title, value in (("Name *", "n1"), ("Datacenter", "SH-1"), ("Memory (GB)", 64)):
        page.cell(3, titles(page).index(title) + 1).value = value
    assert upload(admin, form={"apply": "true"}, content=saved(book))["status"] == "applied"
    (server,) = admin.call("GET", "/api/servers")["data"]
    assert (server["name"], server["datacenter"]["name"], server["memory_gb"]) == ("n1", "SH-1", 64)


def test_a_template_needs_one_valid_resource(admin: Client) -> None:
    for query in ("", "?resource=users", "?resource=servers&resources=gpus"):
        admin.call("GET", f"/api/imports/template.xlsx{query}", expect=400)
