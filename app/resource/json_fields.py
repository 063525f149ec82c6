"""What each kind of field takes in JSON: strict about types, trimmed, and in range; and how some merge."""

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.core.messages import tr
from app.core.values import clean_text, exact_number, fold, same_json
from app.resource.fields import Check

MAX_TEXT = 10_000
"""Characters of a text without a length of its own."""

MAX_ITEMS = 100

MAX_ATTRIBUTES = 64

ATTRIBUTE_KEY = re.compile(r"[^\W_][\w .()%+#/-]{0,63}")


class EmptyIsNull(fields.Field[Any]):
    """Reads empty text as null where null is allowed: forms send it for every field that is not filled in."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if self.allow_none and isinstance(value, str) and not value.strip():
            value = None
        return super().deserialize(value, *args, **kwargs)


class Text(fields.String):
    """Trimmed text in its canonical form; empty is null where null is allowed."""

    def __init__(self, *, length: int | None = None, check: Check | None = None, **options: Any) -> None:
        super().__init__(validate=validate.Length(max=length or MAX_TEXT), **options)
        self.check = check

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            text = clean_text(super()._deserialize(value, attr, data, **kwargs))
            if text and self.check is not None:
                text = self.check(text)
        except ValueError as error:
            raise ValidationError(error.args[0]) from None
        if text:
            return text
        if not self.allow_none:
            raise ValidationError(tr("May not be empty.", rule="required"))
        return None

    def _validate(self, value: Any) -> None:
        if value is not None:
            super()._validate(value)


class Integer(EmptyIsNull, fields.Integer):
    """A whole JSON number: 8.0 is one, as in JSON Schema; text and true are not."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        # A float beyond 2^53 may have been rounded already, so it names no integer.
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**53)
        if isinstance(value, bool) or not is_whole:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Option(EmptyIsNull, fields.Enum[Any]):
    """A member of an enumeration, by its value."""

    def __init__(self, enum: Any, **options: Any) -> None:
        super().__init__(enum, by_value=True, **options)


class Number(EmptyIsNull, fields.Float):
    """A JSON number: not text, not true, not infinite."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.make_error("invalid", input=value)
        # As many decimals as are stored, so that the audit log has what the database has.
        number: float = round(super()._deserialize(value, attr, data, **kwargs), 3)
        return number


class MoneyText(EmptyIsNull, fields.String):
    """An amount to the cent, as text: a JSON number is a float to most who read it."""

    def __init__(self, *, minimum: float | None, maximum: float | None, **options: Any) -> None:
        options["metadata"] = {**options.get("metadata", {}), "format": "decimal", "example": "1299.00"}
        super().__init__(**options)
        self.in_range = validate.Range(minimum, maximum)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        amount = isinstance(value, str | int | float) and re.fullmatch(r"-?[0-9]{1,13}(\.[0-9]{1,2})?", str(value))
        if not amount or isinstance(value, bool):
            raise ValidationError(tr("Must be an amount such as 1299.00.", rule="format"))
        return self.in_range(Decimal(str(value)))


class Flag(EmptyIsNull, fields.Boolean):
    """true or false, and not what equals them in Python: 1 and 0."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Day(EmptyIsNull, fields.Date):
    """A date as YYYY-MM-DD; ISO 8601 has more ways to write one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        return super()._deserialize(value, attr, data, **kwargs)


class Moment(EmptyIsNull, fields.AwareDateTime):
    """A time with its zone, far enough from the ends of the calendar to be one in UTC too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        loaded = super()._deserialize(value, attr, data, **kwargs)
        if not 1 < loaded.year < 9999:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        return loaded


class Member(fields.Nested):
    """An object inside of another: always a whole one, also where the outer one is changed in part."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, partial: Any = None, **kwargs: Any) -> Any:
        return super()._deserialize(value, attr, data, partial=False, **kwargs)


class Attributes(fields.Dict):
    """Changes of the organisation's own fields: an object that is merged by key into the stored one."""

    def __init__(self, **options: Any) -> None:
        options["metadata"] = {
            **options.get("metadata", {}),
            "description": "Merged by key: null removes one attribute. Null instead of an object removes all.",
        }
        super().__init__(keys=fields.String(), **options)

    @property
    def described_values(self) -> dict[str, Any]:
        """What the document says of a value; in an answer none is null."""
        return {"type": ["string", "number", "boolean", *(["null"] if self.allow_none else [])]}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        loaded: Any = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        return clean_attributes(loaded)


def clean_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Check and trim attributes; raises ValidationError naming each bad key."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValidationError(tr("At most {max} attributes.", rule="length", max=MAX_ATTRIBUTES))
    clean: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for key, value in attributes.items():
        try:
            name = clean_text(key)
            if not ATTRIBUTE_KEY.fullmatch(name):
                raise ValueError(
                    tr("Not a valid attribute name: at most 64 letters, digits, spaces and _.()%+#/-.", rule="format")
                )
            if name in clean:
                raise ValueError(tr("This attribute is there twice.", rule="repeated"))
            clean[name] = clean_attribute(value)
        except ValueError as error:
            errors[key] = [error.args[0]]
    if errors:
        raise ValidationError(errors)
    return clean


def clean_attribute(value: Any) -> Any:
    """The value of an attribute as it is stored, empty text as null; raises ValueError."""
    if isinstance(value, str):
        text = clean_text(value)
        if len(text) > MAX_TEXT:
            raise ValueError(tr("At most {max} characters.", rule="length", max=MAX_TEXT))
        return text or None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return exact_number(value)
    raise ValueError(tr("Must be text, a number, true, false or null.", rule="type"))


def merge_attributes(stored: Mapping[str, Any], sent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes after a JSON merge patch (RFC 7396): null removes a key, and null instead of an object removes all."""
    if sent is None:
        return {}
    merged = {**stored, **sent}
    if None not in sent.values():
        return merged
    return {key: value for key, value in merged.items() if sent.get(key, value) is not None}


def limit_error(attributes: Mapping[str, Any]) -> str | None:
    """What is wrong with attributes that were merged into others: there are too many."""
    if len(attributes) <= MAX_ATTRIBUTES:
        return None
    return tr(
        "At most {max} attributes; with these there are {count}.",
        rule="length",
        max=MAX_ATTRIBUTES,
        count=len(attributes),
    )


def put_back_attributes(
    stored: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[str]]:
    """Attributes with the keys that a change from `old` to `new` set as they were, and which of these differ since.

    All other keys stay: they are somebody else's change. An attribute is never null, so an absent one is None here.
    """
    old, new = old or {}, new or {}
    keys = [key for key in {**old, **new} if not same_json(old.get(key), new.get(key))]
    changed_since = [key for key in keys if not same_json(stored.get(key), new.get(key))]
    return merge_attributes(stored, {key: old.get(key) for key in keys}), changed_since


def edit_members(stored: Sequence[str], added: Collection[str], removed: Collection[str]) -> list[str]:
    """A list without the removed members and with the added ones that it lacks, compared as filters compare them."""
    gone = {fold(member) for member in removed}
    members = [member for member in stored if fold(member) not in gone]
    present = {fold(member) for member in members}
    for member in added:
        if fold(member) not in present:
            members.append(member)
            present.add(fold(member))
    return members
