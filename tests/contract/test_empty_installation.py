"""Every read works before there is anything to read."""

from tests.client import Client
from tests.openapi import Document

NEEDS: dict[str, tuple[str, ...]] = {
    "/api/search": ("q=a",),
    "/api/gpus/available": ("", "model=H100&count=2&same_server=true"),
    "/api/servers/tree": ("level=1", "level=2", "level=3"),
}
"""Query strings of the reads that need one, or that differ by it."""


def test_every_read_on_an_empty_installation(admin: Client, document: Document) -> None:
    reads = [operation for operation in document.operations if operation.method == "get" and "{" not in operation.path]
    assert len(reads) > 20
    for operation in reads:
        if operation.path == "/api/imports/template.xlsx":
            continue  # tests/features/exports/test_template.py
        needed = ("fields=created_by",) if operation.path.endswith("/facets") else ("",)
        for query in NEEDS.get(operation.path, needed):
            admin.send("GET", f"{operation.path}?{query}" if query else operation.path, expect=(200, 204))
