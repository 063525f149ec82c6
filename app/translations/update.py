"""Bring the catalogues up to date with the messages in the code: `make messages`. Needs Babel, a tool of developers."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from app.core.messages import LANGUAGES, TRANSLATIONS

APP = Path(__file__).parent.parent
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


def catalogs() -> Iterator[tuple[Path, Catalog]]:
    """Each catalogue as it should be, with the path of its source; a new message has no translation yet."""
    for language in LANGUAGES[1:]:
        path = TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"
        with path.open("rb") as file:
            stored = read_po(file, locale=language)
        current = Catalog(locale=language, creation_date=UNDATED, revision_date=UNDATED, fuzzy=False)
        for _, _, text, _, _ in extract_from_dir(str(APP), [("**.py", "python")], keywords={"tr": None}):
            entry = stored.get(text)
            current.add(text, entry.string if entry is not None else "")
        yield path, current


def as_po(catalog: Catalog) -> bytes:
    """The source, sorted and without dates and places, so that only what has changed differs."""
    file = BytesIO()
    write_po(file, catalog, omit_header=True, sort_output=True, width=118)
    header = b'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    return header + file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """What the application reads."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update() -> None:
    for path, catalog in catalogs():
        path.write_bytes(as_po(catalog))
        path.with_suffix(".mo").write_bytes(as_mo(catalog))


if __name__ == "__main__":
    update()
