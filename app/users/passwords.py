"""Passwords: the policy (length limits, no username, no well-known password) and their hashes."""

import functools
import re
import secrets
from dataclasses import dataclass, field
from importlib.resources import files

import bcrypt
from flask import current_app
from marshmallow import ValidationError

from app.core.db.endings import refuse_in_transaction
from app.core.messages import tr

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


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """A new password with its hash, which takes 235 ms and so is computed before the transaction that stores it."""

    text: str = field(repr=False)
    hash: str = field(repr=False)


def hash_password(text: str) -> HashedPassword:
    """Hash a new password; raises RuntimeError inside of a transaction, which would hold its locks meanwhile."""
    refuse_in_transaction("Hashing a password")
    rounds = current_app.config["BCRYPT_ROUNDS"]
    return HashedPassword(text, bcrypt.hashpw(text.encode(), bcrypt.gensalt(rounds)).decode())


def is_password(text: str, hashed: str | None) -> bool:
    """Whether a hash is that of a password; without a hash, False after as long. Raises as `hash_password` does."""
    refuse_in_transaction("Comparing a password")
    encoded = text.encode(errors="replace")
    # bcrypt refuses more than 72 bytes and NUL; the hash is computed all the same, for equal time.
    comparable = encoded[:MAX_PASSWORD_BYTES].replace(b"\x00", b"?")
    return bcrypt.checkpw(comparable, (hashed or _dummy_hash()).encode()) and len(encoded) <= MAX_PASSWORD_BYTES


def _dummy_hash() -> str:
    """A hash of a random password, of the same cost as the users' hashes."""
    extensions = current_app.extensions
    if "dummy_hash" not in extensions:
        extensions["dummy_hash"] = hash_password(secrets.token_hex(16)).hash
    dummy_hash: str = extensions["dummy_hash"]
    return dummy_hash


def password_errors(password: str, name: str | None) -> list[str]:
    """Why a password does not meet the policy, for the user of this name; empty if it does."""
    errors: list[str] = []
    if len(password) < MIN_PASSWORD_CHARS:
        errors.append(tr("Must have at least {min} characters.", rule="length", min=MIN_PASSWORD_CHARS))
    if len(password.encode(errors="replace")) > MAX_PASSWORD_BYTES:
        errors.append(tr("May have at most {max} bytes.", rule="length", max=MAX_PASSWORD_BYTES))
    if "\x00" in password:
        errors.append(tr("May not contain the NUL character.", rule="characters"))
    if name and password.casefold() == name.casefold():
        errors.append(tr("May not be the username.", rule="username"))
    if is_well_known(password):
        errors.append(tr("May not be a well-known password.", rule="well_known"))
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
