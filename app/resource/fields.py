"""Field declarations: what schemas, filters, spreadsheets and the audit log read from a model's columns."""

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.models import Entity, Id, JsonText, Money, Quantity, UtcDateTime
from app.core.messages import Term
from app.core.titles import in_sentence
from app.core.values import MAX_ID, MAX_INTEGER, Choice

Check = Callable[[str], str]
"""Brings a text into its canonical form, or raises ValueError with a sentence that says what is wrong."""


class Kind(enum.Enum):
    """What sort of value a field holds, whatever carries it (JSON, a query parameter, a cell)."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    MONEY = "money"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    CHOICE = "choice"
    REFERENCE = "reference"
    LIST = "list"
    OBJECTS = "objects"
    ATTRIBUTES = "attributes"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One column of a resource, as its clients see it."""

    name: str
    kind: Kind
    column: sa.Column[Any]
    title: str
    aliases: tuple[str, ...]
    required: bool
    nullable: bool
    read_only: bool
    minimum: float | None
    maximum: float | None
    usual: tuple[float, float] | None
    rounds_down: bool
    length: int | None
    unit: str | None
    check: Check | None
    choices: type[Choice] | None
    target: type[Entity] | None
    parent: bool
    """Whether the object is below the one that it refers to, so that only who may change that one adds to it."""

    @property
    def heading(self) -> Term:
        """What people call it, as a title."""
        return Term.of((self.title, *self.aliases))

    @property
    def term(self) -> Term:
        """What people call it within a sentence."""
        return Term(in_sentence(self.heading), self.heading.chinese)

    @property
    def reads_as(self) -> str:
        """The name under which it is read: a reference `server_id` is also read as the object `server`."""
        return self.name.removesuffix("_id") if self.target is not None else self.name

    @property
    def is_bookkeeping(self) -> bool:
        """Whether a change of it raises no version and leaves no record: of a login, of a health check."""
        return self.column.info.get("audit") is False


def column(
    title: str,
    *aliases: str,
    type_: Any = None,
    minimum: float | None = None,
    maximum: float | None = None,
    usual: tuple[float, float] | None = None,
    rounds_down: bool = False,
    unit: str | None = None,
    check: Check | None = None,
    read_only: bool = False,
    hidden: bool = False,
    audit: bool = True,
    secret: bool = False,
    guarded: bool = False,
    members: Any = None,
    index: bool = False,
    lower: bool = False,
    natural: bool = True,
    **options: Any,
) -> Any:
    """A `mapped_column` that people see: under this title, found in spreadsheets under the aliases too.

    `minimum` and `maximum` bound a number, and imports warn of one beyond `usual`, as it probably has another unit;
    where a number `rounds_down`, imports take the whole number below a fraction, with a warning;
    `unit` is the one of the stored number (GB, MB); `check` brings text into its canonical form;
    `read_only` is set by the application alone; `hidden` is never shown to anybody;
    `audit`, `secret` and `guarded` are described at app.core.audit.recorder.Recorded;
    `members` is the marshmallow schema of each object in a list of objects; `index` is for what is often looked up
    by its value; `lower` says that a text is stored in lower case, so that it is compared as it is;
    the digits of a text that is not `natural` are no numbers, so that it is ordered letter by letter.
    """
    info = {
        "title": title,
        "aliases": aliases,
        "minimum": minimum,
        "maximum": maximum,
        "usual": usual,
        "rounds_down": rounds_down,
        "unit": unit,
        "check": check,
        "read_only": read_only,
        "hidden": hidden,
        "audit": audit,
        "secret": secret,
        "guarded": guarded,
        "members": members,
        "index": index,
        "lower": lower,
        "natural": natural,
    }
    return mapped_column(*([] if type_ is None else [type_]), info=info, **options)


def reference(target: type[Entity], title: str, *aliases: str, **options: Any) -> Any:
    """A column that refers to another object: written as its id, read as its id and name, imported by name.

    With `parent` the object is below the other one, as a container is on a server: see `service.parents_in`.
    """
    info = {
        "title": title,
        "aliases": aliases,
        "target": target,
        "read_only": options.pop("read_only", False),
        "parent": options.pop("parent", False),
    }
    ondelete = options.pop("ondelete", None)
    return mapped_column(Id, sa.ForeignKey(target.id, ondelete=ondelete), index=True, info=info, **options)


class Extensible:
    """Adds `attributes`: the organisation's own fields, at most 64, each text, number, boolean or null."""

    attributes: Mapped[dict[str, Any]] = column("Attributes", default=dict, sort_order=96)


