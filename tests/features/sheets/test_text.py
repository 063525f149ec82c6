"""Delimited text: detection of encoding, delimiter and line ends, and refusals."""

import resource
import time
from io import BytesIO
from typing import Any

import pytest

from app.catalog import IMPORTABLE
from app.imports.parse.cells import CellFormat, reader_of
from app.servers.models import Server
from app.sheets.workbook import Limits, UnreadableWorkbook, read_workbook
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import Upload, errors_of, rows_of, workbook
from tests.spread import any_database

APPLY = {"apply": "true"}
CHINESE = "实例名(必填),所属机房,备注\nn1,上海一号,在用\nn2,北京二号,\n"
JAPANESE = "名前,場所\nサーバー1,東京\n"
FRENCH = "Nom;Emplacement;Propriétaire\nsrv1;Málaga;Élodie Lefèvre\nsrv2;à contrôler;Hélène\n"


def read(content: bytes, limits: Limits | None = None) -> tuple[dict[str, str] | None, list[list[Any]]]:
    with read_workbook(content, limits or Limits(), filename="fleet.csv") as book:
        (sheet,) = book.sheets
        assert sheet.name == "fleet"
        return sheet.text, list(sheet.rows())


def refusal(content: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableWorkbook) as refused:
        read(content, limits)
    assert str(refused.value).endswith(".")
    return refused.value.reason


@pytest.mark.parametrize(
    ("text", "encoding", "detected"),
    [
        ("Name,Rack\nn1,R1\n", "ascii", "utf-8"),
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8-sig"),
        (CHINESE, "utf-16", "utf-16"),
        (CHINESE, "utf-16-le", "utf-16-le"),
        (CHINESE, "utf-16-be", "utf-16-be"),
        (CHINESE, "gb18030", "gb18030"),
        (JAPANESE, "shift_jis", "cp932"),
        (FRENCH, "cp1252", "cp1252"),
        (FRENCH, "latin-1", "cp1252"),
    ],
)
def test_the_encoding_is_detected(text: str, encoding: str, detected: str) -> None:
    facts, rows = read(text.encode(encoding))
    assert facts is not None
    assert facts["encoding"] == detected
    lines = [line.rstrip(",").replace(";", ",") for line in text.splitlines()]
    assert [[cell for cell in row if cell] for row in rows] == [line.split(",") for line in lines]


