"""User accounts."""

from datetime import datetime

import bcrypt
import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Mapped

from app.core.audit.recorder import Audited
from app.core.db.models import Entity
from app.core.errors import Invalid
from app.core.http.access import Role
from app.resource.fields import column
from app.resource.formats import email, username
from app.users.passwords import password_errors


class User(Audited, Entity):
    label = "username"
    watched = True

    username: Mapped[str] = column("Username", "用户名", "Login", type_=sa.String(64), check=username)
    email: Mapped[str] = column("E-mail", "邮箱", "Email", check=email)
    full_name: Mapped[str | None] = column("Full name", "姓名")
    phone: Mapped[str | None] = column("Phone", "电话", "手机", type_=sa.String(64))
    role: Mapped[Role] = column("Role", "角色", default=Role.USER)
    is_active: Mapped[bool] = column("Active", "启用", default=True)
    last_login_at: Mapped[datetime | None] = column("Last login at", "最近登录时间", read_only=True, audit=False)
    last_login_ip: Mapped[str | None] = column(
        "Last login IP", "最近登录IP", type_=sa.String(45), read_only=True, audit=False
    )
    password_hash: Mapped[str | None] = column("Password", type_=sa.String(60), hidden=True, secret=True)
    # Sessions store the version that they were created under: a new password ends them.
    password_version: Mapped[int] = column("Password version", hidden=True, audit=False, default=0)
    failed_login_attempts: Mapped[int] = column("Failed logins", hidden=True, audit=False, default=0)
    locked_until: Mapped[datetime | None] = column("Locked until", hidden=True, audit=False)

    unique_together = (("username",), ("email",))

    @property
    def password(self) -> str:
        raise AttributeError("A password is written, never read.")

    @password.setter
    def password(self, password: str) -> None:
        # Checked here too: a PATCH of the password alone reaches the schema without the username.
        if errors := password_errors(password, self.username):
            raise Invalid(errors={"password": errors})
        rounds = current_app.config["BCRYPT_ROUNDS"]
        self.password_hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()
        self.password_version = (self.password_version or 0) + 1
