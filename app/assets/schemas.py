"""Schemas of assets and of image uploads."""

from marshmallow import Schema, fields

from app.assets.models import Asset
from app.core.http.api import Upload
from app.resource import ResourceSchema


class AssetSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Asset


class ImageFormSchema(Schema):
    """The form of an upload without its file, which is read from the request as a stream."""


class ImageUploadSchema(ImageFormSchema):
    file = Upload(required=True, metadata={"description": "A JPEG, PNG or WebP image."})


class DescribeQuerySchema(Schema):
    replace = fields.Boolean(
        load_default=False, metadata={"description": "Also replace a description that a person has written."}
    )


class DescriptionSchema(Schema):
    description = fields.String(required=True)
    model = fields.String(required=True, metadata={"description": "The AI model that wrote it."})
