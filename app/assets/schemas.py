"""Assets and their pictures as JSON."""

from marshmallow import Schema, fields

from app.assets.models import Asset
from app.core.http.api import Upload
from app.resource import ResourceSchema


class AssetSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Asset


class PictureSchema(Schema):
    """A form with one file."""


class PictureUploadSchema(PictureSchema):
    file = Upload(required=True, metadata={"description": "A JPEG, PNG or WebP picture."})


class DescriptionSchema(Schema):
    description = fields.String(required=True)
    model = fields.String(required=True, metadata={"description": "The model that has written it."})
