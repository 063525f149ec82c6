"""The commands of the pages about the API, executed one after the other against a server."""

from tests.backends import on_sqlite
from tests.documents.blocks import commands_of
from tests.documents.conftest import Scratch
from tests.documents.shell import execute
from tests.images import encoded_image

PAGES = ("README.md", "docs/operators.md", "docs/administrators.md", "docs/front-end.md", "docs/monitoring.md")


@on_sqlite
def test_commands_of_the_pages(scratch: Scratch) -> None:
    (scratch.folder / "laptop.jpg").write_bytes(encoded_image())
    printed = r"password=$(sed -n 's/^The first administrator is admin with the password //p' server.log)"
    execute(commands_of(*PAGES), scratch.folder, scratch.environ, {**scratch.replaced, "password='…'": printed})
