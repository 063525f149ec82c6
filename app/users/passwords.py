"""The password policy: length limits, and no username or well-known password."""

import functools
import re
from importlib.resources import files

from marshmallow import ValidationError

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_BYTES = 72
"""bcrypt ignores what follows."""

PASSWORD_METADATA = {
    "titles": ("Password", "密码"),
    "minLength": MIN_PASSWORD_CHARS,
    "description": f"At most {MAX_PASSWORD_BYTES} bytes; neither the username nor a well-known password.",
}
"""What a person sees, and what the OpenAPI document says about a new password."""

_LEET = str.maketrans("@4310!5$7", "aaeioisst")
"""Characters that are commonly written for letters."""


def password_errors(password: str, name: str | None) -> list[str]:
    """Why a password does not meet the policy, for the user of this name; empty if it does."""
    errors = []
    if len(password) < MIN_PASSWORD_CHARS:
        errors.append(f"Must have at least {MIN_PASSWORD_CHARS} characters.")
    if len(password.encode(errors="replace")) > MAX_PASSWORD_BYTES:
        errors.append(f"May have at most {MAX_PASSWORD_BYTES} bytes.")
    if "\x00" in password:
        errors.append("May not contain the NUL character.")
    if name and password.casefold() == name.casefold():
        errors.append("May not be the username.")
    if is_well_known(password):
        errors.append("May not be a well-known password.")
    return errors


def check_new_password(password: str) -> None:
    """Validate a new password whose user is not known yet; raises ValidationError with each reason."""
    if errors := password_errors(password, None):
        raise ValidationError(errors)


def is_well_known(password: str) -> bool:
    """Whether a password is in the list, ignoring case, up to four digits or signs at both ends, and leet spelling."""
    folded = password.casefold()
    plain = re.sub(r"^[\W\d_]{0,4}|[\W\d_]{0,4}$", "", folded)
    candidates = {folded, plain, folded.translate(_LEET), plain.translate(_LEET)}
    return len(set(folded)) < 3 or not candidates.isdisjoint(_well_known())


@functools.cache
def _well_known() -> frozenset[str]:
    text = files("app.users").joinpath("well_known_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
