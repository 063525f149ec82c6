"""Reading workbooks, and refusing hostile ones within limits of time and memory."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time as time_module
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.chart import BarChart
from openpyxl.styles import Font
from openpyxl.worksheet.worksheet import Worksheet

from app.sheets.sandbox import runner
from app.sheets.workbook import Limits, UnreadableWorkbook, Value, check_file, read_workbook
from tests.features.sheets import hostile
from tests.features.sheets.hostile import SHEET, cell, row
from tests.features.sheets.packages import parts_of, save

Rows = list[list[Value]]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only place for temporary files, which is empty again after each test."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


def rows_of(content: bytes | Path, limits: Limits | None = None) -> dict[str, Rows]:
    with read_workbook(content, limits or Limits()) as workbook:
        rows = {sheet.name: list(sheet.rows()) for sheet in workbook.sheets}
        assert [sheet.row_count for sheet in workbook.sheets] == [len(r) for r in rows.values()]
        return rows


def watched(content: bytes, filename: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is told of the rows while a file is read."""
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.001)
    with read_workbook(content, filename=filename, watch=lambda rows, expected: seen.append((rows, expected))):
        return seen


def refusal_of(content: bytes, limits: Limits | None = None) -> str:
    with (
        pytest.raises(UnreadableWorkbook) as refusal,
        read_workbook(content, limits or Limits()),
    ):
        pass
    message = str(refusal.value)
    assert message[0].isupper()
    assert message.endswith(".")
    assert tempfile.gettempdir() not in message
    return refusal.value.reason


def blank_workbook() -> tuple[openpyxl.Workbook, Worksheet]:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert isinstance(sheet, Worksheet)
    return workbook, sheet


def saved(workbook: openpyxl.Workbook) -> bytes:
    file = BytesIO()
    workbook.save(file)
    return file.getvalue()


def sheet_of(*rows: list[Any]) -> bytes:
    workbook, sheet = blank_workbook()
    for values in rows:
        sheet.append(values)
    return saved(workbook)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("gpu-01", "gpu-01"),
        ("  padded ", "  padded "),
        ("服务器 ü 🖥 <&>", "服务器 ü 🖥 <&>"),
        ("two\nlines", "two\nlines"),
        ("0042", "0042"),
        (32, 32),
        (32.0, 32),
        (-7, -7),
        (15.898, 15.898),
        (1 / 3, 1 / 3),
        (2.0**53 - 1, 2**53 - 1),
        (2.0**53, 2.0**53),
        (1e300, 1e300),
        (True, True),
        (False, False),
        (date(2027, 10, 24), "2027-10-24"),
        (datetime.fromisoformat("2027-10-24T00:00:00"), "2027-10-24"),
        (datetime.fromisoformat("2027-10-24T08:00:00"), "2027-10-24T08:00:00"),
        (datetime.fromisoformat("2027-10-24T23:59:59"), "2027-10-24T23:59:59"),
        (time(8, 30), "08:30:00"),
        (timedelta(hours=30, seconds=5), "30:00:05"),
        ("#N/A", "#N/A"),
        ("#DIV/0!", "#DIV/0!"),
    ],
)
def test_values_keep_their_type(written: object, read: Value) -> None:
    (value,) = rows_of(sheet_of([written]))["Sheet"][0]
    assert value == read
    assert type(value) is type(read)


def test_error_cells_are_not_empty() -> None:
    computed = '<c r="C3" s="0" t="e"><f>VLOOKUP(A1,B:C,2)</f><v>#REF!</v></c>'
    content = hostile.workbook("", row(3, cell("B3"), computed, '<c r="E3" t="e"><v>#N/A</v></c>'))
    assert rows_of(content) == {"S1": [], "S2": [[], [], [None, 1, "#REF!", None, "#N/A"]]}


