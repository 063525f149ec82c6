"""The users resource, which only administrators may use."""

from app.core.http.access import Role
from app.resource import Resource, resource_blueprint
from app.users.models import User
from app.users.schemas import UserSchema

resource = Resource(
    model=User,
    schema=UserSchema,
    titles=("Users", "用户"),
    search=(User.username, User.email, User.full_name, User.phone, User.last_login_ip),
    natural_key=(("username",),),
    read=Role.ADMIN,
    write=Role.ADMIN,
)
blueprint = resource_blueprint(resource)
