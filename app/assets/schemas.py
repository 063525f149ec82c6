"""Assets as JSON."""

from app.assets.models import Asset
from app.resource import ResourceSchema


class AssetSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Asset