def test_error_cells_are_found_under_a_namespace_prefix() -> None:
    cells = '<x:row r="1"><x:c r="B1" t="e"><x:f>A1</x:f><x:v>#NAME?</x:v></x:c></x:row>'
    sheet = f'<x:worksheet xmlns:x="main"><x:sheetData>{cells}</x:sheetData></x:worksheet>'
    contents = hostile.parts("") | {SHEET: sheet}
    assert rows_of(hostile.packed(contents)) == {"S1": [[None, "#NAME?"]]}
    backslashes = {name.replace("/", "\\"): content for name, content in contents.items()}
    assert rows_of(hostile.packed(backslashes)) == {"S1": [[None, "#NAME?"]]}


def test_rows_and_columns_are_numbered_as_in_the_spreadsheet() -> None:
    workbook, sheet = blank_workbook()
    sheet["C4"] = "name"
    sheet["E4"] = "slot"
    sheet["D7"] = "x"
    assert rows_of(saved(workbook)) == {
        "Sheet": [[], [], [], [None, None, "name", None, "slot"], [], [], [None, None, None, "x"]]
    }


def test_cells_without_a_reference_are_consecutive() -> None:
    text = '<c t="inlineStr"><is><t>a</t></is></c>'
    content = hostile.workbook(f"<row>{text}<c><v>2</v></c></row><row/><row>{text}</row>")
    assert rows_of(content) == {"S1": [["a", 2], [], ["a"]]}


def test_empty_text_and_formats_are_not_values() -> None:
    workbook, sheet = blank_workbook()
    sheet.append(["a", "", None])
    for number in range(2, 2000):
        sheet.cell(number, 3).font = Font(bold=True)
    assert rows_of(saved(workbook), Limits(rows=1, columns=1)) == {"Sheet": [["a"]]}


def test_formulas_with_empty_results_do_not_make_rows() -> None:
    formulas = "".join(row(n, f'<c r="A{n}" t="str"><f>""</f><v></v></c>') for n in range(2, 2000))
    content = hostile.workbook(row(1, cell("A1")) + formulas)
    assert rows_of(content, Limits(rows=1)) == {"S1": [[1]]}


def test_formatted_empty_rows_are_not_read() -> None:
    phantoms = "".join(f'<row r="{n}" s="1"><c r="XFD{n}" s="1"/></row>' for n in range(2, 50_000))
    content = hostile.workbook(row(1, cell("A1")) + phantoms + '<row r="1048576" s="1"/>')
    assert rows_of(content, Limits(rows=1)) == {"S1": [[1]]}


def test_hidden_sheets_are_read_and_charts_are_not() -> None:
    workbook, sheet = blank_workbook()
    sheet.title = "服务器 & <more>"
    workbook.create_chartsheet("Chart").add_chart(BarChart())
    for title, state in (("Hidden", "hidden"), ("Deep", "veryHidden"), ("Blank", "visible")):
        workbook.create_sheet(title).sheet_state = state
    workbook["Hidden"]["A1"] = "h"
    workbook["Deep"]["B1"] = 2
    assert rows_of(saved(workbook)) == {
        "服务器 & <more>": [],
        "Hidden": [["h"]],
        "Deep": [[None, 2]],
        "Blank": [],
    }


def test_a_workbook_can_be_given_as_a_path(tmp_path: Path) -> None:
    path = tmp_path / "fleet.xlsm"
    path.write_bytes(sheet_of(["a", 1]))
    assert rows_of(path) == {"Sheet": [["a", 1]]}


def test_macros_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "fleet.xlsm"
    path.write_bytes(sheet_of(["a", 1]))
    parts = parts_of(path)
    types, relations = "[Content_Types].xml", "xl/_rels/workbook.xml.rels"
    kind, office = "application/vnd.ms-office.vbaProject", "http://schemas.microsoft.com/office/2006/relationships"
    declared = f'<Default Extension="bin" ContentType="{kind}"/></Types>'
    related = f'<Relationship Id="rId99" Type="{office}/vbaProject" Target="vbaProject.bin"/></Relationships>'
    enabled = b"vnd.ms-excel.sheet.macroEnabled.main"
    main = parts[types].replace(b"vnd.openxmlformats-officedocument.spreadsheetml.sheet.main", enabled)
    parts[types] = main.replace(b"</Types>", declared.encode())
    parts[relations] = parts[relations].replace(b"</Relationships>", related.encode())
    save(path, {**parts, "xl/vbaProject.bin": b"\xd0\xcf\x11\xe0" + bytes(5000)})
    assert enabled in parts_of(path)[types]
    assert rows_of(path) == {"Sheet": [["a", 1]]}


