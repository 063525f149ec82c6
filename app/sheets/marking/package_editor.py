"""Marks the zip package of a workbook: edits the parts that need it, copies all others."""

import posixpath
import re
from collections.abc import Sequence
from itertools import islice
from xml.etree import ElementTree as ET
from zipfile import ZIP_DEFLATED, ZipFile

from app.sheets.marking.comment_editor import EMPTY_COMMENTS, add_comments, add_shapes, blocks_of, empty_shapes
from app.sheets.marking.marks import SheetMarks
from app.sheets.marking.sheet_editor import Comment, SheetEditor
from app.sheets.marking.style_editor import StyleEditor
from app.sheets.marking.xml_edits import Edits, NotEditable, element, outline

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
_CONTENT_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_COMMENTS_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.comments+xml"
_SHAPES_TYPE = "application/vnd.openxmlformats-officedocument.vmlDrawing"
_TYPES, _WORKBOOK = "[Content_Types].xml", "xl/workbook.xml"
_NO_RELATIONSHIPS = f'<Relationships xmlns="{_RELATIONSHIPS}"/>'.encode()
_BATCH_PIECES = 1000
_SHAPE_BLOCKS = re.compile(rb"\bdata=[\"']([\d,]+)[\"']")


def mark(path: str, target: str, sheets: Sequence[SheetMarks]) -> None:
    """Save a copy of the workbook with its marks. Raises NotEditable."""
    with ZipFile(path) as archive:
        editor = PackageEditor(archive)
        editor.mark(sheets)
        editor.save(target)


