"""Schemas of personal access tokens; the token itself is part of one response only."""

import ipaddress

from marshmallow import Schema, ValidationError, fields, validate

from app.core.messages import tr
from app.core.values import utcnow
from app.resource import Moment, Text

MAX_NETWORKS = 32


def _network(text: str) -> str:
    """A network in CIDR notation, or a single address, in its canonical form."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(tr("Must be a network such as 10.0.0.0/8 or an address.", rule="format")) from None


def _in_the_future(time: object) -> None:
    if time is not None and time <= utcnow():  # type: ignore[operator]
        raise ValidationError(tr("Must be in the future.", rule="future"))


class NewTokenSchema(Schema):
    name = Text(length=255, required=True)
    scopes = fields.List(
        fields.String(validate=validate.OneOf(["read", "write"]), metadata={"enumeration": "TokenScope"}),
        load_default=["read"],
        validate=validate.Length(1, 2),
        metadata={"description": "`write` includes `read`."},
    )
    expires_at = Moment(
        allow_none=True,
        load_default=None,
        validate=_in_the_future,
        metadata={"description": "null: the token never expires."},
    )
    networks = fields.List(
        Text(length=64, check=_network),
        load_default=[],
        validate=validate.Length(max=MAX_NETWORKS),
        metadata={"description": "CIDR networks that it may be used from; empty: any.", "example": ["10.0.0.0/8"]},
    )


class TokenSchema(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    hint = fields.String(required=True, metadata={"description": "The last characters of the token."})
    scopes = fields.List(fields.String(), required=True)
    networks = fields.List(fields.String(), required=True)
    created_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    revoked_at = fields.AwareDateTime(required=True, allow_none=True)
    last_used_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "Accurate to about a minute."}
    )
    last_used_ip = fields.String(required=True, allow_none=True)


class CreatedTokenSchema(TokenSchema):
    token = fields.String(required=True, metadata={"description": "The token; it cannot be shown again."})
