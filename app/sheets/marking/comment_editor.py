"""Adds comments to a sheet: entries of its comments part, and the VML shapes that show them."""

import re
from collections.abc import Sequence
from itertools import count

from app.sheets.marking.marks import AUTHOR, COMMENT_WIDTH, LINE_HEIGHT, comment_height
from app.sheets.marking.sheet_editor import Comment
from app.sheets.marking.sheet_scanner import MAIN
from app.sheets.marking.xml_edits import Edits, Element, NotEditable, as_xml, element, outline

_PREFIXES = {
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "x": "urn:schemas-microsoft-com:office:excel",
}
_NAMESPACES = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _PREFIXES.items())
_SHAPE_TYPE = (
    '<v:shapetype{namespaces} id="_x0000_t202" coordsize="21600,21600" o:spt="202" path="m,l,21600r21600,l21600,xe">'
    '<v:stroke joinstyle="miter"/><v:path gradientshapeok="t" o:connecttype="rect"/></v:shapetype>'
)
_SHAPES_PER_BLOCK = 1024
_SHAPE_NUMBER = re.compile(rb"_x0000_s(\d{1,9})")
_COLUMN_WIDTH = 64
"""Pixels of a column with the default width."""

EMPTY_COMMENTS = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<comments xmlns="{MAIN}"/>'.encode()


def add_comments(content: bytes, comments: Sequence[Comment]) -> tuple[bytes, list[Comment]]:
    """Add comments to a comments part; returns it and the comments that need a shape.

    A cell has one comment: if it has one already, the text is appended to it, and it has its shape.
    """
    root = outline(content, MAIN)
    prefix, edits = root.prefix, Edits(content)
    authors, entries = root.child("authors"), root.child("commentList")
    if (authors is None) != (entries is None):
        raise NotEditable("A comments part has no authors or no comments.")
    by_cell = {entry.attributes.get("ref"): entry for entry in entries.children} if entries is not None else {}
    new = [comment for comment in comments if comment.cell not in by_cell]
    for comment in comments:
        if comment.cell in by_cell:
            _append_text(edits, by_cell[comment.cell], comment.text)
    author = element(f"{prefix}author", (), AUTHOR)
    author_id = len(authors.children) if authors is not None else 0
    added = b"".join(_entry(prefix, author_id, comment) for comment in new)
    if authors is None or entries is None:
        lists = element(f"{prefix}authors", (), author.decode()) + element(f"{prefix}commentList", (), added.decode())
        edits.append(root, lists)
    else:
        edits.append(authors, author)
        edits.append(entries, added)
    return edits.result(), new


def _entry(prefix: str, author_id: int, comment: Comment) -> bytes:
    text = f'<{prefix}text><{prefix}t xml:space="preserve">{as_xml(comment.text)}</{prefix}t></{prefix}text>'
    return element(f"{prefix}comment", (("ref", comment.cell), ("authorId", str(author_id))), text)


def _append_text(edits: Edits, entry: Element, text: str) -> None:
    content = entry.required_child("text")
    if content.child("rPh") is not None or content.child("phoneticPr") is not None:
        raise NotEditable("A comment has phonetic text.")
    prefix = entry.prefix
    run = f'<{prefix}t xml:space="preserve">\n{as_xml(text)}</{prefix}t>'
    edits.append(content, element(f"{prefix}r", (), run))


def blocks_of(comments: Sequence[Comment]) -> int:
    """The number of blocks of shape ids that the comments need."""
    return 1 + len(comments) // _SHAPES_PER_BLOCK


def empty_shapes(first_block: int, block_count: int) -> bytes:
    """A drawing part that reserves these blocks of shape ids; no other part may reserve them."""
    blocks = ",".join(map(str, range(first_block, first_block + block_count)))
    layout = f'<o:shapelayout v:ext="edit"><o:idmap v:ext="edit" data="{blocks}"/></o:shapelayout>'
    return f"<xml{_NAMESPACES}>{layout}</xml>".encode()


def add_shapes(content: bytes, comments: Sequence[Comment], first_block: int) -> bytes:
    """Add a shape for each comment to a drawing part; it is hidden until the pointer is over its cell."""
    root, edits = outline(content, None), Edits(content)
    declares_all = all(root.attributes.get(f"xmlns:{prefix}") == uri for prefix, uri in _PREFIXES.items())
    # Shapes declare the namespaces themselves if the root has other prefixes.
    namespaces = "" if declares_all else _NAMESPACES
    used = [int(number) for number in _SHAPE_NUMBER.findall(content)]
    numbers = count(max(used, default=first_block * _SHAPES_PER_BLOCK) + 1)
    shapes = [_shape(namespaces, number, comment) for number, comment in zip(numbers, comments, strict=False)]
    shape_type = "" if b'"_x0000_t202"' in content else _SHAPE_TYPE.format(namespaces=namespaces)
    edits.append(root, (shape_type + "".join(shapes)).encode())
    return edits.result()


def _shape(namespaces: str, number: int, comment: Comment) -> str:
    height = comment_height(comment.text)
    row, column = comment.row - 1, comment.column - 1
    top = max(row - 1, 0)
    # From column, offset, row, offset; to column, offset, row, offset.
    anchor = (
        column + 1, 15, top, 10,
        column + 1 + COMMENT_WIDTH // _COLUMN_WIDTH, 15, top + height // LINE_HEIGHT, 14,
    )  # fmt: skip
    style = (
        f"position:absolute;margin-left:59.25pt;margin-top:1.5pt;width:{COMMENT_WIDTH}px;height:{height}px;"
        "z-index:1;visibility:hidden"
    )
    return (
        f'<v:shape{namespaces} id="_x0000_s{number}" type="#_x0000_t202" style="{style}" '
        'fillcolor="#ffffe1" o:insetmode="auto">'
        '<v:fill color2="#ffffe1"/><v:shadow color="black" obscured="t"/><v:path o:connecttype="none"/>'
        '<v:textbox style="mso-direction-alt:auto"><div style="text-align:left"/></v:textbox>'
        '<x:ClientData ObjectType="Note"><x:MoveWithCells/><x:SizeWithCells/>'
        f"<x:Anchor>{', '.join(map(str, anchor))}</x:Anchor><x:AutoFill>False</x:AutoFill>"
        f"<x:Row>{row}</x:Row><x:Column>{column}</x:Column></x:ClientData></v:shape>"
    )
