"""The attributes of parsed rows: valid names, and no more than an object may have."""

from dataclasses import replace

from marshmallow import ValidationError

from app.core.messages import tr
from app.imports.map.columns import Certainty, ColumnMapping, ColumnUse, mapping_error
from app.imports.parse.rows import ParsedTable
from app.resource import Kind
from app.resource.json_fields import ATTRIBUTE_KEY, MAX_ATTRIBUTES, clean_attributes

MAX_NAMED_COLUMNS = 20


def check_attributes(parsed: ParsedTable) -> None:
    """Check the attributes of each row, unless the columns show that their names and their number are valid."""
    columns = parsed.table.columns
    keys = [column.attribute or "" for column in columns if column.use is ColumnUse.ATTRIBUTE]
    if len(keys) > MAX_ATTRIBUTES:
        _leave_out_columns(parsed)
    has_json = any(column.field and column.field.kind is Kind.ATTRIBUTES for column in columns)
    if not has_json and all(map(ATTRIBUTE_KEY.fullmatch, keys)):
        return
    for row in parsed.rows:
        try:
            row.attributes = clean_attributes(row.attributes)
        except ValidationError as error:
            for message in _errors(error.messages):
                row.add_error("attributes", "attributes", message)


def _leave_out_columns(parsed: ParsedTable) -> None:
    """Where a row has too many attributes, keep the first columns that have values, and warn of the others once.

    Columns that are set are kept before those that only are no field, so that setting one says that it is needed.
    """
    if max((len(row.attributes) for row in parsed.rows), default=0) <= MAX_ATTRIBUTES:
        return
    table = parsed.table
    filled = {key for row in parsed.rows for key in row.attributes}
    columns = [column for column in table.columns if column.use is ColumnUse.ATTRIBUTE and column.attribute in filled]
    kept_first = sorted(columns, key=lambda column: column.certainty is Certainty.NONE)
    surplus = sorted(kept_first[MAX_ATTRIBUTES:], key=lambda column: column.index)
    dropped = {column.attribute or "" for column in surplus}
    for row in parsed.rows:
        for key in dropped & row.attributes.keys():
            del row.attributes[key]
    table.columns = [
        replace(column, use=ColumnUse.IGNORED, attribute=None, certainty=Certainty.NONE)
        if column.attribute in dropped
        else column
        for column in table.columns
    ]
    message = tr(
        "An object has at most {max} attributes, so these columns are left out: {columns}. To keep one of them, set it "
        "to an attribute, and set columns that you do not need to be ignored.",
        max=MAX_ATTRIBUTES,
        columns=_named(surplus),
    )
    cells = [f"{column.letters}{table.header_row}" for column in surplus]
    table.warnings.append(mapping_error("too_many_attributes", message, count=len(surplus), cells=cells))


def _named(columns: list[ColumnMapping]) -> str:
    names = ", ".join(f"{column.letters} ({column.title})" for column in columns[:MAX_NAMED_COLUMNS])
    return f"{names}, …" if len(columns) > MAX_NAMED_COLUMNS else names


def _errors(messages: list[str] | dict[str, list[str]]) -> list[str]:
    """What is wrong with the attributes, or with each of them by its name."""
    if isinstance(messages, dict):
        return [tr("{name}: {problem}", name=name, problem=each) for name, own in messages.items() for each in own]
    return messages