def test_rows_can_be_iterated_repeatedly_and_concurrently() -> None:
    with read_workbook(sheet_of(*[[n, f"name {n}"] for n in range(500)])) as workbook:
        (sheet,) = workbook.sheets
        pairs = list(zip(sheet.rows(), sheet.rows(), strict=True))
    assert len(pairs) == 500
    assert all(left == right for left, right in pairs)
    assert pairs[499][0] == [499, "name 499"]


def test_temporary_files_are_deleted_if_reading_rows_fails(temporary: Path) -> None:
    def fail() -> None:
        with read_workbook(sheet_of(["a"])) as workbook:
            assert list(temporary.iterdir())
            next(workbook.sheets[0].rows())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"hostname,ip\nweb-1,10.0.0.1\n",
        b"\xef\xbb\xbfhostname;ip\n",
        b"<html><table><tr><td>a</td></tr></table></html>",
        b"<?xml version='1.0'?><Workbook/>",
        b"%PDF-1.7",
        hostile.packed({"readme.txt": "hello"}),
        hostile.packed({"[Content_Types].xml": "<Types/>", "word/document.xml": "<document/>"}),
    ],
)
def test_other_files_are_not_workbooks(content: bytes) -> None:
    assert refusal_of(content) == "not_a_workbook"


def test_old_and_encrypted_workbooks_have_different_reasons() -> None:
    honest = hostile.workbook(row(1, cell("A1")))
    assert refusal_of(hostile.compound_file("Root Entry", "Workbook")) == "old_excel"
    assert refusal_of(hostile.compound_file("Root Entry", "EncryptedPackage")) == "encrypted"
    assert refusal_of(hostile.with_claim(honest, SHEET, "flags", 1)) == "encrypted"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-30],
        lambda content: content[:200] + bytes(40) + content[240:],
        lambda content: hostile.with_claim(content, SHEET, "unpacked_bytes", 7),
        lambda content: hostile.with_claim(content, SHEET, "method", 12),
        lambda content: hostile.renamed(content, "sheet1.xml", "sheetX.xml"),
    ],
    ids=["half", "no end", "hole", "wrong size", "unknown method", "no such part"],
)
def test_a_damaged_workbook(damage: Callable[[bytes], bytes]) -> None:
    content = hostile.workbook("".join(row(n, cell(f"A{n}", n * n)) for n in range(1, 200)))
    assert rows_of(content)["S1"][198] == [199 * 199]
    assert refusal_of(damage(content)) == "damaged"


@pytest.mark.parametrize("name", ["../../evil.xml", "/etc/evil.xml", "C:\\evil.xml", "xl\\..\\..\\e.xml", "xl/.."])
def test_part_paths_outside_of_the_package_are_refused(name: str) -> None:
    content = hostile.workbook("", **{"x" * len(name): "<x/>"})
    assert refusal_of(hostile.renamed(content, "x" * len(name), name)) == "unsafe"


def test_duplicate_part_names_are_refused() -> None:
    assert refusal_of(hostile.workbook("", **{"XL/Workbook.xml": "<workbook/>"})) == "unsafe"


def test_overlapping_parts_are_refused() -> None:
    content = hostile.workbook("")
    assert refusal_of(hostile.with_claim(content, SHEET, "packed_bytes", 1 << 30)) == "unsafe"


def test_too_many_parts_are_refused() -> None:
    assert refusal_of(hostile.workbook("", **{f"{n}": "" for n in range(10_001)})) == "unsafe"


