"""The index of texts: each extensible resource has one, of what it is searched by, and searches use it."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.unit_of_work import db
from app.resource import Resource
from app.resource.fields import Extensible
from app.resource.query.text_search import matches, search_values
from tests.backends import on_postgresql
from tests.contract.resources import RESOURCES

EXTENSIBLE = [resource for resource in RESOURCES if issubclass(resource.model, Extensible)]


@pytest.mark.parametrize("resource", EXTENSIBLE, ids=lambda resource: resource.name)
def test_the_index_is_of_the_search_columns(resource: Resource) -> None:
    """Else a search would not find what stands in another."""
    (index,) = (one for one in resource.model.__table__.indexes if one.name == f"ix_{resource.name}_search_text")
    searched = re.findall(r"coalesce\((\w+), ''\)", str(index.expressions[0]))
    assert searched == [column.key for column in resource.search]


@on_postgresql
@pytest.mark.parametrize("resource", EXTENSIBLE, ids=lambda resource: resource.name)
def test_a_search_uses_the_index(app: Flask, resource: Resource) -> None:
    statement = sa.select(resource.model.__table__.c.id).where(matches(resource))
    with app.app_context():
        # The table is empty here: whatever can be avoided is worth it.
        db.session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        explained = sa.text("EXPLAIN " + rendered(statement, search_values("needle")))
        plan = "\n".join(db.session.scalars(explained))
    assert f"ix_{resource.name}_search_text" in plan


def rendered(statement: sa.Select[int], values: dict[str, str]) -> str:
    compiled = statement.params(values).compile(db.engine, compile_kwargs={"literal_binds": True})
    # Neither the driver's percent signs nor a text's colons mean anything here.
    return str(compiled).replace("%%", "%").replace(":", "\\:")
