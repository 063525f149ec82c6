"""The assets resource."""

from app.assets.models import Asset
from app.assets.schemas import AssetSchema
from app.resource import Resource, resource_blueprint

resource = Resource(
    name="assets",
    model=Asset,
    schema=AssetSchema,
    titles=("Assets", "资产", "固定资产", "办公资产"),
    search=(Asset.name, Asset.serial_number, Asset.asset_tag, Asset.model, Asset.assigned_to),
    natural_key=(("asset_tag",), ("datacenter_id", "name"), ("serial_number",)),
)
blueprint = resource_blueprint(resource)