def test_several_sheets_with_one_part_are_refused() -> None:
    contents = hostile.parts("", "")
    relations = contents["xl/_rels/workbook.xml.rels"].replace("sheet2.xml", "sheet1.xml")
    assert refusal_of(hostile.workbook("", "", **{"xl/_rels/workbook.xml.rels": relations})) == ("unsafe")


@pytest.mark.parametrize("part", [SHEET, "xl/sharedStrings.xml", "xl/_rels/workbook.xml.rels"])
def test_entities_are_refused(part: str) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    document = f'<?xml version="1.0"?>{" " * 100_000}<!DOCTYPE s [<!ENTITY l0 "ha">{laughs}]>&l9;'
    assert refusal_of(hostile.workbook("", **{part: document})) == "unsafe"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_parts_in_utf_16_are_refused(encoding: str) -> None:
    sheet = f"\ufeff{hostile.parts(row(1, cell('A1')))[SHEET]}".encode(encoding)
    assert refusal_of(hostile.workbook("", **{SHEET: sheet})) == "unsafe"


@pytest.mark.parametrize("part", [SHEET, "xl/sharedStrings.xml", "xl/media/image1.png"])
def test_a_zip_bomb_with_a_wrong_size_is_refused(part: str) -> None:
    bomb = hostile.workbook("", **{part: bytes(64 << 20)})
    assert len(bomb) < 100_000
    assert refusal_of(hostile.with_claim(bomb, part, "unpacked_bytes", 100)) == "too_large_unpacked"


def test_an_archive_inside_of_a_part_is_not_unpacked() -> None:
    bomb = hostile.workbook("", **{SHEET: bytes(64 << 20)})
    assert rows_of(hostile.workbook(row(1, cell("A1")), **{"xl/embeddings/inner.xlsx": bomb})) == {"S1": [[1]]}


def test_the_only_value_in_a_far_corner() -> None:
    content = hostile.workbook('<row><c s="0" r="XFD1048576"><v>1</v></c></row>')
    assert refusal_of(content) == "too_many_columns"


HALF = 48 << 19
"""Bytes of half of the largest upload."""
ENTITIES = f'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "{"ha" * 9999}"><!ENTITY b "{"&a;" * 9999}">]><s>&b;</s>'
FAR = "<row><c s='0' r='XFD1048576'><v>1</v></c></row>"
RECTANGLE = "<row><c s='0' r='SR1048576'><v>1</v></c></row>"
A1 = row(1, cell("A1"))

HOSTILE: dict[str, tuple[Callable[[], bytes], str, str | None]] = {
    "bomb": (lambda: hostile.workbook("", **{SHEET: bytes(200 << 20)}), "a.xlsx", "too_large_unpacked"),
    "bomb that lies": (
        lambda: hostile.with_claim(hostile.workbook("", **{SHEET: bytes(200 << 20)}), SHEET, "unpacked_bytes", 9),
        "a.xlsx",
        "too_large_unpacked",
    ),
    "many bombs": (
        lambda: hostile.workbook("", **{f"{n}.bin": bytes(4 << 20) for n in range(129)}),
        "a.xlsx",
        "too_large_unpacked",
    ),
    "entities": (lambda: hostile.workbook("", **{SHEET: ENTITIES}), "a.xlsx", "unsafe"),
    "far corner": (lambda: hostile.workbook(A1 + row(1048576, cell("XFD1048576"))), "a.xlsx", "too_many_columns"),
    "far corner, disguised": (lambda: hostile.workbook(A1 + FAR), "a.xlsx", "too_large_unpacked"),
    "rectangle": (lambda: hostile.workbook(A1 + RECTANGLE), "a.xlsx", "too_large_unpacked"),
    # They hold nothing, so there is nothing to refuse.
    "phantom rows": (
        lambda: hostile.workbook("".join(f'<row r="{n}"><c r="A{n}" s="1"/></row>' for n in range(1, 1 << 19))),
        "a.xlsx",
        None,
    ),
    "lying directory": (
        lambda: hostile.with_claim(hostile.workbook(A1), SHEET, "unpacked_bytes", 7),
        "a.xlsx",
        "damaged",
    ),
    "slip": (
        lambda: hostile.renamed(hostile.workbook("", **{"x" * 14: "<x/>"}), "x" * 14, "../../evil.xml"),
        "a.xlsx",
        "unsafe",
    ),
    "encrypted": (lambda: hostile.compound_file("EncryptedPackage") + bytes(HALF), "a.xlsx", "encrypted"),
    "xls": (lambda: hostile.compound_file("Workbook") + bytes(HALF), "a.xlsx", "old_excel"),
    "HTML as a workbook": (lambda: b"<html>".ljust(HALF), "a.xlsx", "not_a_workbook"),
    "CSV as a workbook": (lambda: b"name,ip\n" * (HALF >> 3), "a.xlsx", "not_a_workbook"),
    "HTML as CSV": (lambda: b"<html>".ljust(HALF), "a.csv", "not_csv"),
    "a workbook as CSV": (lambda: hostile.workbook(A1), "a.csv", "not_csv"),
    "bytes as CSV": (lambda: b"a,b\n" * 20_000 + bytes(range(256)) * (HALF >> 8), "a.csv", "not_csv"),
    "one line as CSV": (lambda: b"a" * HALF, "a.csv", "too_long_line"),
    "one quotation as CSV": (lambda: b'"' + b"a,b\n" * (HALF >> 2), "a.csv", "damaged"),
}


