"""What is counted of a table: groups of columns, each a counter."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

TABLE = "object_counts"
"""The table of the counters, see models.py."""
DAY = "day"


class CountedColumn(NamedTuple):
    """A column of a counter; of a time, its day in UTC is counted."""

    name: str
    is_day: bool = False

    def __str__(self) -> str:
        """As migrations write it."""
        return f"{self.name}:{DAY}" if self.is_day else self.name

    @classmethod
    def parse(cls, text: str) -> "CountedColumn":
        name, _, form = text.partition(":")
        return cls(name, is_day=form == DAY)


class Counter(NamedTuple):
    """A counter: the number of objects with each combination of values of its columns."""

    columns: tuple[CountedColumn, ...]

    @property
    def name(self) -> str:
        return ",".join(column.name for column in self.columns)

    def covers(self, names: Collection[str]) -> bool:
        """Whether it tells how many objects have each combination of values of these columns."""
        return {column.name for column in self.columns}.issuperset(names)

    def has_any(self, names: Collection[str]) -> bool:
        """Whether one of these columns is among its own."""
        return any(column.name in names for column in self.columns)


class Counted(NamedTuple):
    """A table and its counters."""

    table: str
    counters: tuple[Counter, ...]

    @classmethod
    def parse(cls, table: str, counters: Sequence[Sequence[str]]) -> "Counted":
        return cls(table, tuple(Counter(tuple(map(CountedColumn.parse, columns))) for columns in counters))

    def arguments(self) -> tuple[tuple[str, ...], ...]:
        """Its counters, as `parse` takes them."""
        return tuple(tuple(map(str, counter.columns)) for counter in self.counters)

    @property
    def followed(self) -> Iterator[str]:
        """The columns that are counted, each once."""
        yield from dict.fromkeys(column.name for counter in self.counters for column in counter.columns)
