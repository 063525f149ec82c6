"""Property: each cell of a workbook is used, kept, ignored by name or warned about by the plan of its import."""

import re
from datetime import date, timedelta
from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from app.core.values import Inexact
from app.servers.models import ServerType
from tests.client import Body, Client
from tests.features.conftest import Examples, Upload, rows_of
from tests.spread import any_database

TITLES = (
    *("Name", "Rack", "Owner", "Memory (GB)", "Purchase date", "Status", "Zone", "Rack", "Created at", "Bay 7"),
    *("Type", "Internal IP"),
    None,
)
FIRST_DAY = date(2020, 1, 1)
WORDS = {word: member for member in ServerType for word in (member.value, *member.aliases)}


class Page:
    """A sheet that is written from the top, each cell with a value of its own."""

    def __init__(self, sheet: Worksheet, draw: st.DrawFn) -> None:
        self.sheet, self.draw, self.row, self.count = sheet, draw, 0, 0
        self.titles: list[str | None] = []

    def chance(self, one_in: int = 2) -> bool:
        return self.draw(st.integers(1, one_in)) == 1

    def word(self) -> str:
        self.count += 1
        return f"w{self.count}q"

    def put(self, column: int, value: Any) -> None:
        self.sheet.cell(self.row, column, value)

    def value(self, title: str | None) -> Any:
        """Of a column's kind, mostly."""
        self.count += 1
        if title == "Memory (GB)" and self.chance(8) is False:
            return 64 + self.count
        if title == "Purchase date" and self.chance(8) is False:
            return FIRST_DAY + timedelta(days=self.count)
        if title == "Type" and self.chance(8) is False:
            return self.draw(st.sampled_from(list(WORDS)))
        if title == "Internal IP" and self.chance(8) is False:
            return f"10.0.{self.count // 250}.{self.count % 250}{self.draw(st.sampled_from(['', '/24', '/32']))}"
        if self.chance(20):
            return self.draw(st.sampled_from(["#N/A", "n/a", "<clear>", "=1+1"]))
        return 5000 + self.count if title != "Name" and self.chance(4) else f"w{self.count}q"

    def rows_above(self) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.row += 1
            if self.chance():
                self.put(self.draw(st.integers(1, 3)), f"Our {self.word()} machines")

    def header(self) -> None:
        self.row += 1
        others = self.draw(st.lists(st.sampled_from(TITLES[1:]), min_size=2, max_size=6))
        self.titles = ["Name", "Rack", *others]
        for column, title in enumerate(self.titles, 1):
            if title is not None:
                self.put(column, title)
        if self.chance(6):
            self.row += 1
            for column, title in enumerate(self.titles, 1):
                if title is not None:
                    self.put(column, "string")

    def objects(self) -> None:
        for _ in range(self.draw(st.integers(1, 4))):
            self.row += 1
            if self.chance(8):
                continue
            self.put(1, self.word())
            for column, title in enumerate(self.titles[1:], 2):
                if self.chance(3) is False:
                    self.put(column, self.value(title))
            if self.chance(8):
                self.put(len(self.titles) + self.draw(st.integers(1, 3)), self.word())
            if self.chance(10):
                self.put(1, None)

    def merge(self) -> None:
        """Merge cells down a column, which leaves only the first one's value."""
        column = self.draw(st.integers(2, len(self.titles)))
        first = self.draw(st.integers(max(1, self.row - 3), self.row))
        self.sheet.merge_cells(start_row=first, end_row=self.row + 1, start_column=column, end_column=column)
        self.row += 1

    def rows_below(self) -> None:
        if self.chance(3):
            self.row += 1
            self.put(1, self.draw(st.sampled_from(["Total", "合计", "Sum:"])))
            self.put(4, 7000 + self.row)
        if self.chance(3):
            self.row += 2
            self.put(self.draw(st.integers(1, 2)), f"Note: {self.word()} prices without VAT")
        if self.chance(3):
            self.row += 2
            if self.chance():
                self.put(1, "Switches")
                self.row += 1
            for cells in (("Name", "Ports"), (self.word(), 48), (self.word(), 24)):
                for column, cell in enumerate(cells, 1):
                    self.put(column, cell)
                self.row += 1

    def hide(self) -> None:
        if self.chance(4):
            self.sheet.row_dimensions[self.draw(st.integers(1, self.row))].hidden = True
        if self.chance(4):
            self.sheet.column_dimensions[get_column_letter(self.draw(st.integers(1, 5)))].hidden = True
        if self.chance(6):
            self.sheet.sheet_state = "hidden"


