"""Messages to people: English stands in the code, other languages in catalogues of gettext."""

import functools
import gettext
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

LANGUAGES = ("en", "zh")
"""The first is the language of the code."""
TRANSLATIONS = Path(__file__).parent.parent / "translations"
_TERM_KEYS = {"en", "zh"}


class Message(str):
    """A sentence from a template and its parameters: a str in English, translated when it leaves the server.

    `rule` names for programs what a value of a field breaks.
    """

    template: str
    parameters: Mapping[str, Any]
    rule: str

    def __new__(cls, template: str, rule: str = "invalid", parameters: Mapping[str, Any] | None = None) -> Self:
        message = super().__new__(cls, template.format(**parameters) if parameters else template)
        message.template, message.rule, message.parameters = template, rule, parameters or {}
        return message

    def to(self, language: str) -> str:
        if language == LANGUAGES[0]:
            return str(self)
        text = _catalog(language).gettext(self.template)
        if not self.parameters:
            return text
        return text.format(**{name: localize(value, language) for name, value in self.parameters.items()})


class Term(str):
    """What people call a thing, in English and in Chinese, as a parameter of messages."""

    chinese: str

    def __new__(cls, english: str, chinese: str) -> Self:
        term = super().__new__(cls, english)
        term.chinese = chinese
        return term

    @classmethod
    def of(cls, titles: Iterable[str]) -> Self:
        """The first of several titles, and the first in Chinese."""
        first, *others = titles
        return cls(first, next(filter(_is_chinese, others), first))

    def at_start(self) -> "Term":
        """The term as it begins a sentence."""
        return Term(self[:1].upper() + self[1:], self.chinese)

    def to(self, language: str) -> str:
        return self.chinese if language == "zh" else str(self)


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


def pack(value: Any) -> Any:
    """A value as JSON keeps it: each of its messages as template and parameters, to be read in any language later."""
    if isinstance(value, Message):
        packed: dict[str, Any] = {"template": value.template}
        return {**packed, "parameters": pack(value.parameters)} if value.parameters else packed
    if isinstance(value, Term):
        return {"en": str(value), "zh": value.chinese}
    if isinstance(value, Mapping):
        return {name: pack(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [pack(each) for each in value]
    return value


def unpack(value: Any) -> Any:
    """A value of JSON that `pack` has made, with its messages and terms."""
    if isinstance(value, list):
        return [unpack(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "template" in value:
        return Message(value["template"], parameters=unpack(value.get("parameters")))
    if value.keys() == _TERM_KEYS:
        return Term(value["en"], value["zh"])
    return {name: unpack(each) for name, each in value.items()}


def tr(template: str, /, *, rule: str = "invalid", **parameters: Any) -> Message:
    """A message that is translated when it is read: `tr("At most {limit} rows.", limit=5)`.

    The template is a literal, so that `make messages` finds it.
    """
    return Message(template, rule, parameters)


def localize(value: Any, language: str) -> Any:
    """A value of JSON with all its texts in a language, where they can be had in one."""
    if language == LANGUAGES[0]:
        return value
    if isinstance(value, Message | Term):
        return value.to(language)
    if isinstance(value, Mapping):
        return {name: localize(each, language) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [localize(each, language) for each in value]
    return value


@functools.cache
def _catalog(language: str) -> gettext.NullTranslations:
    return gettext.translation("messages", TRANSLATIONS, [language])
