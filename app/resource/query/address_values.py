"""The values of filters on address fields: in any spelling, and networks of IP addresses."""

import re
from dataclasses import dataclass

from app.core.addresses import key_of, mac_address, mac_digits, parse_network
from app.core.db.rules import is_ip_address, is_mac_address
from app.core.errors import BadParameter, BadRequest
from app.core.messages import tr
from app.resource.fields import Field, Kind
from app.resource.query.parameter_values import read_text

_NO_ADDRESS = tr("Must be an IPv4 or IPv6 address, or a network such as 10.0.0.0/8.", rule="format")
_NO_SINGLE_ADDRESS = tr("Must be an IPv4 or IPv6 address.", rule="format")


@dataclass(frozen=True, slots=True)
class AddressRange:
    """The addresses of a network as their `address_key`s, from `start` to before `end`."""

    start: str
    end: str
    is_single: bool


def is_address(field: Field | None, name: str) -> bool:
    """Whether a parameter of this name is about the addresses in the field."""
    return field is not None and name == field.name and (is_ip_address(field.column) or is_mac_address(field.column))


def read_part(parameter: str, text: str, field: Field) -> str:
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
    return AddressRange(key_of(first), key_of(last) + "0", is_single=first == last)


def _refuse(parameter: str, message: str) -> BadRequest:
    return BadParameter(
        tr("{parameter}: {problem}", parameter=parameter, problem=message), errors={parameter: [message]}
    )
