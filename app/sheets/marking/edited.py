"""Marking a workbook by editing its parts where they stand: what is not marked stays as it is to the byte."""

import posixpath
import re
from collections.abc import Sequence
from itertools import islice
from xml.etree import ElementTree as ET
from zipfile import ZIP_DEFLATED, ZipFile

from app.sheets.marking.comment_parts import EMPTY_COMMENTS, blocks_of, empty_shapes, with_comments, with_shapes
from app.sheets.marking.facts import SheetMarks
from app.sheets.marking.sheet_part import Comment, SheetPart
from app.sheets.marking.splice import Edits, NotEditable, element, outline
from app.sheets.marking.style_part import StylePart

_OF_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
_CONTENT_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_COMMENTS_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.comments+xml"
_SHAPES_TYPE = "application/vnd.openxmlformats-officedocument.vmlDrawing"
_TYPES, _WORKBOOK = "[Content_Types].xml", "xl/workbook.xml"
_NO_RELATIONSHIPS = f'<Relationships xmlns="{_RELATIONSHIPS}"/>'.encode()
_PIECES_AT_ONCE = 1000
_BLOCKS = re.compile(rb"\bdata=[\"']([\d,]+)[\"']")


def mark(path: str, target: str, sheets: Sequence[SheetMarks]) -> None:
    """Save the workbook with its marks. Raises NotEditable where it has something that cannot be edited so."""
    with ZipFile(path) as archive:
        package = Package(archive)
        package.mark(sheets)
        package.save(target)


