"""What a plan makes of each column, and why, in a sentence."""

from collections.abc import Mapping
from typing import Any

from app.core.messages import Message, tr
from app.imports.map.columns import Certainty, ColumnUse
from app.resource import Resource, plural

_OF_USE = {
    ColumnUse.IDENTITY: tr("An export wrote it: it tells which object a row is.", rule="identity"),
    ColumnUse.VERSION: tr("An export wrote it: it tells what has changed since.", rule="version"),
    ColumnUse.INSTALLATION: tr(
        "An export wrote it: it tells which installation the objects are of.", rule="installation"
    ),
    ColumnUse.STATUS: tr("A report wrote it: a row with skip in it is left out.", rule="status"),
}


def explain(column: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    """A column of a stored plan with its explanation."""
    message = _explanation(column, resource)
    explanation = {"rule": message.rule, "message": message, "parameters": message.parameters}
    return {**column, "explanation": explanation}


def _explanation(column: Mapping[str, Any], resource: Resource) -> Message:
    use, certainty = ColumnUse(column["use"]), Certainty(column["certainty"])
    item = resource.fields.get(column["field"] or "")
    facts = {"attribute": column["attribute"]} if item is None else {"field": item.heading}
    if use in _OF_USE:
        return _OF_USE[use]
    if use is ColumnUse.CONSTANT:
        return tr("It was set: all rows without a value of their own have it.", rule="constant")
    if use is ColumnUse.IGNORED:
        return _ignored(certainty, facts, resource)
    if use is ColumnUse.ATTRIBUTE:
        return _attribute(certainty, facts, resource)
    if certainty is Certainty.SET:
        return tr("It fills {field}, as it was set.", rule="set", **facts)
    if certainty is Certainty.EXACT:
        return tr("It fills {field}: its title says so.", rule="exact", **facts)
    return tr(
        "It fills {field}, as its title probably means: set another field if that is wrong.", rule="likely", **facts
    )


def _ignored(certainty: Certainty, facts: Mapping[str, Any], resource: Resource) -> Message:
    if certainty is Certainty.SET:
        return tr("It is left out, as it was set.", rule="set")
    if "field" in facts:
        return tr("It is left out: only the platform sets {field}.", rule="read_only", **facts)
    return tr("It is left out: it is not a field of {resource}.", rule="unknown_column", resource=plural(resource))


def _attribute(certainty: Certainty, facts: Mapping[str, Any], resource: Resource) -> Message:
    if certainty is Certainty.SET:
        return tr("It fills the attribute {attribute}, as it was set.", rule="set", **facts)
    if certainty is Certainty.EXACT:
        return tr("It fills the attribute {attribute}: its title says so.", rule="exact", **facts)
    return tr(
        "It is not a field of {resource}: it is kept as the attribute {attribute}.",
        rule="unknown_column",
        resource=plural(resource),
        **facts,
    )
