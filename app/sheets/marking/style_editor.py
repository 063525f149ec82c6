"""Adds the formats of marked cells to the styles of a workbook."""

from app.sheets.marking.marks import COLOURS
from app.sheets.marking.sheet_scanner import MAIN
from app.sheets.marking.xml_edits import Edits, Element, NotEditable, element, outline, with_attributes

MAX_FORMATS = 64_000


class StyleEditor:
    """The styles part of a workbook. All methods raise NotEditable."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        root = outline(content, MAIN)
        self._fills, self._formats = root.required_child("fills"), root.required_child("cellXfs")
        self._added: dict[tuple[int, str], int] = {}

    def marked(self, base: int, kind: str) -> int:
        """The index of a copy of the format `base` with the fill of a kind of mark."""
        index = self._added.get((base, kind))
        if index is not None:
            return index
        index = len(self._formats.children) + len(self._added)
        if base >= len(self._formats.children) or index >= MAX_FORMATS:
            raise NotEditable(f"There is no format {base}, or no room for another one.")
        return self._added.setdefault((base, kind), index)

    def result(self) -> bytes:
        if not self._added:
            return self._content
        edits = Edits(self._content)
        first = len(self._fills.children)
        fills = {kind: first + number for number, kind in enumerate(COLOURS)}
        self._append(edits, self._fills, [self._fill(colour) for colour in COLOURS.values()])
        self._append(edits, self._formats, [self._format(base, fills[kind]) for base, kind in self._added])
        return edits.result()

    def _append(self, edits: Edits, parent: Element, new: list[bytes]) -> None:
        count = len(parent.children) + len(new)
        tag = self._content[parent.start : parent.open_end]
        if parent.close is None:
            raise NotEditable(f"Element {parent.tag} is empty.")
        edits.replace(parent.start, parent.open_end, with_attributes(tag, count=str(count)))
        edits.append(parent, b"".join(new))

    def _fill(self, colour: str) -> bytes:
        prefix = self._fills.prefix
        shade = f'<{prefix}fgColor rgb="FF{colour}"/><{prefix}bgColor indexed="64"/>'
        pattern = f'<{prefix}patternFill patternType="solid">{shade}</{prefix}patternFill>'
        return element(f"{prefix}fill", (), pattern)

    def _format(self, base: int, fill: int) -> bytes:
        original = self._formats.children[base]
        tag = self._content[original.start : original.open_end]
        copy = with_attributes(tag, fillId=str(fill), applyFill="1")
        return copy + self._content[original.open_end : original.end]