class Package:
    """The parts of a workbook: those that are edited, and those that are copied."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names = {_plain(name): name for name in archive.namelist()}
        self._edited: dict[str, bytes] = {}
        self._sheets: dict[str, Edits] = {}
        self._block = 1

    def mark(self, sheets: Sequence[SheetMarks]) -> None:
        if b"macroEnabled" in self._read(_TYPES) or any(name.startswith("_xmlsignatures") for name in self._names):
            raise NotEditable("What has macros or a signature is written anew, without them.")
        relations = self._relations(_WORKBOOK)
        styles = next((target for kind, target in relations.values() if kind == "styles"), None)
        if styles is None:
            raise NotEditable("There are no styles.")
        formats = StylePart(self._read(styles))
        self._block = 1 + self._last_block()
        # Entities are refused by the parent, and of anything else this process may die.
        document = ET.fromstring(self._read(_WORKBOOK))  # noqa: S314
        parts = {
            sheet.get("name"): relations.get(value)
            for sheet in document.iterfind(".//{*}sheet")
            for name, value in sheet.attrib.items()
            if name == f"{{{_OF_OFFICE}}}id"
        }
        for marks in sheets:
            kind, part = parts.get(marks.sheet) or ("", "")
            if kind != "worksheet":
                raise NotEditable(f"There is no sheet {marks.sheet}.")
            self._mark_sheet(part, marks, formats)
        self._put(styles, formats.result())

    def save(self, target: str) -> None:
        with ZipFile(target, "w", ZIP_DEFLATED) as made:
            for name in self._archive.namelist():
                sheet = self._sheets.get(_plain(name))
                if sheet is not None:
                    _write(made, name, sheet)
                    continue
                content = self._edited.pop(_plain(name), None)
                made.writestr(name, self._archive.read(name) if content is None else content)
            for name, content in self._edited.items():
                made.writestr(self._names[name], content)

    def _mark_sheet(self, part: str, marks: SheetMarks, formats: StylePart) -> None:
        sheet = SheetPart(self._read(part), marks, formats.marked)
        comments = sheet.mark()
        if comments:
            self._say(part, sheet, comments)
        self._sheets[_plain(part)] = sheet.edits

    def _say(self, part: str, sheet: SheetPart, comments: Sequence[Comment]) -> None:
        """Put the comments beside a sheet."""
        relations = self._relations(part)
        if any(kind == "threadedComment" for kind, _ in relations.values()):
            raise NotEditable("There are conversations.")
        said = next((target for kind, target in relations.values() if kind == "comments"), None)
        content, new = with_comments(self._read(said) if said else EMPTY_COMMENTS, comments)
        if said is None:
            said = self._unused("xl/comments{}.xml")
            self._relate(part, "comments", said)
            self._declare("Override", "PartName", f"/{said}", _COMMENTS_TYPE)
        self._put(said, content)
        first, count = self._block, blocks_of(new)
        self._block += count
        if sheet.shapes is not None:
            kind, shapes = relations.get(sheet.shapes, ("", ""))
            if kind != "vmlDrawing":
                raise NotEditable("The shapes are not there.")
            content = self._read(shapes)
        else:
            shapes, content = self._unused("xl/drawings/vmlDrawing{}.vml"), empty_shapes(first, count)
            sheet.refer_to_shapes(self._relate(part, "vmlDrawing", shapes))
            self._declare("Default", "Extension", "vml", _SHAPES_TYPE)
        self._put(shapes, with_shapes(content, new, first))

    def _read(self, part: str) -> bytes:
        edited = self._edited.get(_plain(part))
        if edited is not None:
            return edited
        name = self._names.get(_plain(part))
        if name is None:
            raise NotEditable(f"There is no {part}.")
        return self._archive.read(name)

    def _put(self, part: str, content: bytes) -> None:
        self._names.setdefault(_plain(part), part)
        self._edited[_plain(part)] = content

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """The last word of the type of each relationship of a part, and the part that it leads to, by its id."""
        place = _place(part)
        if _plain(place) not in self._names:
            return {}
        folder = posixpath.join("/", posixpath.dirname(part))
        return {
            relation.get("Id", ""): (
                relation.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join(folder, relation.get("Target", ""))).lstrip("/"),
            )
            for relation in ET.fromstring(self._read(place))  # noqa: S314
            if relation.get("TargetMode") != "External"
        }

    def _relate(self, part: str, kind: str, target: str) -> str:
        """Add a relationship, and answer its id."""
        place = _place(part)
        content = self._read(place) if _plain(place) in self._names else _NO_RELATIONSHIPS
        root = outline(content, _RELATIONSHIPS)
        there = {relation.attributes.get("Id") for relation in root.children}
        identity = next(name for number in range(1, len(there) + 2) if (name := f"rIdImport{number}") not in there)
        attributes = (("Id", identity), ("Type", f"{_OF_OFFICE}/{kind}"), ("Target", f"/{target}"))
        edits = Edits(content)
        edits.append(root, element(f"{root.prefix}Relationship", attributes))
        self._put(place, edits.result())
        return identity

    def _declare(self, kind: str, name: str, value: str, content_type: str) -> None:
        """Say what a part is, or all parts of an extension are, unless it is said already."""
        content = self._read(_TYPES)
        root = outline(content, _CONTENT_TYPES)
        if any(one.name == kind and one.attributes.get(name, "").lower() == value.lower() for one in root.children):
            return
        edits = Edits(content)
        new = element(f"{root.prefix}{kind}", ((name, value), ("ContentType", content_type)))
        if kind == "Default" and root.children:
            # The schema has them in any order, and some readers have them first.
            edits.insert(root.children[0].start, new)
        else:
            edits.append(root, new)
        self._put(_TYPES, edits.result())

    def _unused(self, pattern: str) -> str:
        number = 1
        while _plain(name := pattern.format(number)) in self._names:
            number += 1
        return name

    def _last_block(self) -> int:
        """The last block of numbers that shapes of the workbook have."""
        found = (_BLOCKS.findall(self._read(name)) for name in self._names if name.endswith(".vml"))
        return max((int(number) for blocks in found for block in blocks for number in block.split(b",")), default=0)


def _write(made: ZipFile, name: str, edits: Edits) -> None:
    """Write a part of which there need not be two in memory."""
    pieces = edits.pieces()
    with made.open(name, "w") as file:
        while some := list(islice(pieces, _PIECES_AT_ONCE)):
            file.write(b"".join(some))


def _plain(name: str) -> str:
    """A part's name as names are compared: in any case, and some programs write backslashes."""
    return name.replace("\\", "/").lower()


def _place(part: str) -> str:
    folder, name = posixpath.split(part)
    return f"{folder}/_rels/{name}.rels"
