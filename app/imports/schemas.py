"""Imports as JSON, and the form that starts one."""

from marshmallow import Schema, fields
from marshmallow.validate import Length

from app.core.http.api import Upload
from app.core.http.paging import PageSchema
from app.imports.map.tables import Use
from app.imports.models import Action, Extra, ImportStatus, Mode, OnError
from app.resource.schema import ReferenceSchema


class OptionsSchema(Schema):
    """The fields of the upload's form beside its file."""

    resource = fields.String(metadata={"description": "What the sheets hold whose title does not say it."})
    mode = fields.Enum(Mode, by_value=True, load_default=Mode.UPSERT)
    match = fields.String(metadata={"description": "The field by which rows find their objects."})
    mapping = fields.String(
        metadata={
            "description": 'JSON: {"<column title>": "<field>"}, or null to leave the column out; or the name of one '
            "that was remembered."
        }
    )
    remember = fields.String(
        validate=Length(1, 100),
        metadata={"description": "Keep the mapping under this name, for sheets with the same titles."},
    )
    extra = fields.Enum(Extra, by_value=True, load_default=Extra.KEEP)
    apply = fields.Boolean(load_default=False, metadata={"description": "Apply at once when no row is wrong."})


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
    """What undoing an import has done to how many objects of each resource."""

    removed = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    restored = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class SheetColumnSchema(Schema):
    column = fields.String(required=True)
    title = fields.String(required=True)
    use = fields.String(required=True, metadata={"enum": [use.value for use in Use]})
    field = fields.String(required=True, allow_none=True)
    attribute = fields.String(required=True, allow_none=True)


class TextSchema(Schema):
    """How delimited text was read: nobody has to say it, and everybody can see it."""

    encoding = fields.String(required=True)
    delimiter = fields.String(required=True)
    line_end = fields.String(required=True, metadata={"enum": ["LF", "CRLF", "CR", "none"]})


class SheetSchema(Schema):
    sheet = fields.String(required=True)
    resource = fields.String(required=True, allow_none=True, metadata={"description": "Null: not understood."})
    header_row = fields.Integer(required=True, allow_none=True)
    text = fields.Nested(
        TextSchema, required=True, allow_none=True, metadata={"description": "Null: it is a workbook's."}
    )
    create = fields.Integer(required=True)
    update = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    error = fields.Integer(required=True)
    warnings = fields.Integer(required=True)
    columns = fields.List(fields.Nested(SheetColumnSchema), required=True)
    problems = fields.List(fields.Dict(), required=True)
    notes = fields.List(fields.String(), required=True)


class ImportSchema(Schema):
    id = fields.Integer(required=True)
    status = fields.Enum(ImportStatus, by_value=True, required=True)
    filename = fields.String(required=True)
    mode = fields.Enum(Mode, by_value=True, required=True)
    extra = fields.Enum(Extra, by_value=True, required=True)
    progress = fields.Nested(ProgressSchema, required=True)
    sheets = fields.List(fields.Nested(SheetSchema), required=True)
    problem = fields.Dict(
        required=True, allow_none=True, metadata={"description": "Why it is invalid, failed or could not be undone."}
    )
    reversal = fields.Nested(
        ReversalSchema, required=True, allow_none=True, metadata={"description": "Null: it is not undone."}
    )
    request_id = fields.String(
        required=True, metadata={"description": "The audit log's records of this import carry it."}
    )
    created_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(required=True, allow_none=True)
    created_by = fields.Nested(ReferenceSchema, required=True, allow_none=True)


class RowQuerySchema(PageSchema):
    status = fields.Enum(Action, by_value=True, metadata={"description": "Only rows with this action."})
    sheet = fields.String(metadata={"description": "Only rows of this sheet."})


class MistakeSchema(Schema):
    """What is wrong with, or was decided about, one cell."""

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
    action = fields.Enum(Action, by_value=True, required=True)
    id = fields.Integer(required=True, allow_none=True)
    changes = fields.Dict(required=True, metadata={"description": "{field: {old, new}}"})
    errors = fields.List(fields.Nested(MistakeSchema), required=True)
    warnings = fields.List(fields.Nested(MistakeSchema), required=True)
