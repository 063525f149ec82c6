"""What `GET /api/meta` answers."""

from marshmallow import Schema, fields, validate

from app.resource import Kind


class LabelsSchema(Schema):
    """What a person sees, by language."""

    en = fields.String(required=True)
    zh = fields.String(required=True)


class MetaChoiceSchema(Schema):
    value = fields.String(required=True)
    labels = fields.Nested(LabelsSchema, required=True)


class MetaReferenceSchema(Schema):
    resource = fields.String(required=True)
    label = fields.String(required=True, metadata={"description": "The field by which its objects are called."})


class MetaMemberSchema(Schema):
    """A member of each object in a list of objects."""

    name = fields.String(required=True)
    labels = fields.Nested(LabelsSchema, required=True)
    kind = fields.Enum(Kind, by_value=True, required=True)
    required = fields.Boolean(required=True)
    minimum = fields.Float(required=True, allow_none=True)
    maximum = fields.Float(required=True, allow_none=True)
    choices = fields.List(fields.String(), required=True, allow_none=True)


class MetaFieldSchema(Schema):
    name = fields.String(required=True)
    reads_as = fields.String(
        required=True, metadata={"description": "Under which name it is read: `server_id` also as the object `server`."}
    )
    labels = fields.Nested(LabelsSchema, required=True)
    kind = fields.Enum(Kind, by_value=True, required=True)
    format = fields.String(
        required=True, allow_none=True, metadata={"description": "The form of a text, such as `ip_address` or `email`."}
    )
    unit = fields.String(required=True, allow_none=True, metadata={"description": "Of the number as it is stored."})
    required = fields.Boolean(required=True, metadata={"description": "Whether a new object needs it."})
    nullable = fields.Boolean(required=True)
    read_only = fields.Boolean(required=True)
    write_only = fields.Boolean(required=True)
    minimum = fields.Float(required=True, allow_none=True)
    maximum = fields.Float(required=True, allow_none=True)
    length = fields.Integer(required=True, allow_none=True, metadata={"description": "Of a text, in characters."})
    default = fields.Raw(
        required=True, allow_none=True, metadata={"description": "What a form begins with, in JSON as in an answer."}
    )
    choices = fields.List(fields.Nested(MetaChoiceSchema), required=True, allow_none=True)
    reference = fields.Nested(MetaReferenceSchema, required=True, allow_none=True)
    members = fields.List(fields.Nested(MetaMemberSchema), required=True, allow_none=True)
    operators = fields.List(
        fields.String(), required=True, metadata={"description": "For filters: `name__gte`; the empty one is equality."}
    )
    in_natural_key = fields.Boolean(required=True)


class MetaRuleSchema(Schema):
    """A rule about several fields of one object."""

    kind = fields.String(
        required=True,
        metadata={
            "enum": ["exactly_one", "at_most_one"],
            "enumeration": "RuleKind",
            "description": "How many of the fields have a value.",
        },
    )
    fields_ = fields.List(fields.String(), required=True, data_key="fields")
    labels = fields.Nested(LabelsSchema, required=True)


class MetaChildSchema(Schema):
    resource = fields.String(required=True)
    field = fields.String(required=True, metadata={"description": "The field that refers to the parent."})


class MetaActionSchema(Schema):
    operation = fields.String(required=True, metadata={"description": "The operationId in the OpenAPI document."})
    method = fields.String(required=True)
    path = fields.String(required=True, metadata={"description": "With `{id}` for the object's id."})
    summary = fields.String(required=True)
    labels = fields.Nested(
        LabelsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "What the button for it says; null where the action needs more than its object."},
    )


class MaySchema(Schema):
    """What the caller may do with the resource."""

    create = fields.Boolean(required=True)
    change = fields.String(
        required=True,
        validate=validate.OneOf(("all", "own", "none")),
        metadata={"description": "Which objects the caller may change and delete.", "enumeration": "MayChange"},
    )
    import_ = fields.Boolean(required=True, data_key="import")
    export = fields.Boolean(required=True)


class MetaResourceSchema(Schema):
    name = fields.String(required=True)
    path = fields.String(required=True)
    labels = fields.Nested(LabelsSchema, required=True)
    singular = fields.Nested(LabelsSchema, required=True, metadata={"description": "What one object is called."})
    fields_ = fields.List(fields.Nested(MetaFieldSchema), required=True, data_key="fields")
    rules = fields.List(fields.Nested(MetaRuleSchema), required=True)
    natural_keys = fields.List(
        fields.List(fields.String()),
        required=True,
        metadata={"description": "By which fields a spreadsheet's row finds its object: the first that are filled in."},
    )
    searched = fields.List(fields.String(), required=True)
    sortable = fields.List(fields.String(), required=True)
    children = fields.List(fields.Nested(MetaChildSchema), required=True)
    actions = fields.List(fields.Nested(MetaActionSchema), required=True)
    may = fields.Nested(MaySchema, required=True)


class LimitsSchema(Schema):
    """The limits of this installation."""

    page_size = fields.Integer(required=True)
    bulk_items = fields.Integer(required=True)
    bulk_matched = fields.Integer(required=True, metadata={"description": "Objects that a bulk's filter may match."})
    attributes = fields.Integer(required=True)
    upload_mb = fields.Integer(required=True)
    import_mb = fields.Integer(required=True)


class FeaturesSchema(Schema):
    """What is switched on in this installation."""

    registration = fields.Boolean(required=True)
    descriptions = fields.Boolean(required=True, metadata={"description": "Pictures are described by an AI provider."})
    mail = fields.Boolean(required=True, metadata={"description": "Mail is sent; otherwise it is only logged."})
    places = fields.Boolean(required=True, metadata={"description": "Addresses of logins are located."})


class MetaSchema(Schema):
    version = fields.String(required=True)
    languages = fields.List(fields.String(), required=True)
    limits = fields.Nested(LimitsSchema, required=True)
    features = fields.Nested(FeaturesSchema, required=True)
    resources = fields.List(fields.Nested(MetaResourceSchema), required=True)
    audit_actions = fields.List(
        fields.Nested(MetaChoiceSchema), required=True, metadata={"description": "What records of the audit log tell."}
    )
    audit_events = fields.List(
        fields.Nested(MetaChoiceSchema),
        required=True,
        metadata={"description": "What records are about beside resources, as `resource_type` names it."},
    )
