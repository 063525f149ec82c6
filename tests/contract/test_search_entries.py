"""The table of what can be found follows the objects, whatever path a change takes."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.catalog import CATALOG
from app.core.db.unit_of_work import db, reading
from app.core.http.access import Role
from app.core.values import CJK, as_read, fold, search_text
from app.resource import Resource
from app.resource.query.text_search import holds_words, search_values, words_of
from tests.backends import on_postgresql
from tests.client import Client
from tests.conftest import SignIn
from tests.contract.resources import each_resource
from tests.contract.test_replay import KINDS, Editor
from tests.factories import Make, writable_fields
from tests.search_entries import assert_entries_match_objects


class BulkEditor(Editor):
    """Edits by bulk requests too, which take the set-based writer."""

    def _bulk_create(self, resource: Resource, _a: int, b: int) -> int:
        items = [self._body(resource, b), self._body(resource, b + 1)]
        return self._send("POST", f"{resource.path}/bulk", json={"mode": "partial", "items": items})

    def _bulk_update(self, resource: Resource, _a: int, b: int) -> int:
        bodies = [(self._one(resource, b + step), self._body(resource, b + step)) for step in range(2)]
        items = [{"id": identity, **_three(body, b)} for identity, body in bodies if identity is not None]
        return self._send("PATCH", f"{resource.path}/bulk", json={"mode": "partial", "items": items})

    def _bulk_delete(self, resource: Resource, _a: int, b: int) -> int:
        items = [self._one(resource, b), self._one(resource, b + 3)]
        return self._send("DELETE", f"{resource.path}/bulk", json={"mode": "partial", "items": [i for i in items if i]})


def _three(body: dict[str, Any], b: int) -> dict[str, Any]:
    names = sorted(body)
    return {name: body[name] for name in names[b % len(names) :][:3]}


BULK = ("bulk_create", "bulk_update", "bulk_delete")
edits = st.lists(
    st.tuples(st.sampled_from(KINDS + 2 * BULK), st.integers(0, 10**6), st.integers(0, 10**6)),
    min_size=150,
    max_size=150,
)


@settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(edits=edits)
def test_entries_follow_random_edits(
    app: Flask, make: Make, sign_in: SignIn, edits: list[tuple[str, int, int]]
) -> None:
    editor = BulkEditor(app, make, sign_in(role=Role.ADMIN))
    for edit in edits:
        editor.edit(*edit)
    assert_entries_match_objects(app)


@each_resource
def test_every_searched_field_is_followed(app: Flask, resource: Resource, make: Make, admin: Client) -> None:
    """An entry changes with each field, and the triggers are those of the declaration."""
    item = make.varied(resource.model, 1)
    assert_entries_match_objects(app)
    for name, field in writable_fields(resource).items():
        for value in (make.value(field, 7), make.value(field, 8), None):
            admin.send("PATCH", f"{resource.path}/{item.id}", expect=(200, 403, 409, 422), json={name: value})
            assert_entries_match_objects(app)


@pytest.mark.parametrize("damage", ["DELETE FROM search_entries", "UPDATE search_entries SET content = 'x'"])
def test_the_table_can_be_written_anew(app: Flask, make: Make, damage: str) -> None:
    for resource in CATALOG.values():
        make.varied(resource.model, 1)
    with app.app_context():
        db.session.execute(sa.text(damage))
        db.session.commit()
    result = app.test_cli_runner().invoke(args=["search", "rebuild"])
    assert result.exit_code == 0, result.output
    assert_entries_match_objects(app)


@on_postgresql
@each_resource
def test_a_search_uses_the_index(app: Flask, resource: Resource) -> None:
    words = words_of("needle 针")
    statement = sa.select(resource.model.__table__.c.id).where(holds_words(resource, [len(word) for word in words]))
    with app.app_context():
        # The table is empty here: whatever can be avoided is worth it.
        db.session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        explained = sa.text("EXPLAIN " + rendered(statement, search_values(words)))
        plan = "\n".join(db.session.scalars(explained))
    assert re.search(rf"search_entries_{resource.name}_content_idx|search_entries_{resource.name}", plan)


def rendered(statement: sa.Select[int], values: dict[str, str]) -> str:
    compiled = statement.params(values).compile(db.engine, compile_kwargs={"literal_binds": True})
    # Neither the driver's percent signs nor a text's colons mean anything here.
    return str(compiled).replace("%%", "%").replace(":", "\\:")


TEXTS = ["Dell R740", "上海机房A1", "ﾃｽﾄ サーバー", "서버 7", "İzmir ÄRGER", "𠀀𠀁", "x\ny", "a 上 b", "", "ＦＵＬＬ"]


def test_the_searched_text_is_the_same_in_python_and_in_the_database(app: Flask) -> None:
    with app.app_context(), reading():
        texts = [db.session.scalar(sa.select(sa.func.search_text(sa.literal(text, sa.Text())))) for text in TEXTS]
    assert texts == [search_text(text) for text in TEXTS]


@given(text=st.text(alphabet="ab上海- 机", max_size=12), at=st.integers(0, 12), length=st.integers(1, 4))
def test_a_text_contains_a_word_exactly_if_their_searched_texts_do(text: str, at: int, length: int) -> None:
    word = text[at : at + length].strip() or "上"
    if " " not in word:
        assert (fold(word) in fold(text)) == (search_text(word) in search_text(text))
    assert as_read(search_text(text)) == fold(text) or " " in text


def test_the_class_of_ideographs_is_valid_in_both_dialects() -> None:
    assert re.fullmatch(f"[{CJK}]+", "上あア서𠀀")
    assert not re.search(f"[{CJK}]", "aä1-")
