"""The query and the result of a search as JSON."""

from marshmallow import Schema, fields, validate


class SearchQuerySchema(Schema):
    q = fields.String(required=True, validate=validate.Length(1, 200))
    types = fields.String(metadata={"description": "Only these resources, separated by commas."})
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100))


class MatchSchema(Schema):
    field = fields.String(required=True)
    value = fields.String(required=True)


class HitSchema(Schema):
    type = fields.String(required=True)
    id = fields.Integer(required=True)
    title = fields.String(required=True)
    subtitle = fields.String(required=True)
    match = fields.Nested(MatchSchema, required=True)
    score = fields.Float(required=True, metadata={"description": "From 0 to 1; 1 is an object of exactly this name."})


class SearchHitsSchema(Schema):
    hits = fields.List(fields.Nested(HitSchema), required=True)
    counts = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "How many objects of each resource match, at most 1000."},
    )
