"""What a person sees instead of a name, in English and in Chinese: titles and aliases say it already."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.core.messages import LANGUAGES, Term, localize
from app.core.values import Choice
from app.resource import Field

Labels = dict[str, str]

_LANGUAGES = {"en": "English", "zh": "Chinese"}
_ABBREVIATIONS = frozenset({"api", "tcp", "udp", "http", "https", "grpc", "id"})
# As aliases these words would claim columns of spreadsheets that mean something else.
_OWN = {"version": "版本", "attributes": "自定义属性"}


def labels_of_titles(titles: Iterable[str]) -> Labels:
    """The labels among several titles: the first, and the first in Chinese."""
    return labels_of_term(Term.of(titles))


def choices_of_terms(terms: Mapping[str, Term]) -> list[dict[str, Any]]:
    """Values with what a person reads instead, as `MetaChoiceSchema` answers them."""
    return [{"value": value, "labels": labels_of_term(term)} for value, term in terms.items()]


def labels_of_term(term: Term) -> Labels:
    return {"en": str(term), "zh": term.chinese}


def labels_of_message(message: str) -> Labels:
    return {language: localize(message, language) for language in LANGUAGES}


def labels_of_field(field: Field) -> Labels:
    titles = (field.title, _OWN[field.name]) if field.name in _OWN else (field.title, *field.aliases)
    return labels_of_titles(titles)


def labels_of_choice(choice: Choice) -> Labels:
    return labels_of_titles((humanize(choice.value), *choice.aliases))


def humanize(name: str) -> str:
    """`in_stock` is `In stock`; `api` is `API`."""
    if name in _LANGUAGES:
        return _LANGUAGES[name]
    if name in _ABBREVIATIONS:
        return name.upper()
    return name.replace("_", " ").capitalize()
