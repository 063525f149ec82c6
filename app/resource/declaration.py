"""The declaration of a resource."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from app.core.db.models import Entity
from app.core.db.rules import add_lookup_index, is_text
from app.core.http.access import Role
from app.core.titles import in_sentence
from app.resource.fields import Field, Kind, fields_of
from app.resource.schema import ResourceSchema


@dataclass(frozen=True, kw_only=True, eq=False)
class Resource:
    """A declaration; every generated route, query, document, sheet and contract test is derived from it."""

    model: Any
    """A mapped class. Its table's name is the resource's: in URLs, in the audit log, in the catalog."""
    schema: type[ResourceSchema]
    titles: Sequence[str]
    """Its names for people and for sheets of workbooks: the English plural first, then names in other languages."""
    search: Sequence[InstrumentedAttribute[Any]] = ()
    """The columns that `?q=` and the global search look into first, the most telling first, after the object's name.

    Every other text, list and object that a client may set is searched after them; a number or a choice must be listed.
    """
    natural_key: Sequence[tuple[str, ...]] = ()
    """The field combinations by which a spreadsheet's row finds its object, the first that is filled in."""
    recognised_by: tuple[str, ...] = ()
    """Fields that tell objects apart although nothing makes them unique, such as a serial number of a chassis: a row
    finds its object by one where exactly one row and one object have the value."""
    name_key: tuple[str, ...] = ()
    """The fields by which a row that fills in no natural key finds its object, where exactly one object has them."""
    read: Role = Role.USER
    write: Role = Role.USER
    """Who may create. With USER, each object is changed and deleted by its creator and by admins only."""

    def __post_init__(self) -> None:
        """Index the texts by which a spreadsheet's row finds its object, as far as the model has not done so."""
        for *_, name in self.natural_key if issubclass(self.model, Entity) else ():
            if is_text(self.model.__table__.c[name]):
                add_lookup_index(self.model.__table__, name)

    @cached_property
    def name(self) -> str:
        return str(self.model.__tablename__)

    @cached_property
    def words(self) -> str:
        """Its name within a sentence; an abbreviation has the capitals of its title: `GPUs`."""
        words, title = self.name.replace("_", " "), in_sentence(self.titles[0])
        return title if title.lower() == words else words

    @cached_property
    def identifiers(self) -> tuple[str, ...]:
        """The fields that an object has for good, wherever it is and whatever it is called: tags, serial numbers."""
        keys = (key[0] for key in self.natural_key if len(key) == 1 and key[0] != self.model.label)
        return (*keys, *self.recognised_by)

    @cached_property
    def noun(self) -> str:
        """What generated clients call one object: `AuditLog`."""
        return self.schema.__name__.removesuffix("Schema")

    @cached_property
    def fields(self) -> dict[str, Field]:
        """What the schema excludes is not there: it is neither shown nor filtered nor sorted by."""
        hidden = getattr(self.schema.Meta, "exclude", ())
        return {name: field for name, field in fields_of(self.model).items() if name not in hidden}

    @cached_property
    def path(self) -> str:
        return f"/api/{self.name.replace('_', '-')}"

    @cached_property
    def references(self) -> dict[str, Field]:
        """The reference fields by the name under which they are read: {"server": <server_id>}."""
        return {field.reads_as: field for field in self.fields.values() if field.kind is Kind.REFERENCE}
