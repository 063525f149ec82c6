"""The formats of a workbook, to which those of marked cells are added."""

from app.sheets.marking.facts import COLOURS
from app.sheets.marking.scan import MAIN
from app.sheets.marking.splice import Edits, Element, NotEditable, element, outline, with_attributes

MOST_FORMATS = 64_000


class StylePart:
    """The styles of a workbook. Everything raises NotEditable."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        root = outline(content, MAIN)
        self._fills, self._formats = root.needed("fills"), root.needed("cellXfs")
        self._made: dict[tuple[int, str], int] = {}

    def marked(self, base: int, kind: str) -> int:
        """The number of a format that is another one but for its fill."""
        known = self._made.get((base, kind))
        if known is not None:
            return known
        number = len(self._formats.children) + len(self._made)
        if base >= len(self._formats.children) or number >= MOST_FORMATS:
            raise NotEditable(f"There is no format {base}, or there are too many.")
        return self._made.setdefault((base, kind), number)

    def result(self) -> bytes:
        if not self._made:
            return self._content
        edits = Edits(self._content)
        fill = len(self._fills.children)
        fills = {kind: fill + number for number, kind in enumerate(COLOURS)}
        self._append(edits, self._fills, [self._fill(colour) for colour in COLOURS.values()])
        self._append(edits, self._formats, [self._format(base, fills[kind]) for base, kind in self._made])
        return edits.result()

    def _append(self, edits: Edits, where: Element, new: list[bytes]) -> None:
        count = len(where.children) + len(new)
        tag = self._content[where.start : where.open_end]
        if where.close is None:
            raise NotEditable(f"{where.tag} is empty.")
        edits.replace(where.start, where.open_end, with_attributes(tag, count=str(count)))
        edits.append(where, b"".join(new))

    def _fill(self, colour: str) -> bytes:
        prefix = self._fills.prefix
        shade = f'<{prefix}fgColor rgb="FF{colour}"/><{prefix}bgColor indexed="64"/>'
        pattern = f'<{prefix}patternFill patternType="solid">{shade}</{prefix}patternFill>'
        return element(f"{prefix}fill", (), pattern)

    def _format(self, base: int, fill: int) -> bytes:
        found = self._formats.children[base]
        tag = self._content[found.start : found.open_end]
        changed = with_attributes(tag, fillId=str(fill), applyFill="1")
        return changed + self._content[found.open_end : found.end]
