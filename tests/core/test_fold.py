"""One form in which texts are compared, the same in Python and in both databases."""

import unicodedata
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.models import Json
from app.core.db.unit_of_work import db
from app.core.values import fold


def assigned() -> Iterator[str]:
    """Every character of this Python's Unicode that a text may hold."""
    characters = (chr(point) for point in range(1, 0x110000))
    return (each for each in characters if unicodedata.category(each) not in ("Cn", "Cs"))


def folded_by_database(texts: list[str]) -> list[str]:
    listed: sa.ColumnElement[str] = sa.literal(texts, Json)
    texts_in_order = sa.func.json_items(listed).table_valued("value")
    return list(db.session.scalars(sa.select(sa.func.fold(texts_in_order.c.value))))


def test_every_character_is_folded_alike(app: Flask) -> None:
    everything = list(assigned())
    with app.app_context():
        for start in range(0, len(everything), 10_000):
            part = everything[start : start + 10_000]
            assert folded_by_database(part) == [fold(each) for each in part]


TEXTS = [
    ("Server-7", "server-7"),
    ("İstanbul", "istanbul"),
    ("ΘΗΣΕΑΣ", "θησεας"),
    ("ΟΔΟΣ", "οδος"),
    ("ＳＶ－０１", "sv-01"),
    ("Cafe\u0301", "CAFÉ"),
    ("J\u030cx", "ǰx"),
    ("物理服务器", "物理服务器"),
]


@pytest.mark.parametrize(("text", "other"), TEXTS)
def test_case_width_and_form_do_not_count(app: Flask, text: str, other: str) -> None:
    assert fold(text) == fold(other) == fold(fold(text))
    with app.app_context():
        assert folded_by_database([text, other]) == [fold(text)] * 2