@pytest.mark.parametrize(("make", "filename", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_costs_two_seconds_and_100_megabytes_at_most(
    make: Callable[[], bytes], filename: str, reason: str | None
) -> None:
    """The system gives the program that reads no more memory; what it spends is what it says itself."""
    content = make()
    refused = None
    began, children = time_module.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    tracemalloc.start()
    try:
        check_file(BytesIO(content), filename)
        with read_workbook(content, Limits(memory_bytes=100 << 20), filename=filename) as workbook:
            assert [sheet.row_count for sheet in workbook.sheets] == [0]
    except UnreadableWorkbook as refusal:
        refused = refusal.reason
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    assert refused == reason
    assert time_module.process_time() - began + spent < 2
    # Beside the file itself, which the test keeps twice.
    assert peak - len(content) < 10 << 20


def test_the_total_size_is_limited() -> None:
    more = {f"xl/media/{n}.bin": os.urandom(100_000) for n in range(4)}
    content = hostile.workbook("", **more)
    assert rows_of(content) == {"S1": []}
    assert refusal_of(content, Limits(unpacked_bytes=300_000)) == "too_large_unpacked"


def test_the_size_of_rows_as_text_is_limited() -> None:
    strings = f"<sst><si><t>{'x' * 30_000}</t></si></sst>"
    repeated = "".join(row(n, f'<c r="A{n}" t="s"><v>0</v></c>') for n in range(1, 200))
    content = hostile.workbook(repeated, **{"xl/sharedStrings.xml": strings})
    assert len(rows_of(content)["S1"]) == 199
    assert refusal_of(content, Limits(unpacked_bytes=1_000_000)) == "too_large_unpacked"


def test_the_size_of_a_row_is_limited() -> None:
    strings = f"<sst><si><t>{'x' * 1_000_000}</t></si></sst>"
    cells = [f'<c r="{letter}1" t="s"><v>0</v></c>' for letter in "ABCDEFGHIJKLMNOPQRS"]
    content = hostile.workbook(row(1, *cells), **{"xl/sharedStrings.xml": strings})
    assert refusal_of(content) == "too_large_unpacked"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (row(1048576, cell("XFD1048576")), "too_many_columns"),
        (row(1048576, cell("A1048576")), "too_many_rows"),
        (row(1, cell("XFD1")) + row(2, cell("A2")), "too_many_columns"),
        (row(1, cell("ZZ1")), "too_many_columns"),
        (row(1048576, '<c r="A1048576" t="inlineStr"><is><t>x</t></is></c>'), "too_many_rows"),
        ('<row><c s="0" r="A300000"><v>1</v></c></row>', "too_many_rows"),
        ('<row><c s="0" r="XFD1048576"><v>1</v></c></row>', "too_large_unpacked"),
        ("<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>", "too_large_unpacked"),
    ],
)
def test_a_value_in_a_far_corner(cells: str, reason: str) -> None:
    assert refusal_of(hostile.workbook(row(1, cell("A1")) + cells)) == reason


