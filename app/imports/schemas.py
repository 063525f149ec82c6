"""Schemas of imports: the upload form, the import, its plan."""

from marshmallow import INCLUDE, Schema, fields
from marshmallow.validate import Length

from app.core.http.api import Upload
from app.core.http.openapi.failures import FailureDetailsSchema
from app.core.http.paging import PageSchema
from app.imports.map.columns import Certainty, ColumnUse
from app.imports.models import ExtraColumns, ImportMode, ImportPhase, ImportStatus, OnError, RowAction
from app.imports.settings_schemas import Encoding, SettingsSchema
from app.resource import ReferenceSchema
from app.resource.schema import changes_field
from app.sheets.dates import DateOrder
from app.sheets.encodings import ENCODINGS


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
    constants = fields.String(
        metadata={
            "description": 'JSON: `{"server": "gpu-01"}`, the values of all rows that have none, on all sheets whose '
            "resource has such a field."
        }
    )
    create_missing = fields.String(
        metadata={
            "description": "Resources, separated by commas, whose objects are created if rows refer to one that does "
            "not exist (default: those that a known format names)."
        }
    )
    use_formats = fields.Boolean(metadata={"description": "False: no sheet is read as a known format."})
    apply = fields.Boolean(load_default=False, metadata={"description": "Apply the plan at once if no row has errors."})


class UploadSchema(OptionsSchema):
    file = Upload(required=True, metadata={"description": "An .xlsx, .xlsm or .csv file."})


class ApplySchema(Schema):
    revision = fields.Integer(
        strict=True, metadata={"description": "The revision that was seen; 412 if the import has another by now."}
    )
    on_error = fields.Enum(OnError, by_value=True, load_default=OnError.ABORT)


class ProgressSchema(Schema):
    phase = fields.Enum(ImportPhase, by_value=True, required=True)
    label = fields.String(required=True, metadata={"description": "What is being done, in the language of the answer."})
    done = fields.Integer(required=True, metadata={"description": "The rows that the phase has processed."})
    total = fields.Integer(
        required=True,
        metadata={
            "description": "Of so many rows; 0: not known. While a file is read: what its dimensions or lines say."
        },
    )
    rows_per_second = fields.Integer(required=True, allow_none=True)
    seconds_left = fields.Float(required=True, allow_none=True)


class ReversalSchema(Schema):
    """The number of objects that a revert has deleted and restored, by resource."""

    removed = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    restored = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


def _parameters() -> fields.Dict:
    return fields.Dict(required=True, metadata={"description": "The values in the message, by name."})


class NoteSchema(Schema):
    """What is said of a sheet or a column: a rule to branch on, and its message in the language of the answer."""

    rule = fields.String(required=True)
    message = fields.String(required=True)
    parameters = _parameters()


class SheetMessageSchema(NoteSchema):
    """An error or a warning of a sheet as a whole; which other members there are depends on the rule."""

    class Meta:
        unknown = INCLUDE

    column = fields.String(metadata={"description": "The letters of its column."})
    title = fields.String()
    suggestion = fields.String()
    count = fields.Integer(metadata={"description": "How many cells, rows or columns it is about."})
    cells = fields.List(fields.String(), metadata={"description": "The first of them."})


class SheetColumnSchema(Schema):
    column = fields.String(
        required=True, allow_none=True, metadata={"description": "Its letters; null for a constant of all rows."}
    )
    title = fields.String(required=True)
    use = fields.Enum(ColumnUse, by_value=True, required=True)
    field = fields.String(required=True, allow_none=True)
    attribute = fields.String(required=True, allow_none=True)
    certainty = fields.Enum(
        Certainty,
        by_value=True,
        required=True,
        metadata={
            "description": "`set` (by a person, a saved mapping or a known format), the `exact` title of the "
            "field, `likely`, or `none`: not known."
        },
    )
    alternatives = fields.List(
        fields.String(), required=True, metadata={"description": "Other fields that the title may mean, nearest first."}
    )
    samples = fields.List(fields.Raw(), required=True, metadata={"description": "The first different values."})
    explanation = fields.Nested(
        NoteSchema, required=True, metadata={"description": "What is done with the column, and why."}
    )


class ValueCountSchema(Schema):
    value = fields.String(required=True)
    count = fields.Integer(required=True)


class MessageGroupSchema(Schema):
    """The errors or warnings of one rule in one column."""

    severity = fields.String(required=True, metadata={"enum": ["error", "warning"], "enumeration": "Severity"})
    rule = fields.String(required=True)
    column = fields.String(required=True, allow_none=True, metadata={"description": "Its letters."})
    title = fields.String(required=True, allow_none=True)
    field = fields.String(required=True, allow_none=True)
    message = fields.String(required=True, metadata={"description": "That of the first row."})
    parameters = _parameters()
    count = fields.Integer(required=True)
    listed = fields.Integer(
        required=True,
        metadata={"description": "How many of them the rows list: the first 1,000 of a warning, all of an error."},
    )
    rows = fields.List(fields.Integer(), required=True, metadata={"description": "The first rows that have it."})
    values = fields.List(
        fields.Nested(ValueCountSchema),
        required=True,
        metadata={"description": "Of its cells, most frequent first."},
    )


