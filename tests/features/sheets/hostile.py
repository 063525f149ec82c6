"""Workbooks made by hand, down to the lies in their zip directories."""

import struct
from collections.abc import Mapping
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DOCUMENT_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE_RELATION = "http://schemas.openxmlformats.org/package/2006/relationships"
CONTENT_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"

OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
SHEET = "xl/worksheets/sheet1.xml"


def parts(*sheets: str) -> dict[str, str]:
    """Name and write the least that makes a workbook, given what stands in each `sheetData`."""
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    related = "".join(
        f'<Relationship Id="rId{n}" Type="{DOCUMENT_RELATION}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    return {
        "[Content_Types].xml": f'<Types xmlns="{CONTENT_TYPES}"/>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE_RELATION}"><Relationship Id="rId1"'
        f' Type="{DOCUMENT_RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{DOCUMENT_RELATION}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE_RELATION}">{related}</Relationships>',
    } | {
        f"xl/worksheets/sheet{n}.xml": f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{rows}</sheetData></worksheet>'
        for n, rows in zip(numbers, sheets, strict=True)
    }


def packed(contents: Mapping[str, str | bytes]) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def workbook(*sheets: str, **more: str | bytes) -> bytes:
    """Pack a workbook; `more` are further parts, or others instead of the usual ones."""
    return packed({**parts(*sheets), **more})


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def cell(reference: str, value: object = 1) -> str:
    return f'<c r="{reference}"><v>{value}</v></c>'


def with_claim(archive: bytes, name: str, field: str, value: int) -> bytes:
    """Change what the directory, and where it repeats it the part's own header, says of a part."""
    in_directory, in_header, layout = {
        "flags": (8, 6, "<H"),
        "method": (10, 8, "<H"),
        "packed_bytes": (20, 18, "<L"),
        "unpacked_bytes": (24, 22, "<L"),
    }[field]
    lying = bytearray(archive)
    entry = archive.rindex(name.encode()) - 46
    header = archive.index(name.encode()) - 30
    struct.pack_into(layout, lying, entry + in_directory, value)
    struct.pack_into(layout, lying, header + in_header, value)
    return bytes(lying)


def renamed(archive: bytes, old: str, new: str) -> bytes:
    """Rename a part, to names as well that no writer would accept."""
    assert len(old) == len(new)
    return archive.replace(old.encode(), new.encode())


def compound_file(*streams: str) -> bytes:
    """Imitate an OLE file, which is what .xls files and encrypted workbooks are."""
    names = [name.encode("utf-16-le").ljust(128, b"\0") for name in streams]
    return OLE_MAGIC.ljust(1024, b"\0") + b"".join(names)