@pytest.mark.parametrize("reference", ["A99999999999", "A4294967295", "A1048577"])
def test_row_numbers_beyond_excel_are_refused(reference: str) -> None:
    assert refusal_of(hostile.workbook(f"<row>{cell(reference)}</row>")) == "too_many_rows"
    disguised = f'<row><c s="0" r="{reference}"><v>1</v></c></row>'
    assert refusal_of(hostile.workbook(disguised)) == "too_many_rows"


def test_limits_are_inclusive_and_count_all_sheets() -> None:
    content = hostile.workbook(row(1, cell("C1")) + row(3, cell("A3")), row(2, cell("B2")))
    assert len(rows_of(content, Limits(rows=5, columns=3, sheets=2))) == 2
    assert refusal_of(content, Limits(rows=4)) == "too_many_rows"
    assert refusal_of(content, Limits(columns=2)) == "too_many_columns"
    assert refusal_of(content, Limits(sheets=1)) == "too_many_sheets"


def test_memory_and_time_of_the_reader_are_limited() -> None:
    content = hostile.workbook("".join(row(n, cell(f"A{n}"), cell(f"ZZ{n}")) for n in range(1, 2000)))
    assert len(rows_of(content, Limits(columns=702))["S1"]) == 1999
    assert refusal_of(content, Limits(columns=702, memory_bytes=40 << 20)) == "too_large_unpacked"
    assert refusal_of(content, Limits(columns=702, seconds=0)) == "too_slow"


def test_a_workbook_says_how_many_rows_it_has_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    book = openpyxl.Workbook()
    for sheet, count in ((book.active, 40), (book.create_sheet("Second"), 2)):
        assert isinstance(sheet, Worksheet)
        for number in range(count):
            sheet.append([number])
    seen = watched(saved(book), "fleet.xlsx", monkeypatch)
    assert (seen[0], seen[-1]) == ((0, 42), (42, 42))


def test_the_lines_of_a_text_are_its_expected_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(b'Name\r\nn1\r\n"n2\r\nof two lines"\r\n', "fleet.csv", monkeypatch)
    assert (seen[0], seen[-1]) == ((0, 4), (3, 3))


@pytest.mark.parametrize("dimension", ["", '<dimension ref="A1:XFD1048576"/>'])
def test_a_workbook_that_does_not_say_how_many_rows_it_has(dimension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = hostile.parts(row(1, cell("A1")))
    content = hostile.packed({**parts, SHEET: parts[SHEET].replace("<sheetData>", f"{dimension}<sheetData>")})
    seen = watched(content, "fleet.xlsx", monkeypatch)
    assert (seen[0], seen[-1]) == ((0, 0), (1, 1))


def test_rows_are_counted_while_a_program_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    program = """print('{"sheet": "a"}', '["]"]', "[2]", sep="\\n", flush=True); input()"""
    seen: list[int] = []
    with path.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=output)

    def watch(rows: int) -> None:
        seen.append(rows)
        if rows == 2 and process.stdin is not None:
            process.communicate(b"\n")

    with process:
        assert runner._wait(process, path, 60, watch) == 0
    assert seen[-1] == 2


def test_a_reading_that_is_stopped_ends_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(_rows: int, _expected: int) -> None:
        raise Stop

    wait = runner._wait

    def wait_and_note(process: Any, *arguments: Any) -> int:
        try:
            return wait(process, *arguments)
        finally:
            processes.append(process)

    processes: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(runner, "_wait", wait_and_note)
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.001)
    with pytest.raises(Stop), read_workbook(sheet_of(["a"]), watch=stop):
        pass
    assert [process.returncode for process in processes] == [-signal.SIGKILL]
