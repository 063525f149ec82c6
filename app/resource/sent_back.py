"""Read-only fields in the body of a change: a form sends what it has read, so unchanged ones are no error."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from app.core.errors import Invalid, dotted
from app.core.http.envelope import dumps
from app.core.messages import tr
from app.core.values import same_json
from app.resource.declaration import Resource
from app.resource.fields import Kind
from app.resource.schema import Sent

CHANGED = tr("Is read-only, and the object has another value now: the application sets it.", rule="read_only")


def check_sent_back(resource: Resource, sent: Sent, shown: Mapping[str, Any]) -> None:
    """Refuse read-only fields that were sent with other values than the object is `shown` with, and what waited.

    Raises Invalid.
    """
    current = orjson.loads(dumps(shown))
    moved_on = _has_moved_on(resource, sent.read_only, current)
    errors = dict(sent.errors)
    for name, value in sent.read_only.items():
        is_excused = moved_on and name in resource.fields and resource.fields[name].is_bookkeeping
        if not is_excused and not same_json(value, current.get(name)):
            errors[name] = [CHANGED]
    if errors:
        raise Invalid(errors=dotted(errors))


def _has_moved_on(resource: Resource, sent: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether what raises no version (a login, a health check) has happened since the client read the object."""
    times = [name for name, field in resource.fields.items() if field.kind is Kind.TIME and field.is_bookkeeping]
    return any(_is_before(sent[name], current[name]) for name in times if name in sent)


def _is_before(earlier: Any, later: str | None) -> bool:
    """Whether one time, which a client has sent, is before another one; null is before every time."""
    if earlier is None or later is None:
        return later is not None
    try:
        return datetime.fromisoformat(earlier) < datetime.fromisoformat(later)
    except (ValueError, TypeError):
        return False
