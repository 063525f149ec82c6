"""Schemas of what is set about a file, as it is sent and as it is shown."""

from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, Regexp

from app.core.messages import tr
from app.core.values import clean_text
from app.imports.map.headers import MAX_TITLE
from app.resource import Text
from app.sheets.dates import DateOrder
from app.sheets.encodings import named_encoding

MAX_MAPPED = 512
MAX_MEANINGS = 2000
MAX_SKIPPED = 10_000


class Map(fields.Dict):
    """An object whose errors are named by its keys alone."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **options)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            plain = {key: parts.get("value", parts.get("key")) for key, parts in error.messages.items()}
            raise ValidationError(plain) from None


class Encoding(fields.String):
    """The name of an encoding in any spelling, loaded as the one in ENCODINGS."""

    def _deserialize(self, *arguments: Any, **more: Any) -> str:
        try:
            return named_encoding(str(super()._deserialize(*arguments, **more)))
        except ValueError as error:
            raise ValidationError(error.args[0]) from None


class CellText(fields.String):
    """Text that may be empty, as a cell may; without NUL, which PostgreSQL does not store."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        try:
            return clean_text(super()._deserialize(value, attr, data, **options))
        except ValueError as error:
            raise ValidationError(error.args[0]) from None


class ConstantField(fields.Field[Any]):
    """A text, a number or a boolean."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": ["string", "number", "boolean"]}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        if isinstance(value, str):
            return CellText(validate=Length(max=MAX_TITLE)).deserialize(value, attr, data)
        if not isinstance(value, bool | int | float):
            raise ValidationError(tr("Must be a text, a number or a boolean.", rule="type"))
        return value


def constants_map(description: str) -> Map:
    return Map(
        keys=Text(length=MAX_TITLE),
        values=ConstantField(allow_none=True),
        validate=Length(max=MAX_MAPPED),
        metadata={"description": description},
    )


class SheetSettingsSchema(Schema):
    """What is set about one sheet; what is not set is guessed. Null takes a setting back, in maps key by key."""

    resource = Text(allow_none=True, length=64)
    skip = fields.Boolean(allow_none=True, metadata={"description": "Leave the sheet out."})
    header_row = fields.Integer(strict=True, allow_none=True, metadata={"description": "The row of the titles."})
    last_row = fields.Integer(strict=True, allow_none=True, metadata={"description": "The last row of the table."})
    dates = fields.Enum(
        DateOrder, by_value=True, allow_none=True, metadata={"description": "The order of dates such as 03/04/2027."}
    )
    columns = Map(
        keys=fields.String(validate=Regexp("[A-Z]{1,3}$")),
        values=Text(allow_none=True, length=MAX_TITLE),
        validate=Length(max=MAX_MAPPED),
        metadata={"description": "By letters: a field, `attributes.<name>`, or `ignore`."},
    )
    values = Map(
        keys=Text(length=MAX_TITLE),
        values=Map(
            keys=Text(length=MAX_TITLE),
            values=CellText(allow_none=True, validate=Length(max=MAX_TITLE)),
            validate=Length(max=MAX_MEANINGS),
        ),
        validate=Length(max=MAX_MAPPED),
        metadata={
            "description": 'By field or `attributes.<name>`, what cells mean: `{"status": {"备用": "in_stock"}}`. '
            "`*` in a cell stands for any text: `Up *`. An empty meaning stands for an empty cell."
        },
    )
    constants = constants_map("By field or `attributes.<name>`: the value of all rows that have none.")
    units = Map(
        keys=Text(length=MAX_TITLE),
        values=Text(allow_none=True, length=32),
        validate=Length(max=MAX_MAPPED),
        metadata={
            "description": "By field: the unit of numbers where neither title nor cell names one: "
            '`{"memory_gb": "MB"}`.'
        },
    )
    fallbacks = Map(
        keys=Text(length=MAX_TITLE),
        values=Text(allow_none=True, length=MAX_TITLE),
        validate=Length(max=MAX_MAPPED),
        metadata={
            "description": "By field: the field or `attributes.<name>` whose text a new object takes where the row has "
            'none: `{"name": "asset_tag"}`.'
        },
    )
    match = fields.List(
        Text(length=MAX_TITLE),
        allow_none=True,
        validate=Length(1, 8),
        metadata={"description": "The fields and `attributes.<name>` by which rows find their objects."},
    )
    skip_rows = fields.List(
        fields.Integer(strict=True), allow_none=True, validate=Length(max=MAX_SKIPPED), metadata={"example": [7, 12]}
    )
    use_saved = fields.Boolean(
        allow_none=True, metadata={"description": "False: no saved mapping is used for the sheet."}
    )
    use_format = fields.Boolean(
        allow_none=True, metadata={"description": "False: the sheet is not read as a known format."}
    )


class SettingsSchema(Schema):
    """What is set about a file."""

    create_missing = fields.List(
        fields.String(),
        allow_none=True,
        metadata={"description": "Resources whose objects are created if rows refer to one that does not exist."},
    )
    constants = constants_map("Of all sheets whose resource has such a field: the value of all rows that have none.")
    use_formats = fields.Boolean(
        allow_none=True, metadata={"description": "False: no sheet is read as a known format."}
    )
    sheets = Map(keys=fields.String(), values=fields.Nested(SheetSettingsSchema, allow_none=True))


class CorrectionSchema(SettingsSchema):
    """A change of the settings: objects merge, null takes back, all else replaces."""

    revision = fields.Integer(
        strict=True, metadata={"description": "The revision that was seen; 412 if the import has another by now."}
    )
    encoding = Encoding(allow_none=True, metadata={"description": "Of delimited text; null: detected."})
    dates = fields.Enum(
        DateOrder, by_value=True, allow_none=True, metadata={"description": "Of all sheets that set none; null: found."}
    )
    remember = Text(
        length=100,
        metadata={"description": "Save how the sheets are read by then under this name, for sheets with these titles."},
    )
    apply = fields.Boolean(load_default=False, metadata={"description": "Apply the plan at once if no row has errors."})
