"""Schema of tasks."""

from app.resource import ResourceSchema
from app.tasks.models import Task


class TaskSchema(ResourceSchema):
    class Meta(ResourceSchema.Meta):
        model = Task
