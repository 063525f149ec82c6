"""User accounts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Mapped

from app.core.addresses import ip_address
from app.core.audit.declaration import Guarded
from app.core.db.models import Entity
from app.core.db.unit_of_work import actor_or_none, current_context, db
from app.core.errors import Conflict, Forbidden, Invalid
from app.core.mail import outbox
from app.core.messages import tr
from app.core.request_context import Role
from app.core.values import Choice
from app.resource import column, email, username
from app.users.passwords import HashedPassword, password_errors


class Language(Choice):
    """The language of a user's mails, as the language of answers is called."""

    ENGLISH = "en", "英文", "English"
    CHINESE = "zh", "中文", "Chinese"


class LastAdmin(Conflict):
    reason, message = (
        "last_admin",
        tr("This is the last active administrator. Make another user an administrator first."),
    )


class Yourself(Forbidden):
    reason, message = "yourself", tr("You cannot demote, deactivate or delete yourself. Ask another administrator.")


class User(Guarded, Entity):
    label = "username"
    public = False
    orm_only = True

    username: Mapped[str] = column("Username", "用户名", "Login", type_=sa.String(64), check=username)
    email: Mapped[str] = column("E-mail", "邮箱", "Email", check=email)
    full_name: Mapped[str | None] = column("Full name", "姓名")
    phone: Mapped[str | None] = column("Phone", "电话", "手机", type_=sa.String(64))
    language: Mapped[Language | None] = column("Language", "语言")
    role: Mapped[Role] = column("Role", "角色", default=Role.USER)
    is_active: Mapped[bool] = column("Active", "启用", default=True)
    last_login_at: Mapped[datetime | None] = column("Last login at", "最近登录时间", read_only=True, audit=False)
    last_login_ip: Mapped[str | None] = column(
        "Last login IP",
        "最近登录IP",
        type_=sa.String(45),
        check=ip_address,
        lower=True,
        read_only=True,
        audit=False,
    )
    password_hash: Mapped[str | None] = column("Password", type_=sa.String(60), hidden=True, secret=True)
    # Sessions store the version that they were created under: a new password ends them.
    password_version: Mapped[int] = column("Password version", hidden=True, audit=False, guarded=True, default=0)
    # These two for administrators only: to the user, and to who has stolen a session, they would tell of each guess.
    failed_login_attempts: Mapped[int] = column("Failed logins", "登录失败次数", read_only=True, audit=False, default=0)
    locked_until: Mapped[datetime | None] = column("Locked until", "锁定至", read_only=True, audit=False)
    # Passwords that are being compared now, and when the latest of them began; see app/auth/lockout.py.
    checks_in_progress: Mapped[int] = column("Password checks", hidden=True, audit=False, default=0)
    last_check_at: Mapped[datetime | None] = column("Last password check", hidden=True, audit=False)

    unique_together = (("username",), ("email",))

    @property
    def password(self) -> HashedPassword:
        raise AttributeError("The password is write-only: only its hash is stored.")

    @password.setter
    def password(self, password: HashedPassword) -> None:
        # Checked here too: a PATCH of the password alone reaches the schema without the username.
        if errors := password_errors(password.text, self.username):
            raise Invalid(errors={"password": errors})
        self.password_hash = password.hash
        self.password_version = (self.password_version or 0) + 1

    @classmethod
    def is_protected_from(cls, actor_id: int, object_id: int) -> bool:
        return actor_id == object_id

    @classmethod
    def before_flush(cls, changed: Sequence["User"], deleted: Sequence["User"]) -> None:
        """Keep at least one active administrator, and users from demoting, deactivating or deleting themselves."""
        affected = [*(user for user in changed if user._loses_admin_rights()), *deleted]
        actor = actor_or_none()
        if any(actor is not None and cls.is_protected_from(actor.id, user.id) for user in affected):
            raise Yourself()
        if affected:
            _require_another_admin([user.id for user in affected])

    @classmethod
    def after_flush(cls, changed: Sequence["User"]) -> None:
        """End the access of deactivated users for good: reactivation revives no session, token or link."""
        for user in changed:
            if False in sa.inspect(user).attrs.is_active.history.added:
                current_app.extensions["end_access"](user.id)
            user._mail_changes()

    def _mail_changes(self) -> None:
        """Tell the user of a new password or e-mail address, at the address before: others may have changed it."""
        attributes = sa.inspect(self).attrs
        has_new_email = bool(attributes.email.history.added)
        address = [*attributes.email.history.deleted, self.email][0]
        context = current_context()
        by_other = context.username if context.user_id != self.id else None
        facts: dict[str, Any] = {"username": self.username, "time": self.updated_at, "by": by_other}
        facts |= {"address": context.ip_address, "device": context.user_agent}
        recipient = (address, self.language)
        if has_new_email:
            outbox.post(*recipient, tr("Your e-mail address was changed"), "email_changed", email=self.email, **facts)
        if attributes.password_hash.history.added:
            outbox.post(*recipient, tr("Your password was changed"), "password_changed", **facts)

    def _loses_admin_rights(self) -> bool:
        attributes = sa.inspect(self).attrs
        was_admin = Role.ADMIN in (attributes.role.history.deleted or [self.role])
        was_active = True in (attributes.is_active.history.deleted or [self.is_active])
        return was_admin and was_active and not (self.role is Role.ADMIN and self.is_active)


def _require_another_admin(affected_ids: list[int]) -> None:
    users = User.__table__
    admins = sa.select(users.c.id).where(users.c.role == Role.ADMIN, users.c.is_active)
    # Locked in the order of their ids, so that two administrators cannot remove each other at once.
    active = db.session.scalars(admins.order_by(users.c.id).with_for_update()).all()
    if set(active) <= set(affected_ids):
        raise LastAdmin()
