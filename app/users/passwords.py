"""What makes a text a password: long enough, and not one that everybody tries first."""

import functools
import re
from importlib.resources import files

MIN_PASSWORD = 10
"""Characters."""
MAX_PASSWORD = 72
"""Bytes: bcrypt reads no further."""

_DISGUISES = str.maketrans("@4310!5$7", "aaeioisst")
"""The signs that people write for letters, to please a rule."""


def password_flaws(password: str, name: str | None) -> list[str]:
    """What keeps a text from being the password of the user of that name."""
    flaws = []
    if len(password) < MIN_PASSWORD:
        flaws.append(f"Must have at least {MIN_PASSWORD} characters.")
    if len(password.encode(errors="replace")) > MAX_PASSWORD:
        flaws.append(f"May have at most {MAX_PASSWORD} bytes.")
    if "\x00" in password:
        flaws.append("May not contain the NUL character.")
    if name and password.casefold() == name.casefold():
        flaws.append("May not be the username.")
    if is_well_known(password):
        flaws.append("May not be a password that many people use.")
    return flaws


def is_well_known(password: str) -> bool:
    """Whether it is in the list, also with other case, up to four digits or signs added, or signs for letters."""
    folded = password.casefold()
    plain = re.sub(r"^[\W\d_]{0,4}|[\W\d_]{0,4}$", "", folded)
    candidates = {folded, plain, folded.translate(_DISGUISES), plain.translate(_DISGUISES)}
    return len(set(folded)) < 3 or not candidates.isdisjoint(_well_known())


@functools.cache
def _well_known() -> frozenset[str]:
    text = files("app.users").joinpath("well_known_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
