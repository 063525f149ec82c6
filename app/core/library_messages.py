"""The messages of marshmallow, recognised by their text: its fields and validators know no parameters and no rules."""

import functools
import re

from app.core.messages import Message, tr

_SENTENCES = (
    tr("Missing data for required field.", rule="required"),
    tr("Field may not be null.", rule="null"),
    tr("Invalid value."),
    tr("Invalid type.", rule="type"),
    tr("Invalid input type.", rule="type"),
    tr("Unknown field.", rule="unknown"),
    tr("Not a valid list.", rule="type"),
    tr("Not a valid string.", rule="type"),
    tr("Not a valid utf-8 string.", rule="type"),
    tr("Not a valid number.", rule="type"),
    tr("Number too large.", rule="range"),
    tr("Not a valid integer.", rule="type"),
    tr("Special numeric values (nan or infinity) are not permitted.", rule="range"),
    tr("Not a valid boolean.", rule="type"),
    tr("Not a valid date.", rule="type"),
    tr("Not a valid datetime.", rule="type"),
    tr("Not a valid aware datetime.", rule="type"),
    tr("Not a valid mapping type.", rule="type"),
    tr("Not a valid email address.", rule="format"),
    tr("Not a valid URL.", rule="format"),
    tr("String does not match expected pattern.", rule="format"),
    tr("Must be one of: {choices}.", rule="choice"),
    tr("Must be greater than or equal to {min} and less than or equal to {max}.", rule="range"),
    tr("Must be greater than or equal to {min}.", rule="range"),
    tr("Must be less than or equal to {max}.", rule="range"),
    tr("Shorter than minimum length {min}.", rule="length"),
    tr("Longer than maximum length {max}.", rule="length"),
    tr("Length must be between {min} and {max}.", rule="length"),
    tr("Length must be {equal}.", rule="length"),
)


def recognised(text: str) -> str:
    """The message that a text of marshmallow is, or the text itself."""
    # A message is equal to any other of its text, whatever its parameters: it must not meet the cache.
    return text if isinstance(text, Message) else _recognise(text)


@functools.lru_cache(maxsize=1024)
def _recognise(text: str) -> str:
    for sentence, pattern in _patterns():
        if match := pattern.fullmatch(text):
            return Message(
                sentence.template, sentence.rule, {name: _typed(each) for name, each in match.groupdict().items()}
            )
    return text


@functools.cache
def _patterns() -> list[tuple[Message, re.Pattern[str]]]:
    return [(each, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(each)))) for each in _SENTENCES]


def _typed(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text
