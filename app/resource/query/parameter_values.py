"""The typed values of query parameters; those of addresses in any spelling, and networks of IP addresses."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from app.core.addresses import key_of_address, mac_address, mac_digits, parse_network
from app.core.db.rules import is_ip_address, is_mac_address
from app.core.errors import BadParameter, BadRequest, nearest_names
from app.core.library_messages import recognised
from app.core.messages import Message, tr
from app.core.values import MAX_ID, clean_text
from app.resource.fields import Field, Kind
from app.resource.json_fields import MAX_TEXT

_NO_ADDRESS = tr("Must be an IPv4 or IPv6 address, or a network such as 10.0.0.0/8.", rule="format")
_NO_SINGLE_ADDRESS = tr("Must be an IPv4 or IPv6 address.", rule="format")
_NO_TIME = tr("Must be a time (ISO 8601 with its zone) or a date (YYYY-MM-DD).", rule="format")


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The times that a text stands for, from `start` to before `end`: a microsecond, or a date's whole day in UTC."""

    start: datetime
    end: datetime

    @property
    def until(self) -> datetime:
        """Where a range ends whose end is this: after the day, or at the moment."""
        return self.start if self.end - self.start == timedelta.resolution else self.end


class QueryTime(fields.AwareDateTime):
    """A time in a query, read as filters read theirs: of a date its beginning or, where it `ends` a range, its end."""

    def __init__(self, *, ends: bool = False, **options: Any) -> None:
        self.ends = ends
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        period: TimeSpan = read_text(attr or "time", str(value), Kind.TIME, None)
        return period.until if self.ends else period.start


def read_text(parameter: str, text: str, kind: Kind, field: Field | None) -> Any:
    """The typed value of a query parameter; raises BadRequest."""
    try:
        # SQLite refuses patterns of more than 50,000 bytes.
        if len(text) > MAX_TEXT:
            raise ValueError(tr("May have at most {max} characters.", rule="length", max=MAX_TEXT))
        return _READERS[kind](clean_text(text), field)
    except (ValueError, ValidationError) as error:
        detail = error.messages[0] if isinstance(error, ValidationError) else error.args[0]
        problem = recognised(detail)
        message = tr("{parameter}: {problem}", parameter=parameter, problem=problem)
        nearest = problem.parameters.get("did_you_mean") if isinstance(problem, Message) else None
        raise BadParameter(message, errors={parameter: [problem]}, did_you_mean=nearest) from None


def _read_integer(text: str, _field: Field | None) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or abs(int(text)) > MAX_ID:
        raise ValueError(tr("Must be a whole number of at most 64 bits.", rule="type"))
    return int(text)


def _read_number(text: str, _field: Field | None) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", text):
        raise ValueError(tr("Must be a number.", rule="type"))
    return float(text)


def _read_money(text: str, _field: Field | None) -> Decimal:
    if not re.fullmatch(r"[+-]?[0-9]{1,13}(\.[0-9]{1,2})?", text):
        raise ValueError(tr("Must be an amount such as 1299.00.", rule="format"))
    return Decimal(text)


def _read_boolean(text: str, _field: Field | None) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(tr("Must be true or false.", rule="type"))
    return text.lower() in ("true", "1")


def _read_date(text: str, _field: Field | None) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(tr("Must be a date (YYYY-MM-DD).", rule="format"))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(tr("There is no such date.", rule="format")) from None


def _read_period(text: str, _field: Field | None) -> TimeSpan:
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        day = _read_date(text, None)
        start, length = datetime(day.year, day.month, day.day, tzinfo=UTC), timedelta(days=1)
    else:
        # In a query string an unescaped "+" of the zone arrives as a space.
        field = fields.AwareDateTime(format="iso", error_messages={"invalid": _NO_TIME})
        start, length = field.deserialize(text.replace(" ", "+")), timedelta.resolution
    if not 1 < start.year < 9999:
        raise ValueError(tr("Must be a time of this era.", rule="range"))
    return TimeSpan(start, start + length)


def _read_choice(text: str, field: Field | None) -> Any:
    assert field is not None
    assert field.choices is not None
    values = [member.value for member in field.choices]
    try:
        return field.choices(text.lower())
    except ValueError:
        nearest = nearest_names(text.lower(), values)
        choices = ", ".join(values)
        raise ValueError(
            tr("Must be one of {choices}.", rule="choice", choices=choices, did_you_mean=nearest)
        ) from None


_READERS: Mapping[Kind, Callable[[str, Field | None], Any]] = {
    Kind.TEXT: lambda text, _field: text,
    Kind.LIST: lambda text, _field: text,
    Kind.INTEGER: _read_integer,
    Kind.REFERENCE: _read_integer,
    Kind.NUMBER: _read_number,
    Kind.MONEY: _read_money,
    Kind.BOOLEAN: _read_boolean,
    Kind.DATE: _read_date,
    Kind.TIME: _read_period,
    Kind.CHOICE: _read_choice,
}


@dataclass(frozen=True, slots=True)
class AddressRange:
    """The addresses of a network as their `address_key`s, from `start` to before `end`."""

    start: str
    end: str
    is_single: bool


def is_address(field: Field | None, name: str) -> bool:
    """Whether a parameter of this name is about the addresses in the field."""
    return field is not None and name == field.name and (is_ip_address(field.column) or is_mac_address(field.column))


def read_address_part(parameter: str, text: str, field: Field) -> str:
    """A part of an address as `contains` and `startswith` compare it; of a MAC address its digits alone."""
    part: str = read_text(parameter, text, Kind.TEXT, field)
    is_mac = is_mac_address(field.column)
    part = mac_digits(part) if is_mac else part.lower()
    if not re.fullmatch(r"[0-9a-f]*" if is_mac else r"[0-9a-f.:]*", part):
        raise _refuse(parameter, tr("Must be a part of an address.", rule="format"))
    return part


def read_mac_address(parameter: str, text: str, field: Field) -> str:
    """A hardware address in its canonical form; raises BadRequest."""
    try:
        return mac_address(read_text(parameter, text, Kind.TEXT, field))
    except ValueError as error:
        raise _refuse(parameter, error.args[0]) from None


def read_ip_addresses(parameter: str, text: str, field: Field, *, single: bool) -> AddressRange:
    """An address or, unless it must be a `single` one, a network; raises BadRequest."""
    try:
        network = parse_network(read_text(parameter, text, Kind.TEXT, field))
    except ValueError:
        raise _refuse(parameter, _NO_SINGLE_ADDRESS if single else _NO_ADDRESS) from None
    first, last = network.network_address, network.broadcast_address
    if single and first != last:
        raise _refuse(parameter, _NO_SINGLE_ADDRESS)
    # No key is a prefix of another, so what follows the last one begins with it.
    return AddressRange(key_of_address(first), key_of_address(last) + "0", is_single=first == last)


def _refuse(parameter: str, message: str) -> BadRequest:
    return BadParameter(
        tr("{parameter}: {problem}", parameter=parameter, problem=message), errors={parameter: [message]}
    )
