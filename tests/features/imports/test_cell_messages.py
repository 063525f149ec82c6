"""What an import says of a cell that it cannot read: the value as it stands, what is wrong with it, and what to do."""

from typing import Any

import pytest

from tests.client import Body, Client
from tests.features.conftest import Upload, rows_of
from tests.spread import any_database

pytestmark = any_database

AMBIGUOUS = (
    "“03/04/2027” can be read as 2027-03-04, 2027-04-03: set the order of the dates (dates=dmy, dates=mdy), or write "
    "the year first."
)
NO_STATUS = (
    "“resting” is not one of active, maintenance, offline, retired: write one of these, or set in the plan which one "
    "is meant."
)


def only_error(client: Client, import_: Body) -> Body:
    (row,) = rows_of(client, import_, "error")
    (error,) = row["errors"]
    return error


@pytest.mark.parametrize(
    ("sheet", "title", "cell", "english", "chinese"),
    [
        (
            *("Servers", "Memory (GB)", "plenty"),
            "“plenty” is not a number: write digits, such as 64 or 64 GB.",
            "“plenty”不是数字：请写数字，例如 64 或 64 GB。",
        ),
        (
            *("Servers", "Memory (GB)", "16 bananas"),
            "“16 bananas” is in bananas, which cannot be converted to GB: write the number in GB.",
            "“16 bananas”的单位是 bananas，不能换算为 GB：请以 GB 为单位填写。",
        ),
        (
            *("Servers", "CPU cores", -4),
            "“-4” is out of range: write a number from 0 to 2147483647 cores.",
            "“-4”超出范围：请填写 0 到 2147483647 cores 之间的数字。",
        ),
        (
            *("Servers", "CPU cores", 3.5),
            "“3.5” is not a whole number: write one without decimals.",
            "“3.5”不是整数：请填写不带小数的数字。",
        ),
        (
            *("Servers", "Warranty expires", "next spring"),
            "“next spring” is not a date: write year, month and day, such as 2027-10-24.",
            "“next spring”不是日期：请写明年、月、日，例如 2027-10-24。",
        ),
        (
            *("Servers", "Warranty expires", "03/04/2027"),
            AMBIGUOUS,
            "“03/04/2027”可以读作 2027-03-04, 2027-04-03：请设置日期的顺序（dates=dmy, dates=mdy），或把年份写在最前。",
        ),
        (
            *("Servers", "Internal IP", "10.0.0.300"),
            "“10.0.0.300”: Must be an IPv4 or IPv6 address.",
            "“10.0.0.300”：必须是 IPv4 或 IPv6 地址。",
        ),
        (
            *("Servers", "Status", "resting"),
            NO_STATUS,
            "“resting”不是 active, maintenance, offline, retired 之一：请填写其中之一，或在计划中设置它指哪一个。",
        ),
        (
            *("Servers", "Manufacturer", "D" * 300),
            "The text has 300 characters, and 255 is the most: shorten it.",
            "文本有 300 个字符，最多 255 个：请缩短。",
        ),
        (
            *("Servers", "Memory (GB)", "{{ memory }}"),
            "“{{ memory }}” is a template variable without a value: enter the value itself.",
            "“{{ memory }}”是没有值的模板变量：请直接填写值。",
        ),
        (
            *("Assets", "Price", "much"),
            "“much”: Must be an amount such as 1299.00.",
            "“much”：必须是金额，例如 1299.00。",
        ),
        (
            *("Servers", "Memory (GB)", "x" * 100),
            f"“{'x' * 59}…” is not a number: write digits, such as 64 or 64 GB.",
            f"“{'x' * 59}…”不是数字：请写数字，例如 64 或 64 GB。",
        ),
    ],
)
def test_a_message_says_the_value_what_is_wrong_and_what_to_do(
    admin: Client, upload: Upload, sheet: str, title: str, cell: Any, english: str, chinese: str
) -> None:
    required = [("Asset type", "laptop")] if sheet == "Assets" else []
    titles, cells = ["Name", *(name for name, _ in required), title], ["n1", *(value for _, value in required), cell]
    import_ = upload(admin, **{sheet: [titles, cells]})
    assert only_error(admin, import_)["message"] == english
    rows = admin.call("GET", f"/api/imports/{import_['id']}/rows", headers={"Accept-Language": "zh"})["data"]
    assert rows[0]["errors"][0]["message"] == chinese


def test_a_value_that_is_taken_is_named(admin: Client, upload: Upload) -> None:
    datacenter = admin.call("POST", "/api/datacenters", expect=201, json={"name": "dc"})["data"]
    stored = {"name": "s1", "internal_ip": "10.0.0.1", "datacenter_id": datacenter["id"]}
    server = admin.call("POST", "/api/servers", expect=201, json=stored)["data"]
    import_ = upload(admin, Servers=[("Name", "Datacenter", "Internal IP"), ("s2", "dc", "10.0.0.1")])
    assert only_error(admin, import_)["message"] == (
        f"Another server ({server['id']}) already has the internal IP “10.0.0.1”: write another one, or change that "
        "object too."
    )


def test_a_gpu_keeps_its_capitals(admin: Client) -> None:
    answer = admin.call("GET", "/api/gpus/7", expect=404)
    assert answer["message"] == "There is no GPU 7."
