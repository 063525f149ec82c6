"""The order of day and month: named by the upload, settled by the column, or asked for."""

from datetime import date

import pytest

from app.sheets.dates import AmbiguousDate, DateOrder, read_date, settle_order
from tests.client import Client
from tests.features.conftest import Upload, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database

COLUMN = [("Name", "Purchase date"), ("a", "15/06/2018"), ("b", "05/06/2018"), ("c", "07/07/2018")]


def dates_of(client: Client, import_: dict) -> list[str]:  # type: ignore[type-arg]
    return [row["changes"]["purchase_date"]["new"] for row in rows_of(client, import_)]


def test_a_column_settles_the_order_of_all_its_dates(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=COLUMN)
    assert import_["status"] == "ready"
    assert dates_of(admin, import_) == ["2018-06-15", "2018-06-05", "2018-07-07"]


def test_a_column_that_settles_nothing_asks_for_the_order(admin: Client, upload: Upload) -> None:
    rows = [COLUMN[0], *COLUMN[2:]]
    import_ = upload(admin, Servers=rows)
    assert errors_of(admin, import_) == [("Servers", 2, "B2", "ambiguous_date")]
    message = rows_of(admin, import_, "error")[0]["errors"][0]["message"]
    assert message == (
        "“05/06/2018” can be read as 2018-05-06, 2018-06-05: set the order of the dates (dates=dmy, dates=mdy), "
        "or write the year first."
    )
    for order, read in (("dmy", "2018-06-05"), ("mdy", "2018-05-06")):
        answered = upload(admin, form={"dates": order}, Servers=rows)
        assert (answered["dates"], dates_of(admin, answered)[0]) == (order, read)


def test_a_date_that_contradicts_the_named_order_is_an_error(admin: Client, upload: Upload) -> None:
    assert errors_of(admin, upload(admin, form={"dates": "mdy"}, Servers=COLUMN)) == [("Servers", 2, "B2", "date")]


def test_dates_that_contradict_each_other_settle_nothing(admin: Client, upload: Upload) -> None:
    rows = [*COLUMN, ("d", "06/15/2018")]
    assert errors_of(admin, upload(admin, Servers=rows)) == [("Servers", 3, "B3", "ambiguous_date")]


def test_an_unknown_order_is_refused(admin: Client) -> None:
    answer = admin.call("POST", "/api/imports", expect=422, data={"dates": "ydm"})
    assert "dates" in answer["data"]["errors"]


@pytest.mark.parametrize(
    ("written", "order", "read"),
    [
        ("03/04/2027", DateOrder.DMY, date(2027, 4, 3)),
        ("03/04/2027", DateOrder.MDY, date(2027, 3, 4)),
        ("03.04.2027", DateOrder.MDY, date(2027, 3, 4)),
        ("03.04.2027", None, date(2027, 4, 3)),
        ("03/04/05", DateOrder.DMY, date(2005, 4, 3)),
        ("03/04/05", DateOrder.YMD, date(2003, 4, 5)),
        ("31/12/99", None, date(1999, 12, 31)),
    ],
)
def test_numbers_are_read_in_the_order_of_their_column(written: str, order: DateOrder | None, read: date) -> None:
    assert read_date(written, order=order) == read


@pytest.mark.parametrize("written", ["03/04/2027", "3-4-27"])
def test_a_date_alone_may_be_ambiguous(written: str) -> None:
    with pytest.raises(AmbiguousDate):
        read_date(written)


def test_only_one_order_settles_a_column() -> None:
    assert settle_order(["03/04/27", "13/04/27"]) is None
    assert settle_order(["03/04/27", "13/04/32"]) is DateOrder.DMY
    assert settle_order(["13/04/2027", "04/13/2027"]) is None
    assert settle_order(["03/04/2027", None, "n/a", "13/04/2027"]) is DateOrder.DMY
