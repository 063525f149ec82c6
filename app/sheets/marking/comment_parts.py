"""The comments of a sheet and the shapes that show them: two parts that tell the same."""

import re
from collections.abc import Sequence
from itertools import count

from app.sheets.marking.facts import AUTHOR, COMMENT_WIDTH, LINE_HEIGHT, height_of
from app.sheets.marking.scan import MAIN
from app.sheets.marking.sheet_part import Comment
from app.sheets.marking.splice import Edits, Element, NotEditable, as_xml, element, outline

_PREFIXES = {
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "x": "urn:schemas-microsoft-com:office:excel",
}
_NAMES = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _PREFIXES.items())
_SHAPE_TYPE = (
    '<v:shapetype{names} id="_x0000_t202" coordsize="21600,21600" o:spt="202" path="m,l,21600r21600,l21600,xe">'
    '<v:stroke joinstyle="miter"/><v:path gradientshapeok="t" o:connecttype="rect"/></v:shapetype>'
)
_SHAPES_A_BLOCK = 1024
_NUMBER = re.compile(rb"_x0000_s(\d{1,9})")
_COLUMN_WIDTH = 64
"""Pixels of a column that nobody has made wider."""

EMPTY_COMMENTS = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<comments xmlns="{MAIN}"/>'.encode()


def with_comments(content: bytes, comments: Sequence[Comment]) -> tuple[bytes, list[Comment]]:
    """A comments part with more of them, and those that have no shape yet: the others add to what a cell has."""
    root = outline(content, MAIN)
    prefix, edits = root.prefix, Edits(content)
    authors, listed = root.child("authors"), root.child("commentList")
    author = element(f"{prefix}author", (), AUTHOR)
    number = len(authors.children) if authors is not None else 0
    there = {one.attributes.get("ref"): one for one in listed.children} if listed is not None else {}
    new = [comment for comment in comments if comment.cell not in there]
    made = b"".join(_comment(prefix, number, comment) for comment in new)
    for comment in comments:
        if comment.cell in there:
            _add(edits, there[comment.cell], comment.text)
    if (authors is None) != (listed is None):
        raise NotEditable("There are comments without authors.")
    if authors is None or listed is None:
        said = element(f"{prefix}authors", (), author.decode()) + element(f"{prefix}commentList", (), made.decode())
        edits.append(root, said)
    else:
        edits.append(authors, author)
        edits.append(listed, made)
    return edits.result(), new


def _comment(prefix: str, author: int, comment: Comment) -> bytes:
    text = f'<{prefix}text><{prefix}t xml:space="preserve">{as_xml(comment.text)}</{prefix}t></{prefix}text>'
    return element(f"{prefix}comment", (("ref", comment.cell), ("authorId", str(author))), text)


def _add(edits: Edits, comment: Element, text: str) -> None:
    """Say more in a comment that is there."""
    said = comment.needed("text")
    if said.child("rPh") is not None or said.child("phoneticPr") is not None:
        raise NotEditable("A comment tells how it is pronounced.")
    prefix = comment.prefix
    run = f'<{prefix}t xml:space="preserve">\n{as_xml(text)}</{prefix}t>'
    edits.append(said, element(f"{prefix}r", (), run))


def blocks_of(comments: Sequence[Comment]) -> int:
    """How many blocks of numbers their shapes need."""
    return 1 + len(comments) // _SHAPES_A_BLOCK


def empty_shapes(first: int, count: int) -> bytes:
    """A part for shapes that has these blocks of numbers: no other part may have them."""
    blocks = ",".join(map(str, range(first, first + count)))
    layout = f'<o:shapelayout v:ext="edit"><o:idmap v:ext="edit" data="{blocks}"/></o:shapelayout>'
    return f"<xml{_NAMES}>{layout}</xml>".encode()


def with_shapes(content: bytes, comments: Sequence[Comment], first_block: int) -> bytes:
    """A part of shapes with one for each comment, hidden until somebody points at its cell."""
    root, edits = outline(content, None), Edits(content)
    usual = all(root.attributes.get(f"xmlns:{prefix}") == uri for prefix, uri in _PREFIXES.items())
    # What does not stand at the root is said by each that is added.
    names = "" if usual else _NAMES
    known = [int(number) for number in _NUMBER.findall(content)]
    numbers = count(max(known, default=first_block * _SHAPES_A_BLOCK) + 1)
    shapes = [_shape(names, number, comment) for number, comment in zip(numbers, comments, strict=False)]
    kind = "" if b'"_x0000_t202"' in content else _SHAPE_TYPE.format(names=names)
    edits.append(root, (kind + "".join(shapes)).encode())
    return edits.result()


def _shape(names: str, number: int, comment: Comment) -> str:
    height = height_of(comment.text)
    row, column = comment.row - 1, comment.column - 1
    anchor = (
        column + 1, 15, max(row - 1, 0), 10, column + 1 + COMMENT_WIDTH // _COLUMN_WIDTH, 15,
        max(row - 1, 0) + height // LINE_HEIGHT, 14,
    )  # fmt: skip
    style = (
        f"position:absolute;margin-left:59.25pt;margin-top:1.5pt;width:{COMMENT_WIDTH}px;height:{height}px;"
        "z-index:1;visibility:hidden"
    )
    return (
        f'<v:shape{names} id="_x0000_s{number}" type="#_x0000_t202" style="{style}" '
        'fillcolor="#ffffe1" o:insetmode="auto">'
        '<v:fill color2="#ffffe1"/><v:shadow color="black" obscured="t"/><v:path o:connecttype="none"/>'
        '<v:textbox style="mso-direction-alt:auto"><div style="text-align:left"/></v:textbox>'
        '<x:ClientData ObjectType="Note"><x:MoveWithCells/><x:SizeWithCells/>'
        f"<x:Anchor>{', '.join(map(str, anchor))}</x:Anchor><x:AutoFill>False</x:AutoFill>"
        f"<x:Row>{row}</x:Row><x:Column>{column}</x:Column></x:ClientData></v:shape>"
    )
