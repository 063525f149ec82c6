"""Property: marking a workbook changes the marked cells and nothing else, whatever the workbook."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openpyxl
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.workbook import Workbook
from python_calamine import CalamineWorkbook

from app.sheets.marking.marks import COLOURS, Mark, RowMarks, SheetMarks
from app.sheets.marking.package_editor import mark
from tests.features.sheets.packages import parts_of, save, with_prefix

Place = tuple[int, int]
"""Row and column of a cell, counted from 1."""

TEXTS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x1F600, exclude_categories=("Cs", "Cn", "Co")),
    min_size=1,
    max_size=8,
)
VALUES = st.one_of(
    st.none(),
    TEXTS.filter(lambda text: text[0] not in "={"),
    st.sampled_from(["=1+1", "<&>\"'", " padded ", "two\nlines", "]]>"]),
    st.integers(-(10**9), 10**9),
    st.floats(-1e6, 1e6).map(lambda value: round(value, 3)),
    st.booleans(),
)


@dataclass
class Model:
    """A sheet to write, and its marks."""

    name: str
    rows: list[list[Any]]
    header_row: int
    marked: bool
    styles: dict[Place, tuple[bool, str | None]] = field(default_factory=dict)
    comments: dict[Place, str] = field(default_factory=dict)
    merged: tuple[int, int, int, int] | None = None
    row_marks: list[RowMarks] = field(default_factory=list)

    @property
    def width(self) -> int:
        return max(len(row) for row in self.rows)

    def anchor(self, place: Place) -> Place:
        """The cell that is shown for a cell, which may be merged with others."""
        if self.merged is not None:
            top, left, bottom, right = self.merged
            if top <= place[0] <= bottom and left <= place[1] <= right:
                return top, left
        return place

    def is_covered(self, place: Place) -> bool:
        return self.anchor(place) != place

    def cells(self) -> Iterator[tuple[Place, Any]]:
        for number, row in enumerate(self.rows, 1):
            for column, value in enumerate(row, 1):
                if not self.is_covered((number, column)):
                    yield (number, column), value


@st.composite
def sheets(draw: st.DrawFn, name: str) -> Model:
    columns = draw(st.integers(1, 5))
    header_row = draw(st.integers(1, 3))
    row = st.lists(VALUES, min_size=columns, max_size=columns)
    titles = st.lists(TEXTS.filter(lambda text: text[0] not in "={"), min_size=columns, max_size=columns)
    rows = [*draw(st.lists(row, min_size=header_row - 1, max_size=header_row - 1)), draw(titles)]
    rows += draw(st.lists(row, max_size=6))
    model = Model(name, rows, header_row, draw(st.booleans()))
    places = st.tuples(st.integers(1, len(rows)), st.integers(1, columns))
    model.styles = draw(
        st.dictionaries(places, st.tuples(st.booleans(), st.sampled_from([None, "00FF00"])), max_size=6)
    )
    if len(rows) > header_row and draw(st.booleans()):
        top, bottom = sorted(
            (draw(st.integers(header_row + 1, len(rows))), draw(st.integers(header_row + 1, len(rows))))
        )
        left, right = sorted((draw(st.integers(1, columns)), draw(st.integers(1, columns))))
        if (top, left) != (bottom, right):
            model.merged = top, left, bottom, right
    comments = draw(st.dictionaries(places, TEXTS, max_size=3))
    model.comments = {place: text for place, text in comments.items() if not model.is_covered(place)}
    filled = [number for number, values in enumerate(rows, 1) if any(value is not None for value in values)]
    # A plan has only rows with values; values below a merged cell are not stored.
    filled = [
        number for number in filled if any(place[0] == number and value is not None for place, value in model.cells())
    ]
    mark_lists = st.lists(
        st.builds(Mark, st.one_of(st.none(), st.integers(0, columns)), st.sampled_from(sorted(COLOURS)), TEXTS),
        max_size=3,
    )
    for number in filled:
        if number == header_row:
            model.row_marks.append(RowMarks(number, None, draw(mark_lists)))
        elif number > header_row:
            model.row_marks.append(RowMarks(number, draw(st.sampled_from(["create", "error"])), draw(mark_lists)))
    return model


WORKBOOKS = st.tuples(sheets("Servers"), sheets("Größe <&> 中"), sheets("Notes"))


def write_with_openpyxl(path: Path, models: tuple[Model, ...]) -> None:
    """Shared strings."""
    book = Workbook()
    book.remove(book.active)
    for model in models:
        page = book.create_sheet(model.name)
        for (row, column), value in model.cells():
            page.cell(row, column).value = value
        for place, (bold, colour) in model.styles.items():
            if not model.is_covered(place):
                page.cell(*place).font = Font(bold=bold)
                if colour:
                    page.cell(*place).fill = PatternFill("solid", fgColor=colour)
        for place, text in model.comments.items():
            page.cell(*place).comment = Comment(text, "Ann")
        if model.merged is not None:
            top, left, bottom, right = model.merged
            page.merge_cells(start_row=top, start_column=left, end_row=bottom, end_column=right)
    book.save(path)


def write_with_xlsxwriter(path: Path, models: tuple[Model, ...]) -> None:
    """Inline strings."""
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        for model in models:
            page = book.add_worksheet(model.name)
            for place, value in model.cells():
                bold, colour = model.styles.get(place, (False, None))
                look = {"bold": bold, **({"bg_color": f"#{colour}"} if colour else {})}
                cell_format = book.add_format(look) if place in model.styles else None
                row, column = place[0] - 1, place[1] - 1
                if value is None:
                    page.write_blank(row, column, None, cell_format)
                elif isinstance(value, str) and not value.startswith("="):
                    page.write_string(row, column, value, cell_format)
                else:
                    page.write(row, column, value, cell_format)
            for place, text in model.comments.items():
                page.write_comment(place[0] - 1, place[1] - 1, text)
            if model.merged is not None:
                # `merge_range` writes cells, which is too late in constant memory.
                top, left, bottom, right = (number - 1 for number in model.merged)
                page.merge.append([top, left, bottom, right])


def looks(path: Path) -> dict[str, dict[Place, tuple[Any, str | None, str, bool, str]]]:
    """Value, comment, colour, boldness and number format of each cell that is more than empty."""
    return {
        page.title: {
            (cell.row, cell.column): (
                cell.value,
                cell.comment.text if cell.comment else None,
                str(cell.fill.fgColor.rgb)[-6:] if cell.fill.fill_type else "",
                bool(cell.font.b),
                cell.number_format,
            )
            for row in page.iter_rows()
            for cell in row
            if cell.value is not None or cell.comment or cell.has_style
        }
        for page in openpyxl.load_workbook(path).worksheets
    }


def calamine_rows(path: Path) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_path(path)
    return {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}


def expected_looks(model: Model, before: dict[Place, Any]) -> dict[Place, Any]:
    """The looks of a marked sheet, from those of the original and the marks."""
    marked_rows = {row.row for row in model.row_marks} | {model.header_row}
    width = max(column for (_, column), look in before.items() if look[0] is not None)
    if model.merged is not None:
        top, _, bottom, right = model.merged
        anchors = {
            model.anchor((row.row, mark.column + 1))[0]
            for row in model.row_marks
            for mark in row.marks
            if mark.column is not None
        }
        if (marked_rows | anchors) & set(range(top, bottom + 1)):
            width = max(width, right)
    status = width + 1
    marks: dict[Place, list[Mark]] = defaultdict(list)
    of_rows: dict[Place, list[Mark]] = defaultdict(list)
    after = dict(before)
    empty = (None, None, "", False, "General")
    title_look = next(
        before[place]
        for place in sorted(before, reverse=True)
        if place[0] == model.header_row and before[place][0] is not None
    )
    after[model.header_row, status] = ("_import", None, title_look[2], *title_look[3:])
    for row in model.row_marks:
        if row.status is not None:
            after[row.row, status] = (row.status, *after.get((row.row, status), empty)[1:])
        for item in row.marks:
            if item.column is None:
                of_rows[row.row, status].append(item)
            else:
                marks[model.anchor((row.row, item.column + 1))].append(item)
    for place in marks.keys() | of_rows.keys():
        items = marks[place] + of_rows[place]
        value, comment, _, *rest = after.get(place, empty)
        lines = [item.text for item in items] if comment is None else [comment, *(item.text for item in items)]
        after[place] = (value, "\n".join(lines), COLOURS[items[-1].kind], *rest)
    return after


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(models=WORKBOOKS, uses_inline_strings=st.booleans(), has_prefix=st.booleans())
def test_marking_changes_the_marked_cells_and_nothing_else(
    tmp_path: Path, models: tuple[Model, ...], uses_inline_strings: bool, has_prefix: bool
) -> None:
    original, marked = tmp_path / "original.xlsx", tmp_path / "marked.xlsx"
    (write_with_xlsxwriter if uses_inline_strings else write_with_openpyxl)(original, models)
    if has_prefix:
        save(original, with_prefix(parts_of(original)))
    mark(
        str(original),
        str(marked),
        [SheetMarks(model.name, model.header_row, None, model.row_marks) for model in models if model.marked],
    )
    before, after = looks(original), looks(marked)
    for model in models:
        expected = expected_looks(model, before[model.name]) if model.marked else before[model.name]
        assert after[model.name] == expected
    check_parts(models, original, marked)
    check_values(models, original, marked)


def check_parts(models: tuple[Model, ...], original: Path, marked: Path) -> None:
    """Parts without marks are the same bytes, and no part is lost."""
    before, after = parts_of(original), parts_of(marked)
    assert before.keys() <= after.keys()
    changed = {name for name in before if after[name] != before[name]}
    sheets_marked = {f"xl/worksheets/sheet{number}.xml" for number, model in enumerate(models, 1) if model.marked}
    may_change = {"xl/styles.xml", "[Content_Types].xml"} | sheets_marked
    assert all(
        name in may_change or "omment" in name or "vmlDrawing" in name or name.endswith(".rels") for name in changed
    )
    assert sheets_marked <= changed
    if not sheets_marked:
        assert changed == set()


def check_values(models: tuple[Model, ...], original: Path, marked: Path) -> None:
    """Our own reader sees the same values, and the statuses behind them."""
    before, after = calamine_rows(original), calamine_rows(marked)
    for model in models:
        rows = after[model.name]
        if model.marked:
            for number, row in enumerate(before[model.name]):
                width = len(row)
                assert rows[number][:width] == row
        else:
            assert rows == before[model.name]
