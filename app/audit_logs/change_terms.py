"""Terms of a change in Python, the same as PostgreSQL's function `audit_terms` makes; SQLite calls these.

The terms of a record are the name of each changed field, `name<old`, `name>new` and `name<old>new`. Of a list,
`name<member` is a member that was removed and `name>member` one that was added. An attribute is a field of its own,
`attributes.key`; its values are terms of `attributes` too, for a query that names no key.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from app.core.values import fold, same_json

MAX_VALUE_LENGTH = 64
"""Characters of a value that are written into a term; a longer one is replaced by its MD5, as in `audit_terms`."""


def short(value: str) -> str:
    """A value as it is written into a term."""
    if len(value) <= MAX_VALUE_LENGTH:
        return fold(value)
    return hashlib.md5(fold(value).encode(), usedforsecurity=False).hexdigest()


def terms_as_json(changes: str) -> str:
    """The SQL function `audit_terms` of SQLite: the terms of a record's changes as a JSON list."""
    try:
        terms = [term for name, change in orjson.loads(changes).items() for term in _terms_of(name, change)]
        return orjson.dumps(terms).decode()
    except (ValueError, AttributeError):
        return "[]"


def _terms_of(name: str, change: Mapping[str, Any]) -> Iterator[str]:
    old, new = change.get("old"), change.get("new")
    yield name
    yield from _terms_of_values(name, old, new)
    old_list, new_list = (value if isinstance(value, list) else [] for value in (old, new))
    removed = [text for item in old_list if item not in new_list and (text := _text_of(item)) is not None]
    added = [text for item in new_list if item not in old_list and (text := _text_of(item)) is not None]
    yield from (f"{name}<{short(text)}" for text in removed)
    yield from (f"{name}>{short(text)}" for text in added)
    old_dict, new_dict = (value if isinstance(value, dict) else {} for value in (old, new))
    for key in old_dict | new_dict:
        if key not in old_dict or key not in new_dict or not same_json(old_dict[key], new_dict[key]):
            yield f"{name}.{key}"
            for field in (f"{name}.{key}", name):
                yield from _terms_of_values(field, old_dict.get(key), new_dict.get(key))


def _terms_of_values(name: str, old: Any, new: Any) -> Iterator[str]:
    old_text, new_text = _text_of(old), _text_of(new)
    from_old = None if old_text is None else f"<{short(old_text)}"
    to_new = None if new_text is None else f">{short(new_text)}"
    if from_old is not None:
        yield name + from_old
    if to_new is not None:
        yield name + to_new
    if from_old is not None and to_new is not None:
        yield name + from_old + to_new


def _text_of(value: Any) -> str | None:
    """A scalar as text, empty for null; None for a list or an object."""
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()
