"""Layouts of workbooks: headers, groups of columns, several sheets about the same objects, partial dates."""

from datetime import date
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.worksheet import Worksheet

from app.sheets.cells import Guess
from app.sheets.dates import read_date
from tests.client import Client
from tests.features.conftest import Upload, errors_of, rows_of
from tests.spread import any_database

pytestmark = any_database

APPLY = {"apply": "true"}


def find(client: Client, resource: str, **query: Any) -> Any:
    (item,) = client.call("GET", f"/api/{resource}", query_string=query)["data"]
    return item


def test_rows_that_explain_the_header_are_skipped(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        主机=[
            ("实例名(必填)", "CPU核数", "内存（GB）"),
            ("字符串", "整数", "整数"),
            ("inst_name", "cpu_core", "memory"),
            ("n1", 8, 64),
        ],
    )
    (row,) = rows_of(admin, import_)
    assert (row["row"], row["action"]) == (4, "create")
    assert row["changes"]["memory_gb"]["new"] == 64


def test_a_row_of_lower_case_words_is_an_object_unless_type_words_stand_above_it(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Rack"), ("web_1", "row_a")])
    assert [row["changes"]["name"]["new"] for row in rows_of(admin, import_)] == ["web_1"]


def test_titles_merged_over_two_header_rows_are_read(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        form=APPLY,
        Servers=[
            ("Our machines",),
            (),
            ("Name", "Status", "Network", None),
            (None, None, "IP", "MAC"),
            ("n1", "在用", "10.0.0.1/24", "C4:CB:E1:E1:61:10"),
        ],
    )
    assert import_["status"] == "applied"
    assert find(admin, "servers", name="n1")["internal_ip"] == "10.0.0.1"


def test_a_sheet_is_recognised_by_its_columns_when_its_title_names_no_resource(admin: Client, upload: Upload) -> None:
    import_ = upload(
        admin,
        Sheet1=[("内网IP", "主机名称", "操作系统"), ("10.0.0.1", "n1", "linux")],
        Clusters=[("Name", "Type", "Status"), ("c", "d", "active")],
    )
    assert [(sheet["sheet"], sheet["resource"], sheet["create"]) for sheet in import_["sheets"]] == [
        ("Sheet1", "servers", 1),
        ("Clusters", None, 0),
    ]


def test_the_host_name_fills_the_name_where_no_other_column_does(admin: Client, upload: Upload) -> None:
    upload(admin, form=APPLY, Servers=[("Hostname", "OS"), ("n1.example.com", "linux")])
    server = find(admin, "servers", name="n1.example.com")
    assert server["hostname"] == "n1.example.com"
    upload(admin, form=APPLY, Servers=[("Name", "Hostname"), ("n2", "n2.example.com")])
    assert find(admin, "servers", name="n2")["hostname"] == "n2.example.com"


TWO_SHEETS: dict[str, Any] = {
    "数据中心": [("实例名",), ("Lyon",)],
    "物理服务器": [("实例名", "所属机房", "CPU核数"), ("n1", "Lyon", 8), ("n2", "Lyon", 16)],
    "主机": [("实例名", "内网IP", "CPU核数"), ("N1", "10.0.0.1", 8), ("n2", "10.0.0.2", None)],
    "GPU": [("实例名", "所属设备", "GPU"), ("n1:0", "n1", "T4"), ("n1:1", "n1", "T4")],
}


def test_rows_of_two_sheets_about_the_same_objects_are_merged(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, form=APPLY, **TWO_SHEETS)
    assert import_["status"] == "applied"
    assert admin.call("GET", "/api/servers")["pagination"]["total"] == 2
    server = find(admin, "servers", name="n1")
    assert (server["cpu_cores"], server["internal_ip"], server["datacenter"]["name"]) == (8, "10.0.0.1", "Lyon")
    assert {row["slot"] for row in admin.call("GET", "/api/gpus")["data"]} == {0, 1}


def test_two_sheets_again_change_nothing(admin: Client, upload: Upload) -> None:
    upload(admin, form=APPLY, **TWO_SHEETS)
    import_ = upload(admin, form=APPLY, **TWO_SHEETS)
    assert import_["status"] == "applied"
    assert {row["action"] for row in rows_of(admin, import_)} == {"unchanged"}


def test_contradictions_of_two_sheets_are_errors_of_the_later_one(admin: Client, upload: Upload) -> None:
    hosts = [("实例名", "CPU核数"), ("n1", 9)]
    import_ = upload(admin, **{**TWO_SHEETS, "主机": hosts})
    assert errors_of(admin, import_) == [("主机", 2, "B2", "contradiction")]


def test_an_unreplaced_template_variable_is_an_error(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Max size"), ("n1", "{{ size * 2 }}")])
    assert errors_of(admin, import_) == [("Servers", 2, "B2", "template")]


def test_a_date_in_part_is_read_with_a_warning(admin: Client, upload: Upload) -> None:
    rows = [("Name", "Warranty End"), ("n1", "2027-10"), ("n2", 2024), ("n3", "expired"), ("n4", "nil")]
    import_ = upload(admin, form=APPLY, Servers=rows)
    assert import_["status"] == "applied"
    assert import_["sheets"][0]["warnings"] == 4
    servers = admin.call("GET", "/api/servers?sort=name")["data"]
    assert [server["warranty_expires"] for server in servers] == ["2027-10-01", "2024-01-01", None, None]


@pytest.mark.parametrize(
    "written",
    [
        "2027-10-24",
        "2027/10/24",
        "2027年10月24日",
        "24.10.2027",
        "10/24/2027",
        "24 October 2027",
        "2027-10-24 00:00:00+08:00",
        "24/10/2027 12:00 AM",
        "24th Oct 2027",
        "24-Oct-27",
        "Oct 24, 2027",
        "Sunday, October 24, 2027",
        "２０２７－１０－２４",
        "20271024",
        20271024,
        46684,
        "46684",
    ],
)
def test_a_date_is_understood_in_every_common_form(written: Any) -> None:
    assert read_date(written) == date(2027, 10, 24)


def test_bare_numbers_count_from_the_epoch_of_their_workbook(admin: Client, upload: Upload) -> None:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    page = book.active
    assert isinstance(page, Worksheet)
    page.title = "Servers"
    page.append(["Name", "Purchase date", "Warranty end"])
    page.append(["n1", 46684 - 1462, date(2027, 10, 24)])
    content = BytesIO()
    book.save(content)
    assert upload(admin, form=APPLY, content=content.getvalue())["status"] == "applied"
    server = find(admin, "servers", name="n1")
    assert (server["purchase_date"], server["warranty_expires"]) == ("2027-10-24", "2027-10-24")


@pytest.mark.parametrize("written", ["2027-10", "2027年10月", "Oct 2027", "October, 2027"])
def test_a_month_is_read_as_its_first_day(written: str) -> None:
    guess = read_date(written)
    assert isinstance(guess, Guess)
    assert guess.value == date(2027, 10, 1)


@pytest.mark.parametrize("written", ["2027-10-24 15:30", "24.10.2027 (extended)", "24/10/2027 0:01", 46684.5])
def test_what_follows_a_day_is_told(written: Any) -> None:
    guess = read_date(written)
    assert isinstance(guess, Guess)
    assert (guess.value, guess.rule) == (date(2027, 10, 24), "day_alone")
    assert str(guess.message) == f"“{written}” is read as 2027-10-24: what follows the day is left out."


@pytest.mark.parametrize("written", ["03/04/2027", "2027-02-30", "soon", True, 12])
def test_what_is_no_date_or_may_be_two_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_date(written)


def test_a_month_that_does_not_exist_leaves_the_year() -> None:
    guess = read_date("2030-15")
    assert isinstance(guess, Guess)
    assert guess.value == date(2030, 1, 1)


def hosts(*others: str) -> list[tuple[Any, ...]]:
    machines = [(f"host-{n}", None) for n in range(4)]
    return [
        ("Name", "VM Host"),
        *machines,
        *((f"vm-{n}", f"HOST-{n % 4}") for n in range(20)),
        *(("x", o) for o in others),
    ]


def test_a_column_that_names_objects_in_nearly_all_cells_has_errors_in_the_others(
    admin: Client, upload: Upload
) -> None:
    import_ = upload(admin, Servers=hosts("host-9"))
    assert errors_of(admin, import_) == [("Servers", 26, "B26", "reference")]
    (row,) = rows_of(admin, import_, "error")
    assert row["errors"][0]["message"].startswith("There is no server called host-9; ")
    assert row["errors"][0]["suggestion"] in {"host-0", "host-1", "host-2", "host-3"}
    assert upload(admin, form={"extra": "ignore"}, Servers=hosts("host-9"))["status"] == "ready"


def test_a_column_that_names_other_things_is_kept_as_an_attribute(admin: Client, upload: Upload) -> None:
    rows = hosts(*(f"elsewhere-{n}" for n in range(5)))
    named = [(f"{name}-{at}" if name == "x" else name, host) for at, (name, host) in enumerate(rows)]
    assert errors_of(admin, upload(admin, Servers=named)) == []
    few = [("Name", "Kernel"), *((f"vm-{n}", "vm-1") for n in range(20)), ("y", "6.1")]
    assert errors_of(admin, upload(admin, Servers=few)) == []