class TextSchema(Schema):
    """The format of delimited text, as it was detected."""

    encoding = fields.String(required=True)
    delimiter = fields.String(required=True)
    line_end = fields.String(required=True, metadata={"enum": ["LF", "CRLF", "CR", "none"], "enumeration": "LineEnd"})


class SheetSchema(Schema):
    sheet = fields.String(required=True)
    resource = fields.String(required=True, allow_none=True, metadata={"description": "Null: not recognised."})
    format = fields.String(
        required=True, allow_none=True, metadata={"description": "The known format that it is read as."}
    )
    skipped = fields.Boolean(required=True, metadata={"description": "True: left out, as it was set."})
    row_count = fields.Integer(required=True)
    column_count = fields.Integer(required=True)
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
    choices = fields.List(
        fields.String(), required=True, metadata={"description": "The fields that a column may be set to."}
    )
    missing_fields = fields.List(
        fields.String(), required=True, metadata={"description": "Required fields that nothing fills."}
    )
    messages = fields.List(
        fields.Nested(MessageGroupSchema),
        required=True,
        metadata={"description": "The errors and warnings of all rows, those of one rule and column together."},
    )
    problems = fields.List(
        fields.Nested(SheetMessageSchema),
        required=True,
        metadata={"description": "Errors of the sheet as a whole, which refuse it."},
    )
    sheet_warnings = fields.List(fields.Nested(SheetMessageSchema), required=True)
    sheet_notes = fields.List(
        fields.Nested(NoteSchema), required=True, metadata={"description": "What was decided without a question."}
    )
    notes = fields.List(fields.String(), required=True, metadata={"description": "The messages of `sheet_notes`."})


class ProblemSchema(FailureDetailsSchema):
    """What is in the way: the `data` of a failure, with its message."""

    message = fields.String(required=True)


class ImportSchema(Schema):
    id = fields.Integer(required=True)
    revision = fields.Integer(required=True, metadata={"description": "Grows with each change of the settings."})
    status = fields.Enum(ImportStatus, by_value=True, required=True)
    filename = fields.String(required=True)
    mode = fields.Enum(ImportMode, by_value=True, required=True)
    extra = fields.Enum(ExtraColumns, by_value=True, required=True)
    encoding = fields.String(required=True, allow_none=True, metadata={"description": "As it is set; null: detected."})
    dates = fields.Enum(DateOrder, by_value=True, required=True, allow_none=True)
    settings = fields.Nested(SettingsSchema, required=True)
    progress = fields.Nested(ProgressSchema, required=True)
    sheets = fields.List(fields.Nested(SheetSchema), required=True)
    is_sample = fields.Boolean(required=True, metadata={"description": "The sample estate that the platform makes."})
    problem = fields.Nested(
        ProblemSchema,
        required=True,
        allow_none=True,
        metadata={
            "description": "Why it is invalid, failed, was applied in part or could not be reverted; null: nothing is "
            "in its way."
        },
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
    rule = fields.String(metadata={"description": "Only rows with an error or a warning of this rule."})
    column = fields.String(
        metadata={"description": "Only rows with an error or a warning in this column: its letters, title or field."}
    )
    has_warnings = fields.Boolean(metadata={"description": "Only rows with warnings, or without."})
    cursor = fields.String(
        metadata={"description": "Instead of `page`: empty to start, then `next_cursor` of the page before."}
    )


class RowMessageSchema(Schema):
    """An error or a warning of a cell, or of the row where `cell` is null."""

    cell = fields.String(required=True, allow_none=True)
    column = fields.String(required=True, allow_none=True)
    field = fields.String(required=True, allow_none=True)
    value = fields.Raw(required=True, allow_none=True)
    rule = fields.String(required=True)
    message = fields.String(required=True)
    parameters = _parameters()
    suggestion = fields.String(required=True, allow_none=True)


class RowSchema(Schema):
    sheet = fields.String(required=True)
    row = fields.Integer(required=True, metadata={"description": "The row's number as the spreadsheet shows it."})
    resource = fields.String(required=True)
    action = fields.Enum(RowAction, by_value=True, required=True)
    id = fields.Integer(required=True, allow_none=True)
    changes = changes_field(
        "What changes, by field; a reference is {id, name}, or {row, name} if the file creates it.", required=True
    )
    errors = fields.List(fields.Nested(RowMessageSchema), required=True)
    warnings = fields.List(fields.Nested(RowMessageSchema), required=True)
    more_warnings = fields.Integer(
        required=True,
        metadata={"description": "Further warnings, beyond the first 1,000 of their rule and column."},
    )
