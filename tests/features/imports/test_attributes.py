"""Attributes in imports: merged by key, cleared as a whole, and never with a rounded number."""

import pytest

from app.servers.models import Server
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import Upload, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database

APPLY = {"apply": "true"}


def test_a_row_changes_only_the_attributes_of_its_columns(make: Make, admin: Client, upload: Upload) -> None:
    server = make(Server, name="n1", attributes={"hdd": 4, "qos": "LS", "old": 1, "flag": 1})
    titles = ("Name", "attributes.hdd", "attributes.old", "attributes.flag")
    import_ = upload(admin, form=APPLY, Servers=[titles, ("n1", 6, "<clear>", True)])
    assert import_["status"] == "applied", rows_of(admin, import_)
    stored = admin.call("GET", f"/api/servers/{server.id}")["data"]["attributes"]
    assert stored == {"hdd": 6, "qos": "LS", "flag": True}
    assert stored["flag"] is True


def test_all_attributes_are_cleared_at_once(make: Make, admin: Client, upload: Upload) -> None:
    servers = [make(Server, name=name, attributes={"hdd": 4, "qos": "LS"}) for name in ("n1", "n2")]
    sheet = [("Name", "Attributes", "attributes.qos"), ("n1", "<clear>", None), ("n2", "<clear>", "BE")]
    import_ = upload(admin, form=APPLY, Servers=sheet)
    assert import_["status"] == "applied", rows_of(admin, import_)
    stored = [admin.call("GET", f"/api/servers/{server.id}")["data"]["attributes"] for server in servers]
    assert stored == [{}, {"qos": "BE"}]


def test_a_row_may_not_fill_up_an_object_with_attributes(make: Make, admin: Client, upload: Upload) -> None:
    make(Server, name="n1", attributes={f"k{number}": number for number in range(64)})
    sheet = [("Name", "attributes.k64"), ("n1", 1)]
    assert errors_of(admin, upload(admin, Servers=sheet)) == [("Servers", 2, None, "attributes")]


@pytest.mark.parametrize("title", ["attributes.n", "Serial number", "OS"])
@pytest.mark.parametrize("number", [2**53, 12345678901234567890, -1e17, 9007199254740993])
def test_a_number_that_the_workbook_has_rounded_is_refused(
    title: str, number: float, admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=[("Name", title), ("n1", number)])
    assert errors_of(admin, import_) == [("Servers", 2, "B2", "rounded")]


def test_numbers_that_are_exact_are_kept(admin: Client, upload: Upload) -> None:
    largest = 2**53 - 1
    sheet = [("Name", "attributes.n", "attributes.t", "Serial number"), ("n1", largest, "9007199254740993", largest)]
    assert upload(admin, form=APPLY, Servers=sheet)["status"] == "applied"
    (stored,) = admin.call("GET", "/api/servers")["data"]
    assert stored["attributes"] == {"n": largest, "t": "9007199254740993"}
    assert stored["serial_number"] == str(largest)
    for kind in ("xlsx", "csv"):
        content = admin.send("GET", f"/api/servers/export?format={kind}").data
        again = upload(admin, form=APPLY, content=content, filename=f"servers.{kind}")
        assert [row["action"] for row in rows_of(admin, again)] == ["unchanged"], kind


def test_delimited_text_keeps_digits_that_a_number_cannot(admin: Client, upload: Upload) -> None:
    content = b"Name,attributes.n,attributes.m,attributes.o\nn1,9007199254740993,2.10,123456789012345678901234567890\n"
    assert upload(admin, form=APPLY, content=content, filename="servers.csv")["status"] == "applied"
    (stored,) = admin.call("GET", "/api/servers")["data"]
    assert stored["attributes"] == {"n": "9007199254740993", "m": "2.10", "o": "123456789012345678901234567890"}