class PackageEditor:
    """The parts of a workbook, edited or as they are. All methods raise NotEditable."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names = {_normalized(name): name for name in archive.namelist()}
        self._edited: dict[str, bytes] = {}
        self._sheets: dict[str, Edits] = {}
        self._next_block = 1

    def mark(self, sheets: Sequence[SheetMarks]) -> None:
        if b"macroEnabled" in self._read(_TYPES):
            raise NotEditable("The workbook has macros.")
        if any(name.startswith("_xmlsignatures") for name in self._names):
            raise NotEditable("The workbook is signed.")
        relations = self._relations(_WORKBOOK)
        styles = next((target for kind, target in relations.values() if kind == "styles"), None)
        if styles is None:
            raise NotEditable("The workbook has no styles.")
        formats = StyleEditor(self._read(styles))
        self._next_block = 1 + self._last_shape_block()
        # check_package has refused entities; against anything else there is the sandbox.
        document = ET.fromstring(self._read(_WORKBOOK))  # noqa: S314
        parts = {
            sheet.get("name"): relations.get(value)
            for sheet in document.iterfind(".//{*}sheet")
            for name, value in sheet.attrib.items()
            if name == f"{{{_OFFICE}}}id"
        }
        for marks in sheets:
            kind, part = parts.get(marks.sheet) or ("", "")
            if kind != "worksheet":
                raise NotEditable(f"There is no worksheet {marks.sheet}.")
            self._mark_sheet(part, marks, formats)
        self._put(styles, formats.result())

    def save(self, target: str) -> None:
        with ZipFile(target, "w", ZIP_DEFLATED) as copy:
            for name in self._archive.namelist():
                sheet = self._sheets.get(_normalized(name))
                if sheet is not None:
                    _write_pieces(copy, name, sheet)
                    continue
                content = self._edited.pop(_normalized(name), None)
                copy.writestr(name, self._archive.read(name) if content is None else content)
            for name, content in self._edited.items():
                copy.writestr(self._names[name], content)

    def _mark_sheet(self, part: str, marks: SheetMarks, formats: StyleEditor) -> None:
        sheet = SheetEditor(self._read(part), marks, formats.marked)
        comments = sheet.mark()
        if comments:
            self._add_comments(part, sheet, comments)
        self._sheets[_normalized(part)] = sheet.edits

    def _add_comments(self, part: str, sheet: SheetEditor, comments: Sequence[Comment]) -> None:
        """Add comments to the comments part and the drawing part of a sheet; create those that it has not."""
        relations = self._relations(part)
        if any(kind == "threadedComment" for kind, _ in relations.values()):
            raise NotEditable("The workbook has threaded comments.")
        comments_part = next((target for kind, target in relations.values() if kind == "comments"), None)
        content, new = add_comments(self._read(comments_part) if comments_part else EMPTY_COMMENTS, comments)
        if comments_part is None:
            comments_part = self._unused_name("xl/comments{}.xml")
            self._relate(part, "comments", comments_part)
            self._declare_type("Override", "PartName", f"/{comments_part}", _COMMENTS_TYPE)
        self._put(comments_part, content)
        first_block, block_count = self._next_block, blocks_of(new)
        self._next_block += block_count
        if sheet.shapes is not None:
            kind, shapes_part = relations.get(sheet.shapes, ("", ""))
            if kind != "vmlDrawing":
                raise NotEditable("The drawing of a sheet's comments is missing.")
            content = self._read(shapes_part)
        else:
            shapes_part = self._unused_name("xl/drawings/vmlDrawing{}.vml")
            content = empty_shapes(first_block, block_count)
            sheet.refer_to_shapes(self._relate(part, "vmlDrawing", shapes_part))
            self._declare_type("Default", "Extension", "vml", _SHAPES_TYPE)
        self._put(shapes_part, add_shapes(content, new, first_block))

    def _read(self, part: str) -> bytes:
        edited = self._edited.get(_normalized(part))
        if edited is not None:
            return edited
        name = self._names.get(_normalized(part))
        if name is None:
            raise NotEditable(f"The workbook has no part {part}.")
        return self._archive.read(name)

    def _put(self, part: str, content: bytes) -> None:
        self._names.setdefault(_normalized(part), part)
        self._edited[_normalized(part)] = content

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """The relationships of a part by id: the last segment of the type, and the name of the target part."""
        rels = _rels_name(part)
        if _normalized(rels) not in self._names:
            return {}
        folder = posixpath.join("/", posixpath.dirname(part))
        return {
            relation.get("Id", ""): (
                relation.get("Type", "").rpartition("/")[2],
                posixpath.normpath(posixpath.join(folder, relation.get("Target", ""))).lstrip("/"),
            )
            for relation in ET.fromstring(self._read(rels))  # noqa: S314
            if relation.get("TargetMode") != "External"
        }

    def _relate(self, part: str, kind: str, target: str) -> str:
        """Add a relationship; returns its id."""
        rels = _rels_name(part)
        content = self._read(rels) if _normalized(rels) in self._names else _NO_RELATIONSHIPS
        root = outline(content, _RELATIONSHIPS)
        used = {relation.attributes.get("Id") for relation in root.children}
        identity = next(name for number in range(1, len(used) + 2) if (name := f"rIdImport{number}") not in used)
        attributes = (("Id", identity), ("Type", f"{_OFFICE}/{kind}"), ("Target", f"/{target}"))
        edits = Edits(content)
        edits.append(root, element(f"{root.prefix}Relationship", attributes))
        self._put(rels, edits.result())
        return identity

    def _declare_type(self, kind: str, attribute: str, value: str, content_type: str) -> None:
        """Declare the content type of a part (Override) or of an extension (Default), unless it is declared."""
        content = self._read(_TYPES)
        root = outline(content, _CONTENT_TYPES)
        if any(
            declared.name == kind and declared.attributes.get(attribute, "").lower() == value.lower()
            for declared in root.children
        ):
            return
        edits = Edits(content)
        declaration = element(f"{root.prefix}{kind}", ((attribute, value), ("ContentType", content_type)))
        if kind == "Default" and root.children:
            # The schema allows any order, but some readers expect the defaults first.
            edits.insert(root.children[0].start, declaration)
        else:
            edits.append(root, declaration)
        self._put(_TYPES, edits.result())

    def _unused_name(self, pattern: str) -> str:
        number = 1
        while _normalized(name := pattern.format(number)) in self._names:
            number += 1
        return name

    def _last_shape_block(self) -> int:
        """The highest block of shape ids that a drawing of the workbook reserves."""
        matches = (_SHAPE_BLOCKS.findall(self._read(name)) for name in self._names if name.endswith(".vml"))
        return max((int(number) for blocks in matches for block in blocks for number in block.split(b",")), default=0)


def _write_pieces(copy: ZipFile, name: str, edits: Edits) -> None:
    """Write an edited sheet without holding a second copy of it in memory."""
    pieces = edits.pieces()
    with copy.open(name, "w") as file:
        while batch := list(islice(pieces, _BATCH_PIECES)):
            file.write(b"".join(batch))


def _normalized(name: str) -> str:
    """The name of a part for comparison: case does not count, and some programs write backslashes."""
    return name.replace("\\", "/").lower()


def _rels_name(part: str) -> str:
    """The part that holds the relationships of another."""
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
