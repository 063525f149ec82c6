"""Schema of datacenters."""

from app.datacenters.models import Datacenter
from app.resource import ResourceSchema


class DatacenterSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Datacenter
