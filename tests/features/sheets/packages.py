"""Parts of workbooks, and variants of them that other programs write."""

import re
from pathlib import Path
from zipfile import ZipFile

SHEET = "xl/worksheets/sheet1.xml"

Parts = dict[str, bytes]


def parts_of(path: Path) -> Parts:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def save(path: Path, parts: Parts) -> None:
    with ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def unchanged(parts: Parts) -> Parts:
    return parts


def with_prefix(parts: Parts) -> Parts:
    """Every element of the first sheet with a namespace prefix."""
    text = re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1x:", parts[SHEET].decode()).replace('xmlns="', 'xmlns:x="')
    return {**parts, SHEET: text.encode()}


def without_hints(parts: Parts) -> Parts:
    """Rows without numbers and spans, no dimension, and an XML comment that looks like cells.

    Only for sheets whose rows follow each other without a gap.
    """
    text = re.sub(r'(<row) r="\d+"( spans="[\d:]+")?', r"\1", parts[SHEET].decode())
    text = re.sub(r"<dimension [^>]*/>", "<!-- <row r='9'><c r='Z9'><v>1</v></c></row> -->", text)
    return {**parts, SHEET: text.encode()}


def without_comments(parts: Parts) -> Parts:
    """No comments part and no drawing, and nothing that refers to one."""
    removed = {name for name in parts if "omment" in name}
    remaining = {name: content for name, content in parts.items() if name not in removed}
    for name, content in remaining.items():
        if name.endswith((".rels", "[Content_Types].xml")):
            remaining[name] = re.sub(rb"<(Relationship|Override) [^>]*(?:omments|vmlDrawing)[^>]*/>", b"", content)
    remaining[SHEET] = re.sub(rb"<legacyDrawing [^>]*/>", b"", remaining[SHEET])
    return remaining