def test_the_encoding_is_detected_from_text_far_into_the_file() -> None:
    text = "Name,Notes\n" + "n,plain\n" * 50_000 + "n,Größe\n"
    facts, rows = read(text.encode("cp1252"))
    assert facts is not None
    assert (facts["encoding"], rows[-1]) == ("cp1252", ["n", "Größe"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("end", "name"), [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")])
def test_delimiter_and_line_end_are_detected(delimiter: str, end: str, name: str) -> None:
    lines = ["Our machines", "", "Name,Notes,Memory", 'n1,"one, two; three",64', '"n ""2""",a|b,1,5', "n3,,"]
    content = end.join(lines).replace(",", delimiter).replace(f"one{delimiter} two", "one, two")
    facts, rows = read(f"{content}{end}".encode())
    assert facts == {"encoding": "utf-8", "delimiter": delimiter, "line_end": name}
    assert rows[0] == ["Our machines"]
    assert rows[1] == []
    assert rows[3] == ["n1", "one, two; three", "64"]
    assert rows[-1] == ["n3", None, None]


def test_a_cell_can_have_several_lines() -> None:
    _, rows = read(b'Name,Notes\r\nn1,"two\r\nlines"\r\nn2,x\r\n')
    assert rows == [["Name", "Notes"], ["n1", "two\r\nlines"], ["n2", "x"]]


def test_the_first_line_can_declare_the_delimiter() -> None:
    facts, rows = read(b"sep=|\nName|Notes\nn1|a,b\n")
    assert facts is not None
    assert (facts["delimiter"], rows) == ("|", [["Name", "Notes"], ["n1", "a,b"]])


def test_apostrophes_that_escape_formulas_are_removed() -> None:
    _, rows = read(b"Name,Notes\n'=1+1,''-x\n'quoted',-5\n")
    assert rows[1:] == [["=1+1", "'-x"], ["'quoted'", "-5"]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (workbook(Servers=[("Name",)]), "not_csv"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024), "not_csv"),
        (b"<!DOCTYPE html><table><tr><td>a</td></tr></table>", "not_csv"),
        (b"\xef\xbb\xbf  <html>", "not_csv"),
        (b"%PDF-1.7", "not_csv"),
        (b"Name,Rack\nn1,R1\nn2,\x00\n", "not_csv"),
        (bytes(1 << 20), "not_csv"),
        (CHINESE.encode("utf-16") + b"\x00\xd8", "damaged"),
        ((CHINESE * 10).encode()[:-2] + b"\xff,x\n", "damaged"),
        (b'Name,Notes\nn1,"never closed\n' + b"n2,x\n" * 1000, "damaged"),
        (b'Name,Notes\nn1,"closed" too early\n', "damaged"),
        (b"x," * 1_000_000, "too_many_columns"),
        (b"x" * 5_000_000, "too_long_line"),
        (b"\n" * 5_000_000, "too_many_rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_than_delimited_text_are_refused(content: bytes, reason: str) -> None:
    assert refusal(content) == reason


def test_limits_apply_to_text() -> None:
    content = b"a,b,c\n" * 10
    assert len(read(content, Limits(rows=10, columns=3))[1]) == 10
    assert refusal(content, Limits(rows=9)) == "too_many_rows"
    assert refusal(content, Limits(columns=2)) == "too_many_columns"
    assert refusal(content, Limits(unpacked_bytes=50)) == "too_large_unpacked"


def test_an_endless_line_is_refused_quickly() -> None:
    content = b"x" * (100 << 20)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.process_time()
    assert refusal(content) == "too_long_line"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert time.process_time() - began + after.ru_utime - before.ru_utime < 2


def test_a_text_file_is_imported_and_its_format_reported(admin: Client, upload: Upload) -> None:
    text = "﻿Name;Speicher;Memory (GB);Serial Number;In use\r\nn1;x;1.128,5;007;TRUE\r\nn2;42;64.5;8;\r\n"
    job = upload(admin, form=APPLY, content=text.encode("utf-16"), filename="Servers.csv")
    assert job["status"] == "applied"
    (sheet,) = job["sheets"]
    assert sheet["text"] == {"encoding": "utf-16", "delimiter": ";", "line_end": "CRLF"}
    first, second = admin.call("GET", "/api/servers?sort=name")["data"]
    assert (first["memory_gb"], first["serial_number"], second["serial_number"]) == (1128.5, "007", "8")
    assert (first["attributes"], second["attributes"]) == ({"speicher": "x", "in_use": True}, {"speicher": 42})


@pytest.mark.parametrize(
    ("cell", "read"),
    [("1,5", 1.5), ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("1.234.567", 1234567), ("64.5 GB", 64.5), ("0,500", 0.5)],
)
def test_decimal_commas_are_read_in_text_separated_by_semicolons(cell: str, read: float) -> None:
    assert reader_of(IMPORTABLE["servers"].fields["memory_gb"], CellFormat(decimal_comma=True))(cell) == read


def test_a_number_that_can_be_read_in_two_ways_is_refused(admin: Client, upload: Upload) -> None:
    job = upload(admin, content=b"Name;Memory\nn1;65.536\nn2;65,536\n", filename="servers.csv")
    assert errors_of(admin, job) == [("servers", 2, "B2", "number"), ("servers", 3, "B3", "number")]
    commas = upload(admin, content=b'Name,Memory\nn1,65.536\nn2,"65,536"\n', filename="servers.csv")
    assert [row["changes"]["memory_gb"]["new"] for row in rows_of(admin, commas)] == [65.536, 65536]


def test_the_sheet_is_named_after_the_file(admin: Client, upload: Upload) -> None:
    job = upload(admin, content=b"Name\nSH-1\n", filename="datacenters.csv")
    assert [(sheet["resource"], sheet["create"]) for sheet in job["sheets"]] == [("datacenters", 1)]
    wrong = upload(admin, content=b"Name,Memory\nn1,much\n", filename="servers.csv")
    assert errors_of(admin, wrong) == [("servers", 2, "B2", "number")]


@pytest.mark.parametrize(
    ("content", "name"), [(b"Name\nn1\n", "servers.xlsx"), (workbook(Servers=[("Name",)]), "servers.csv")]
)
def test_a_file_with_a_wrong_extension_is_refused_by_the_upload(admin: Client, content: bytes, name: str) -> None:
    answer = admin.call("POST", "/api/imports", expect=422, data={"file": (BytesIO(content), name)})
    assert answer["data"]["reason"] in ("not_csv", "not_a_workbook")


@any_database
@pytest.mark.parametrize("name", IMPORTABLE)
def test_importing_an_untouched_export_as_text_changes_nothing(
    name: str, admin: Client, make: Make, upload: Upload
) -> None:
    resource_ = IMPORTABLE[name]
    for k in range(6):
        make.varied(resource_.model, k)
    if name == "servers":
        make(Server, name="=1+1", owner="'-x", description="'=", attributes={"n": 4, "t": "42", "b": True, "u": "-5"})
    content = admin.send("GET", f"{resource_.path}/export?format=csv").data
    job = upload(admin, form=APPLY, content=content, filename=f"{name}.csv")
    assert job["status"] == "applied", rows_of(admin, job, "error")
    assert {row["action"] for row in rows_of(admin, job)} == {"unchanged"}, rows_of(admin, job, "update")


RUSSIAN = "Name,Owner\nru-1,Иванов Пётр\nru-2,Смирнова Анна\n"


@pytest.mark.parametrize("name", ["cp1251", "Windows-1251", "1251"])
def test_the_encoding_can_be_named(name: str, admin: Client, upload: Upload) -> None:
    job = upload(admin, form={"encoding": name}, content=RUSSIAN.encode("cp1251"), filename="servers.csv")
    assert (job["encoding"], job["sheets"][0]["text"]["encoding"]) == ("cp1251", "cp1251")
    assert [row["changes"]["owner"]["new"] for row in rows_of(admin, job)] == ["Иванов Пётр", "Смирнова Анна"]


def test_a_named_encoding_that_does_not_fit_is_said(admin: Client, upload: Upload) -> None:
    job = upload(admin, form={"encoding": "utf-8"}, content=RUSSIAN.encode("cp1251"), filename="servers.csv")
    assert (job["status"], job["problem"]["reason"]) == ("invalid", "damaged")
    answer = admin.call("POST", "/api/imports", expect=422, data={"encoding": "klingon"})
    assert "cp1251" in answer["data"]["errors"]["encoding"][0]