_SYSTEM = {
    "id": ("ID", "_id"),
    "version": ("Version", "_version"),
    "created_at": ("Created at", "创建时间"),
    "updated_at": ("Updated at", "更新时间"),
    "created_by_id": ("Created by", "创建人"),
}


@functools.cache
def fields_of(model: Any) -> dict[str, Field]:
    """Every field of a model that clients may see, by name, in the order of declaration."""
    columns: Sequence[sa.Column[Any]] = model.__table__.columns
    return {item.name: item for item in map(field_of, columns) if not item.column.info.get("hidden")}


@functools.cache
def field_of(column: sa.Column[Any]) -> Field:
    """One column as its clients see it."""
    info = column.info
    title, *aliases = _SYSTEM.get(column.key, (info.get("title", column.key), *info.get("aliases", ())))
    kind = _kind_of(column)
    lowest, highest = _bounds(column, kind)
    return Field(
        name=column.key,
        kind=kind,
        column=column,
        title=title,
        aliases=tuple(aliases),
        required=not column.nullable and column.default is None and column.key not in _SYSTEM,
        nullable=bool(column.nullable),
        read_only=column.key in _SYSTEM or info.get("read_only", False),
        minimum=lowest if info.get("minimum") is None else info["minimum"],
        maximum=highest if info.get("maximum") is None else info["maximum"],
        usual=info.get("usual"),
        rounds_down=info.get("rounds_down", False),
        length=getattr(column.type, "length", None) if kind is Kind.TEXT else None,
        unit=info.get("unit"),
        check=info.get("check"),
        choices=cast("type[Choice] | None", getattr(column.type, "enum_class", None)),
        target=info.get("target") or _target_of(column),
        parent=info.get("parent", False),
    )


def _kind_of(column: sa.Column[Any]) -> Kind:
    if column.foreign_keys:
        return Kind.REFERENCE
    if isinstance(column.type, sa.JSON):
        if column.key == "attributes":
            return Kind.ATTRIBUTES
        return Kind.OBJECTS if column.info.get("members") else Kind.LIST
    for type_, kind in _KINDS:
        if isinstance(column.type, type_):
            return kind
    raise TypeError(f"{column} has a type that no client could read: {column.type!r}.")


# An Enum is a String, so it comes first.
_KINDS: tuple[tuple[type[Any], Kind], ...] = (
    (sa.Enum, Kind.CHOICE),
    (JsonText, Kind.DOCUMENT),
    (sa.String, Kind.TEXT),
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (Quantity, Kind.NUMBER),
    (Money, Kind.MONEY),
    (sa.Date, Kind.DATE),
    (UtcDateTime, Kind.TIME),
)


def _bounds(column: sa.Column[Any], kind: Kind) -> tuple[float | None, float | None]:
    if kind is Kind.REFERENCE or column.key == "id":
        return 1, MAX_ID
    if kind is Kind.INTEGER:
        return -MAX_INTEGER - 1, MAX_INTEGER
    if kind in (Kind.NUMBER, Kind.MONEY):
        return -(10**11), 10**11
    return None, None


def _target_of(column: sa.Column[Any]) -> type[Entity] | None:
    """`created_by_id` is declared in the core, which cannot name the users: the foreign key does."""
    for key in column.foreign_keys:
        return next(
            (mapper.class_ for mapper in Entity.registry.mappers if mapper.local_table is key.column.table),
            None,
        )
    return None


def from_json(kind: Kind, field: Field, value: Any) -> Any:
    """A value of the JSON that `as_json` writes, as the database takes it."""
    if value is None:
        return None
    match kind:
        case Kind.CHOICE:
            assert field.choices is not None
            return field.choices(value)
        case Kind.DATE:
            return date.fromisoformat(value)
        case Kind.TIME:
            return datetime.fromisoformat(value)
        case Kind.MONEY:
            return Decimal(value)
        case _:
            return value


def row_from_json(model: Any, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the database takes it from the JSON that the audit log kept of it.

    A column that is younger than the snapshot has its default, and so has a secret, which is in no snapshot.
    """
    fields = {column.key: field_of(column) for column in model.__table__.columns}
    return {
        name: from_json(field.kind, field, snapshot[name]) if name in snapshot else default_of(field.column)
        for name, field in fields.items()
    }


def default_of(column: sa.Column[Any]) -> Any:
    """The default of a column; None where it has none."""
    default: Any = column.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg


@functools.cache
def defaults_of(model: Any) -> Mapping[str, Any]:
    """The defaults of a model, by column; one declaration for ORM, set-based writer, imports and restores."""
    return {column.key: default_of(column) for column in model.__table__.columns}
