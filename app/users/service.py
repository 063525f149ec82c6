"""Administrators that the operator creates: the first one from the settings, others at the command line."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.core.db.unit_of_work import db, reading
from app.core.request_context import Role
from app.resource import email as check_email
from app.resource import username as check_username
from app.users.models import User
from app.users.passwords import HashedPassword, hash_password, password_errors


def admin_setting_errors(config: Any) -> Iterator[tuple[str, str]]:
    """Yield (variable, reason) for each ADMIN_* setting that no account can have; None is a setting without value."""
    for variable, check in (("ADMIN_USERNAME", check_username), ("ADMIN_EMAIL", check_email)):
        if (value := getattr(config, variable)) is not None:
            try:
                check(value)
            except ValueError as error:
                yield variable, _reason(str(error))
    if config.ADMIN_PASSWORD is not None and (errors := password_errors(config.ADMIN_PASSWORD, config.ADMIN_USERNAME)):
        yield "ADMIN_PASSWORD", " and ".join(map(_reason, errors))


def _reason(sentence: str) -> str:
    """The end of a sentence that begins with the name of a variable."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def first_admin() -> "NewAdmin | None":
    """The administrator of the ADMIN_* settings, for a database without users; None where there are some."""
    with reading():
        if _has_users():
            return None
    config = current_app.config
    generated = None if config["ADMIN_PASSWORD"] else secrets.token_urlsafe(12)
    return new_admin(
        config["ADMIN_USERNAME"], config["ADMIN_EMAIL"], generated or config["ADMIN_PASSWORD"], generated=generated
    )


def add_first_admin(admin: "NewAdmin") -> bool:
    """Add the first administrator; False where another process was faster."""
    if _has_users():
        return False
    add_admin(admin)
    return True


def _has_users() -> bool:
    return bool(db.session.scalar(sa.select(sa.exists().select_from(User))))


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """A checked administrator, before the transaction that stores it: hashing the password takes long."""

    username: str
    email: str
    password: HashedPassword
    generated: str | None
    """The generated password; None if the settings have one."""


def new_admin(username: str, email: str, password: str, *, generated: str | None = None) -> NewAdmin:
    """An administrator; raises ValueError for a name, address or password that no account can have."""
    username, email = check_username(username), check_email(email)
    if errors := password_errors(password, username):
        raise ValueError(f"The password: {' '.join(errors)}")
    return NewAdmin(username, email, hash_password(password), generated)


def add_admin(admin: NewAdmin) -> None:
    """Add an administrator in the current transaction."""
    user = User(username=admin.username, email=admin.email, role=Role.ADMIN, is_active=True)
    user.password = admin.password
    db.session.add(user)
