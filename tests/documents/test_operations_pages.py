"""The commands of the pages for system administrators, executed one after the other on PostgreSQL and Redis."""

from tests.backends import on_postgresql
from tests.documents.blocks import commands_of
from tests.documents.conftest import Scratch
from tests.documents.shell import execute

PAGES = ("configuring", "installing", "scaling", "backup", "upgrading", "troubleshooting")


@on_postgresql
def test_commands_of_the_pages(scratch: Scratch) -> None:
    here, other = (f"export DATABASE_URL={url}" for url in scratch.databases)
    before = {
        "JOB_WORKERS=0 python run.py &": "flask db upgrade",
        # On the machine that restores.
        "flask restore FOLDER": other,
        "flask restore FOLDER --replace": f"stop_servers; {here}",
    }
    execute(
        commands_of(*(f"docs/{page}.md" for page in PAGES)), scratch.folder, scratch.environ, scratch.replaced, before
    )