@st.composite
def workbooks(draw: st.DrawFn) -> Workbook:
    book = Workbook()
    book.remove(book.active)
    book.create_sheet("Cover")["B2"] = "Bought by the office"
    page = Page(book.create_sheet("Servers"), draw)
    page.rows_above()
    page.header()
    page.objects()
    if page.chance(3):
        page.merge()
        page.objects()
    page.rows_below()
    page.hide()
    if page.chance(3):
        book.create_sheet(draw(st.sampled_from(["Prices", "_prices", "Sheet 3"])))["A1"] = "Per unit"
    return book


class Account:
    """What a plan says, by place."""

    def __init__(self, import_: Body, rows: list[Body]) -> None:
        self.sheets = {sheet["sheet"]: sheet for sheet in import_["sheets"]}
        self.rows = {(row["sheet"], row["row"]): row for row in rows}

    def says(self, sheet: str, row: int, column: int, value: Any) -> bool:
        facts = self.sheets.get(sheet)
        if facts is None or facts["resource"] is None:
            return facts is not None and any("The sheet is ignored" in note for note in facts["notes"])
        letter = get_column_letter(column)
        if row in self._named_rows(facts) or f"{letter}{row}" in self._named_cells(facts):
            return True
        mapped = next((c for c in facts["columns"] if c["column"] == letter), None)
        if row == facts["header_row"]:
            return mapped is not None and mapped["title"] == value
        if mapped is not None and mapped["use"] == "ignored":
            return any(f"Column {mapped['title']} is ignored" in note for note in facts["notes"])
        planned = self.rows.get((sheet, row))
        if planned is None or mapped is None:
            return False
        if value == "<clear>":
            return True
        name = mapped["field"] or "attributes"
        new = planned["changes"].get(name, {}).get("new")
        stored = new.get(mapped["attribute"]) if name == "attributes" and new else new
        cells = {message["cell"] for message in (*planned["errors"], *planned["warnings"])}
        return _tells(stored, value) or f"{letter}{row}" in cells

    @staticmethod
    def _named_rows(facts: Body) -> set[int]:
        said = [*facts["notes"], *(warning["message"] for warning in facts["sheet_warnings"])]
        lists = [match[1] for text in said if (match := re.search(r"(?:left|Left) out.*?: row ([\d, ]+)", text))]
        return {int(number) for rows in lists for number in rows.replace(" ", "").split(",") if number}

    @staticmethod
    def _named_cells(facts: Body) -> set[str]:
        return {cell for warning in facts["sheet_warnings"] for cell in warning.get("cells", ())}


def _tells(stored: Any, cell: Any) -> bool:
    """Whether who sees the value knows what the cell said: the same, in another word, or without a host's prefix."""
    word = next((word for word in WORDS if word == cell), None)
    is_other_word = word is not None and not isinstance(word, Inexact) and WORDS[word].value == stored
    return is_other_word or str(stored) in (str(cell), str(cell).removesuffix("/32"))


def shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


@any_database
def test_every_cell_is_used_kept_ignored_by_name_or_warned_about(
    admin: Client, upload: Upload, examples: Examples
) -> None:
    @examples(40)
    @given(book=workbooks(), extra=st.sampled_from(["keep", "ignore"]))
    def said(book: Workbook, extra: str) -> None:
        content = BytesIO()
        book.save(content)
        import_ = upload(admin, content=content.getvalue(), form={"extra": extra})
        account = Account(import_, rows_of(admin, import_))
        unsaid = [
            (sheet.title, cell.coordinate, cell.value)
            for sheet in book.worksheets
            for cells in sheet.iter_rows()
            for cell in cells
            if cell.value is not None and not account.says(sheet.title, cell.row, cell.column, shown(cell.value))
        ]
        assert unsaid == [], import_["sheets"]

    said()
