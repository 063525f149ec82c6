"""Pages by number far behind begin where the page before them has ended, where that is known.

To find such a page by its number, the database reads and drops all rows before it, for each page anew: page 40,000 of
a million servers by name takes a second. A client that asks for one after the other by their numbers pays that once.
"""

import time

from app.core.cache.backends import Lookup, key_of, shared_cache
from app.core.cache.generations import generations_of_app
from app.core.cache.positions import sees
from app.resource.declaration import Resource
from app.resource.query.list_query import ListQuery
from app.resource.query.paths import models_on

FAR_ROWS = 1000
"""Pages after this many rows begin at a cursor, and name that of the next one."""

SECONDS = 60
"""How long the end of a page is remembered, unless a table changes that decides which rows come before it."""


class FarPage:
    """A page by number; `cursor` is where it begins, or None if its rows have to be counted off."""

    def __init__(self, resource: Resource, query: ListQuery) -> None:
        names = [item.name for item in query.matching.filters]
        others = (models_on(resource, name) for name in [*names, *resource.references])
        self._tables = sorted(model.__tablename__ for model in {resource.model}.union(*others))
        self._list = repr((resource.name, query.matching, query.sort, sorted(query.values.items())))
        self._end = query.page * query.page_size
        began = time.monotonic()
        read, key = generations_of_app().read, self._key(self._end - query.page_size)
        generations, cursor = shared_cache().look_up(read, self._tables, key)
        # What is read now must not be older than the generations that its end is stored for.
        is_current = generations is not None and sees(generations)
        self.cursor: str | None = cursor if is_current else None
        self._generations, self._began = generations if is_current else None, began

    def ends_before(self, cursor: str) -> None:
        """Remember where the next page begins."""
        if self._generations is not None:
            lookup = Lookup(self._key(self._end), self._tables, self._generations, self._began)
            shared_cache().set(generations_of_app().read, lookup, cursor, SECONDS)

    def _key(self, rows: int) -> str:
        """The key of the place after so many rows of the list."""
        return key_of(f"place {rows} of {self._list}")
