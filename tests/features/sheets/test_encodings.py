"""Encodings of delimited text: detected where that is sure, asked about where it is not."""

from itertools import combinations

import pytest

from app.core.jobs.runner import runner_of
from app.sheets.encodings import ENCODINGS, named_encoding
from app.sheets.sandbox.encoding_detection import is_sure, readings
from app.sheets.workbook import UnreadableWorkbook, read_workbook
from tests.client import Client
from tests.features.conftest import Upload, rows_of
from tests.features.sheets.inventories import FILES, INVENTORIES, LANGUAGES

UNSURE = "Name;Owner\nsrv-na1;Lucia Cantù\n".encode("cp1252")
"""Cantů, in Windows-1250, is as likely."""


def read(content: bytes) -> tuple[str, list[list[str]]]:
    with read_workbook(content, filename="fleet.csv") as book:
        (sheet,) = book.sheets
        assert sheet.text is not None
        return sheet.text["encoding"], [[cell or "" for cell in row] for row in sheet.rows()]  # type: ignore[misc]


def cells(text: str) -> list[list[str]]:
    return [line.replace(";", ",").split(",") for line in text.splitlines()]


@pytest.mark.parametrize(("encoding", "name"), FILES)
def test_the_inventory_of_a_language_is_read_in_its_encoding(encoding: str, name: str) -> None:
    text = INVENTORIES[name]
    encoding_read, rows = read(text.encode(encoding))
    # Encodings are compared by what they read: German is the same in Windows-1250 and 1252.
    assert rows == cells(text), encoding_read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", [names[0] for names in LANGUAGES.values()])
def test_unicode_is_read_with_and_without_a_mark(encoding: str, name: str) -> None:
    assert read(INVENTORIES[name].encode(encoding)) == (encoding, cells(INVENTORIES[name]))


def test_short_files_are_read_rightly_or_asked_about() -> None:
    asked = total = 0
    for encoding, name in FILES:
        titles, *lines = INVENTORIES[name].splitlines(keepends=True)
        for count in range(1, len(lines) + 1):
            for header, rows in ((header, rows) for header in (titles, "") for rows in combinations(lines, count)):
                text = "".join(line for line in (header, *rows) if not line.isascii())
                if text:
                    candidates = readings(text.encode(encoding))
                    total += 1
                    asked += not is_sure(candidates)
                    assert candidates[0].text == text or not is_sure(candidates), (encoding, text, candidates[0])
    assert asked < total / 20, asked


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("20 °C", "cp1252"), ("5 µm – “x”", "cp1252"), ("20 °C", "mac-roman"), ("備用", "cp950"), ("Größe", "cp1252")],
)
def test_a_single_word_or_sign_is_enough_where_no_other_reading_is_near(text: str, encoding: str) -> None:
    candidates = readings(text.encode(encoding))
    assert (candidates[0].text, is_sure(candidates)) == (text, True)


def test_an_unsure_encoding_is_a_question_with_a_sample_of_each(admin: Client, upload: Upload) -> None:
    import_ = upload(admin, content=UNSURE, filename="servers.csv")
    problem = import_["problem"]
    assert (import_["status"], problem["reason"]) == ("invalid", "ambiguous_encoding")
    samples = {candidate["encoding"]: candidate["sample"] for candidate in problem["candidates"]}
    assert {"srv-na1;Lucia Cantù", "srv-na1;Lucia Cantů"} <= set(samples.values())
    assert all(encoding in problem["message"] for encoding in samples)
    (western,) = (encoding for encoding, sample in samples.items() if sample.endswith("Cantù"))
    path = f"/api/imports/{import_['id']}"
    admin.call("PATCH", path, expect=202, json={"encoding": western, "revision": import_["revision"]})
    runner_of(admin.app).run_pending()
    import_ = admin.call("GET", path)["data"]
    assert (import_["status"], import_["sheets"][0]["text"]["encoding"]) == ("ready", western)
    assert rows_of(admin, import_)[0]["changes"]["owner"]["new"] == "Lucia Cantù"


def test_bytes_that_are_no_text_in_any_encoding_are_refused() -> None:
    with pytest.raises(UnreadableWorkbook) as refused:
        read(bytes(range(1, 256)) * 8)
    assert refused.value.reason == "not_csv"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_named_by_itself(encoding: str) -> None:
    assert named_encoding(encoding) == encoding
