"""Administrators that the operator creates: the first one from the settings, others at the command line."""

import secrets
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from flask import current_app

from app.core.db.unit_of_work import db
from app.core.request_context import Role
from app.resource import email as check_email
from app.resource import username as check_username
from app.users.models import User
from app.users.passwords import password_errors


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


def add_first_admin() -> str | None:
    """Add the administrator of the ADMIN_* settings to a database without users.

    Returns the password if it was generated, else None.
    """
    if db.session.scalar(sa.select(sa.exists().select_from(User))):
        return None
    config = current_app.config
    generated = None if config["ADMIN_PASSWORD"] else secrets.token_urlsafe(12)
    add_admin(config["ADMIN_USERNAME"], config["ADMIN_EMAIL"], generated or config["ADMIN_PASSWORD"])
    return generated


def add_admin(username: str, email: str, password: str) -> None:
    """Add an administrator; raises ValueError for a name, address or password that no account can have."""
    user = User(username=check_username(username), email=check_email(email), role=Role.ADMIN, is_active=True)
    if errors := password_errors(password, username):
        raise ValueError(f"The password: {' '.join(errors)}")
    user.password = password
    db.session.add(user)
