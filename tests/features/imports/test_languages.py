"""Imports in the language of the reader: a plan is made once, and read in English and in Chinese."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from flask import Flask

from app.core.jobs.runner import runner_of
from app.core.messages import Term, pack, tr, unpack
from app.imports.models import ImportPhase, ImportStatus, Progress
from app.imports.parse import rows as parsed_rows
from app.imports.plan import summary
from tests.client import Body, Client
from tests.features.conftest import Upload, apply, rows_of
from tests.spread import any_database

pytestmark = any_database

SHEET = [
    ("Fleet of the year", None, None, None),
    ("Name", "Datacenter", "CPU cores", "Room"),
    ("n1", None, "-", "A"),
    ("n2", "SH-1", "eight", "B"),
    ("n1", None, 8, "A"),
]


def test_a_stored_message_is_read_in_any_language() -> None:
    message = tr("There is no {what} {object_id}.", what=Term("server", "服务器"), object_id=7)
    nested = tr("{problem} Nothing was reverted.", problem=message)
    stored = pack({"message": nested, "values": [1, None, "template"], "changed": {"en": 1}})

    read = unpack(stored)

    assert read["message"] == "There is no server 7. Nothing was reverted."
    assert read["message"].to("zh") == "没有编号为 7 的服务器。未撤销任何更改。"
    assert read["message"].to("en") == read["message"]
    assert (read["values"], read["changed"]) == ([1, None, "template"], {"en": 1})


def test_a_plan_is_read_in_the_language_of_the_reader(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=SHEET)
    english, chinese = (_plan(admin, import_, language) for language in ("en", "zh"))

    assert _rules(english) == _rules(chinese)
    untranslated = {text for text in _texts(english) if text in set(_texts(chinese))}
    assert untranslated == set()
    errors = {error["cell"]: error for row in chinese["rows"] for error in row["errors"]}
    assert errors["B4"]["message"] == "没有名为 SH-1 的数据中心：请更正名称，或新建它（例如随导入一起新建）。"
    assert errors["B4"]["parameters"] == {"what": "数据中心", "name": "SH-1"}
    assert errors["A5"]["message"] == "第 3 行描述同一个服务器：请去掉其中一行。"
    assert chinese["problem"]["message"] == "3 行中有 2 行有错误：请在计划或文件中更正，或只应用其余各行。"
    assert chinese["problem"]["parameters"] == {"count": 2, "total": 3}
    sheet = chinese["sheets"][0]
    assert sheet["notes"] == [note["message"] for note in sheet["sheet_notes"]] != []
    assert chinese["progress"]["label"] == "已完成"


def test_a_report_is_written_in_the_language_of_who_asks_for_it(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=SHEET)
    path = f"/api/imports/{import_['id']}/report.xlsx"

    chinese, english = (_report(admin, f"{path}?lang={language}") for language in ("zh", "en"))

    assert chinese["C4"].comment.text == "“eight”不是数字：请写数字，例如 64 或 64 cores。"
    assert english["C4"].comment.text == "“eight” is not a number: write digits, such as 64 or 64 cores."
    assert [chinese.cell(row, 5).value for row in (2, 3, 4)] == ["_import", "新建", "错误"]
    assert [english.cell(row, 5).value for row in (2, 3, 4)] == ["_import", "create", "error"]


def test_a_problem_says_what_is_also_after_rows_were_left_out(admin: Client, upload: Upload) -> None:
    done = apply(admin, upload(admin, Servers=SHEET), on_error="skip")

    assert (done["status"], done["problem"]["reason"]) == ("applied", "rows_left_out")
    assert done["problem"]["parameters"] == {"count": 2}


def test_a_cancelled_import_has_no_problem(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=SHEET)
    assert import_["problem"]["reason"] == "invalid_rows"

    assert admin.call("POST", f"/api/imports/{import_['id']}/cancel")["data"]["problem"] is None


def test_of_many_warnings_the_first_are_listed_and_all_are_counted(
    admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (parsed_rows, summary):
        monkeypatch.setattr(module, "MAX_WARNINGS", 2)
    rows = [("Name", "CPU cores", "Rack"), *((f"n{number}", "-", "-") for number in range(5))]
    import_ = upload(admin, Servers=rows)
    sheet = import_["sheets"][0]

    assert sheet["warnings"] == 10
    groups = {group["column"]: group for group in sheet["messages"]}
    assert {letters: (group["count"], group["listed"]) for letters, group in groups.items()} == {
        "B": (5, 2),
        "C": (5, 2),
    }
    assert groups["B"]["values"] == [{"value": "-", "count": 5}]
    planned = rows_of(admin, import_)
    assert [(len(row["warnings"]), row["more_warnings"]) for row in planned] == [(2, 0), (2, 0), (0, 2), (0, 2), (0, 2)]
    path = f"/api/imports/{import_['id']}/rows?has_warnings"
    assert len(admin.call("GET", f"{path}=true")["data"]) == 5
    assert admin.call("GET", f"{path}=false")["data"] == []


def test_the_phases_of_a_plan_are_shown_until_it_is_stored(
    app: Flask, admin: Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[ImportPhase] = []
    update = Progress._update

    def update_and_note(progress: Progress) -> None:
        update(progress)
        shown.append(progress._phase)

    monkeypatch.setattr(Progress, "_update", update_and_note)
    import_ = upload(admin, Servers=SHEET)

    assert import_["status"] == ImportStatus.INVALID.value
    assert list(dict.fromkeys(shown)) == [
        ImportPhase.READING,
        ImportPhase.VALIDATING,
        ImportPhase.PLANNING,
        ImportPhase.STORING,
    ]


def test_each_column_says_what_is_done_with_it(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name", "Room", "Created at"), ("n1", "A", "2027-01-01")])
    columns = _plan(admin, import_, "zh")["sheets"][0]["columns"]

    assert [column["explanation"]["rule"] for column in columns] == ["exact", "unknown_column", "read_only"]
    assert columns[0]["explanation"]["message"] == "标题指明用于“名称”。"
    assert columns[1]["explanation"]["parameters"] == {"resource": "服务器", "attribute": "room"}


def _plan(client: Client, import_: Body, language: str) -> Body:
    path = f"/api/imports/{import_['id']}"
    plan: Body = client.call("GET", f"{path}?lang={language}")["data"]
    return {**plan, "rows": client.call("GET", f"{path}/rows?lang={language}")["data"]}


def _entries(value: Any) -> Iterator[Body]:
    """Everything in a plan that has a message."""
    if isinstance(value, dict):
        if "message" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _entries(each)


def _texts(plan: Body) -> list[str]:
    return [entry["message"] for entry in _entries(plan)]


def _rules(plan: Body) -> list[str]:
    return [entry.get("rule") or entry["reason"] for entry in _entries(plan)]


def _report(client: Client, path: str) -> Any:
    book = openpyxl.load_workbook(BytesIO(client.send("GET", path).data))
    return book["Servers"]


@pytest.mark.parametrize(
    ("content", "filename", "message"),
    [
        (b"PK\x03\x04", "a.csv", "文件名表明它是逗号分隔文本，但它是工作簿或其他 zip 文件：请改名。"),
        (b"Name," + b"x," * 600 + b"\ns-1\n", "a.csv", "工作表“a”的第 1 行有超出前 512 列的值，这是读取的上限。"),
    ],
)
def test_a_refusal_is_in_chinese_as_a_whole(
    app: Flask, admin: Client, content: bytes, filename: str, message: str
) -> None:
    headers = {"Accept-Language": "zh"}
    form = {"file": (BytesIO(content), filename)}
    answer = admin.call("POST", "/api/imports", data=form, headers=headers, expect=(202, 422))
    if answer["code"] == 0:
        runner_of(app).run_pending()
        problem = admin.call("GET", f"/api/imports/{answer['data']['id']}", headers=headers)["data"]["problem"]
        assert problem["message"] == message
    else:
        assert message in str(answer)


def test_the_status_of_an_import_is_named_in_chinese(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, Servers=[("Name",), ("s-1",)])
    path = f"/api/imports/{import_['id']}/revert"
    refused = admin.call("POST", path, headers={"Accept-Language": "zh"}, expect=409)
    assert refused["message"] == "该导入的状态是“就绪”：只有已应用的导入才能撤销。"
