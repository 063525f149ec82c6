"""The searched columns of a table, and how a value of each is read."""

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

TABLE = "search_entries"
"""The search table, see entries.py."""


class Form(enum.Enum):
    """How a column's value is searched."""

    TEXT = "text"
    NUMBER = "number"
    MAC = "mac"
    """With its separators, and without."""
    LIST = "list"
    OBJECTS = "objects"
    """A list of objects, by the values in them."""
    ATTRIBUTES = "attributes"
    """An object, by its values."""


class Searched(NamedTuple):
    """A table whose objects can be found: its columns in the order of their weight, the object's name first."""

    table: str
    columns: Sequence[tuple[str, Form]]
    is_private: bool = False

    @property
    def followed(self) -> list[str]:
        """The columns whose change changes an entry: an object may be handed over to another owner."""
        names = [name for name, _ in self.columns]
        return [*names, "created_by_id"] if self.is_private else names

    def owner(self, row: str) -> str:
        """The SQL of a row's `owner_id`."""
        return f"coalesce({row}.created_by_id, 0)" if self.is_private else "NULL"

    @property
    def deletion(self) -> str:
        """The statement that deletes the entries of all objects."""
        return f"DELETE FROM {TABLE} WHERE resource_type = '{self.table}'"  # noqa: S608 - names of ours

    def rebuilding(self, insertion: Callable[["Searched", str], str]) -> tuple[str, str]:
        """The statements that write the entries of all objects anew, by the dialect's `insertion`; it is the last."""
        return self.deletion, f"{insertion(self, 'item')} FROM {self.table} AS item"

    def values(self, row: str, text_of_json: Callable[[str, Form], str]) -> str:
        """The SQL of a row's searched values, a list of texts; `text_of_json` writes that of a column with JSON."""
        return ", ".join(self._values(row, text_of_json))

    def _values(self, row: str, text_of_json: Callable[[str, Form], str]) -> Iterator[str]:
        for name, form in self.columns:
            column = f"{row}.{name}"
            if form not in (Form.TEXT, Form.NUMBER, Form.MAC):
                yield text_of_json(column, form)
                continue
            yield column
            if form is Form.MAC:
                yield f"replace({column}, ':', '')"


def row_trigger_removal(searched: Searched) -> Iterator[str]:
    """The statements that remove the triggers of a table, one for each event of a row, and its entries."""
    for event in ("insert", "update", "delete"):
        yield f"DROP TRIGGER {searched.table}_search_{event}"
    yield searched.deletion
