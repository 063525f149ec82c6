"""Cells that say that a value is unknown, such as `TBD`: they are read as empty cells, with a warning."""

from collections.abc import Callable

from app.core.messages import Message, tr
from app.imports.parse.cells import CellReader
from app.resource import Field, Kind, ip_address, mac_address
from app.sheets.cells import Value, is_no_identifier, is_placeholder, is_unspecified_address

_PLACEHOLDER = "placeholder", tr("Read as an empty cell: the value does not change.")
_NO_IDENTIFIER = (
    "no_identifier",
    tr(
        "This tells no object from others, so it is read as an empty cell: the value does not change. Write an "
        "apostrophe before it if it is meant."
    ),
)

BlankTest = Callable[[Value], tuple[str, Message] | None]
"""Returns the rule and the message of the warning about a cell that stands for an unknown value; None of others."""


def blank_test(field: Field, *, identifies: bool) -> BlankTest:
    """The test of the cells of a field; `identifies` says that rows find their objects by it.

    A name is what people have chosen, and they see it: a server may be called `unknown`.
    """
    is_unknown = _unknown_test(field, identifies=identifies)

    def test(value: Value) -> tuple[str, Message] | None:
        if isinstance(value, str) and is_placeholder(value):
            return _PLACEHOLDER
        return _NO_IDENTIFIER if is_unknown is not None and is_unknown(str(value)) else None

    return test


def identifier_blank(value: Value) -> tuple[str, Message] | None:
    """The warning about a cell of an attribute by which rows find their objects, where it tells none from others."""
    text = str(value).strip()
    return _NO_IDENTIFIER if is_placeholder(text) or is_no_identifier(text) else None


def read_meant(field: Field, read: CellReader, *, identifies: bool) -> CellReader:
    """A reader that takes a text with an apostrophe before it as it is, where it would be read as an empty cell."""
    is_unknown = _unknown_test(field, identifies=identifies)
    if is_unknown is None:
        return read

    def read_unquoted(value: Value) -> object:
        is_meant = isinstance(value, str) and value.startswith("'") and is_unknown(value[1:])
        return read(value[1:] if is_meant and isinstance(value, str) else value)

    return read_unquoted


def _unknown_test(field: Field, *, identifies: bool) -> Callable[[str], bool] | None:
    if field.check in (ip_address, mac_address):
        return is_unspecified_address
    return is_no_identifier if identifies and field.kind is Kind.TEXT and not field.required else None
