"""Schemas of imports: the upload form, the import, its plan."""

from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length

from app.core.http.api import Upload
from app.core.http.envelope import FailureDetailsSchema
from app.core.http.paging import PageSchema
from app.imports.map.columns import ColumnUse
from app.imports.models import ExtraColumns, ImportMode, ImportStatus, OnError, RowAction
from app.resource import ReferenceSchema
from app.sheets.dates import DateOrder
from app.sheets.encodings import ENCODINGS, named_encoding


class Encoding(fields.String):
    """The name of an encoding in any spelling, loaded as the one in ENCODINGS."""

    def _deserialize(self, *arguments: Any, **more: Any) -> str:
        try:
            return named_encoding(str(super()._deserialize(*arguments, **more)))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class OptionsSchema(Schema):
    """The fields of the upload's form beside its file."""

    resource = fields.String(metadata={"description": "The resource of sheets whose title does not name one."})
    mode = fields.Enum(ImportMode, by_value=True, load_default=ImportMode.UPSERT)
    match = fields.String(
        metadata={"description": "The field by which rows find their objects (default: natural key)."}
    )
    mapping = fields.String(
        metadata={
            "description": 'JSON: {"<column title>": "<field>"}, or null to ignore the column; or the name of a '
            "saved mapping."
        }
    )
    remember = fields.String(
        validate=Length(1, 100),
        metadata={"description": "Save the mapping under this name, for sheets with the same titles."},
    )
    extra = fields.Enum(ExtraColumns, by_value=True, load_default=ExtraColumns.KEEP)
    encoding = Encoding(
        metadata={"description": f"The encoding of delimited text: {', '.join(ENCODINGS)} (default: detected)."}
    )
    dates = fields.Enum(
        DateOrder,
        by_value=True,
        metadata={"description": "The order of dates such as 03/04/2027 (default: what each column settles)."},
    )
    apply = fields.Boolean(load_default=False, metadata={"description": "Apply the plan at once if no row has errors."})


class UploadSchema(OptionsSchema):
    file = Upload(required=True, metadata={"description": "An .xlsx, .xlsm or .csv file."})


class ApplySchema(Schema):
    on_error = fields.Enum(OnError, by_value=True, load_default=OnError.ABORT)


class ProgressSchema(Schema):
    phase = fields.String(required=True)
    done = fields.Integer(required=True)
    total = fields.Integer(required=True)
    rows_per_second = fields.Integer(required=True, allow_none=True)
    seconds_left = fields.Float(required=True, allow_none=True)


class ReversalSchema(Schema):
    """The number of objects that a revert has deleted and restored, by resource."""

    removed = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    restored = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class SheetColumnSchema(Schema):
    column = fields.String(required=True)
    title = fields.String(required=True)
    use = fields.String(required=True, metadata={"enum": [use.value for use in ColumnUse]})
    field = fields.String(required=True, allow_none=True)
    attribute = fields.String(required=True, allow_none=True)


class TextSchema(Schema):
    """The format of delimited text, as it was detected."""

    encoding = fields.String(required=True)
    delimiter = fields.String(required=True)
    line_end = fields.String(required=True, metadata={"enum": ["LF", "CRLF", "CR", "none"]})


class SheetSchema(Schema):
    sheet = fields.String(required=True)
    resource = fields.String(required=True, allow_none=True, metadata={"description": "Null: not recognised."})
    header_row = fields.Integer(required=True, allow_none=True)
    text = fields.Nested(
        TextSchema, required=True, allow_none=True, metadata={"description": "Null: the sheet is one of a workbook."}
    )
    create = fields.Integer(required=True)
    update = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    error = fields.Integer(required=True)
    warnings = fields.Integer(required=True)
    columns = fields.List(fields.Nested(SheetColumnSchema), required=True)
    problems = fields.List(fields.Dict(), required=True)
    sheet_warnings = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "Each with `rule`, `message`, and where it applies `count` and the first `cells`."},
    )
    notes = fields.List(fields.String(), required=True)


class ProblemSchema(FailureDetailsSchema):
    """What is in the way: the `data` of a failure, with its message."""

    message = fields.String(required=True)


class ImportSchema(Schema):
    id = fields.Integer(required=True)
    status = fields.Enum(ImportStatus, by_value=True, required=True)
    filename = fields.String(required=True)
    mode = fields.Enum(ImportMode, by_value=True, required=True)
    extra = fields.Enum(ExtraColumns, by_value=True, required=True)
    encoding = fields.String(required=True, allow_none=True, metadata={"description": "As the upload names it."})
    dates = fields.Enum(DateOrder, by_value=True, required=True, allow_none=True)
    progress = fields.Nested(ProgressSchema, required=True)
    sheets = fields.List(fields.Nested(SheetSchema), required=True)
    problem = fields.Nested(
        ProblemSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Why it is invalid, failed or could not be reverted."},
    )
    reversal = fields.Nested(
        ReversalSchema, required=True, allow_none=True, metadata={"description": "Null: it has not been reverted."}
    )
    request_id = fields.String(required=True, metadata={"description": "The audit records of this import have it."})
    created_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(required=True, allow_none=True)
    created_by = fields.Nested(ReferenceSchema, required=True, allow_none=True)


class RowQuerySchema(PageSchema):
    status = fields.Enum(RowAction, by_value=True, metadata={"description": "Only rows with this action."})
    sheet = fields.String(metadata={"description": "Only rows of this sheet."})


class RowMessageSchema(Schema):
    """An error or a warning of a cell, or of the row where `cell` is null."""

    cell = fields.String(required=True, allow_none=True)
    column = fields.String(required=True, allow_none=True)
    field = fields.String(required=True, allow_none=True)
    value = fields.Raw(required=True, allow_none=True)
    rule = fields.String(required=True)
    message = fields.String(required=True)
    suggestion = fields.String(required=True, allow_none=True)


class RowSchema(Schema):
    sheet = fields.String(required=True)
    row = fields.Integer(required=True, metadata={"description": "The row's number as the spreadsheet shows it."})
    resource = fields.String(required=True)
    action = fields.Enum(RowAction, by_value=True, required=True)
    id = fields.Integer(required=True, allow_none=True)
    changes = fields.Dict(required=True, metadata={"description": "{field: {old, new}}"})
    errors = fields.List(fields.Nested(RowMessageSchema), required=True)
    warnings = fields.List(fields.Nested(RowMessageSchema), required=True)
