"""The tasks resource."""

from app.resource import Resource, resource_blueprint
from app.tasks.models import Task
from app.tasks.schemas import TaskSchema

resource = Resource(
    model=Task,
    schema=TaskSchema,
    titles=("Tasks", "任务", "待办", "To-dos"),
    search=(Task.title, Task.description),
    natural_key=(("title",),),
)
blueprint = resource_blueprint(resource)
