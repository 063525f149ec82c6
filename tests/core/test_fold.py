"""One form in which texts are compared, the same in Python and in both databases."""

import unicodedata
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from app.core.db.models import Json
from app.core.db.schema import schema_problem
from app.core.db.unit_of_work import db
from app.core.values import clean_text, fold, natural_key
from tests.backends import on_postgresql


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
    ("İstanbul", "i\u0307stanbul"),
    ("I\u0307\u0307", "i"),
    ("I\u0323\u0307", "\u1ecb\u0307"),
    ("İ\u0301", "í"),
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


NAMES = [
    "p1",
    "P2",
    "p02",
    "p10",
    "p10b",
    "P 3",
    "a",
    "Z9",
    "",
    "007",
    "7",
    "x" * 600,
    "1a" * 200,
    "9" * 30,
    "٣",
    "²",
    "ｐ１１",
    "İ2",
]


def test_names_are_ordered_alike(app: Flask) -> None:
    with app.app_context():
        keys = [db.session.scalar(sa.select(sa.func.natural_key(sa.literal(name, sa.Text())))) for name in NAMES]
        assert db.session.scalar(sa.select(sa.func.natural_key(sa.null()))) is None
    assert keys == [natural_key(name) for name in NAMES]


def test_numbers_in_names_are_ordered_by_value() -> None:
    names = ["p10", "P2", "p1", "p2b", "Q1", "ｐ３"]
    assert sorted(names, key=natural_key) == ["p1", "P2", "p2b", "ｐ３", "p10", "Q1"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [
        ("\u00a0a\u00a0b\u00a0", "a\u00a0b"),
        ("\u200b\ufeff name \u200d\u2060", "name"),
        ("\u3000名 称\u3000", "名 称"),
        ("A\u030angstro\u0308m", "Ångström"),
        ("\u212b", "Å"),
        ("\u200b\u00a0", ""),
    ],
)
def test_text_is_trimmed_and_composed_on_entry(sent: str, cleaned: str) -> None:
    assert clean_text(sent) == cleaned


@on_postgresql
def test_a_database_that_folds_otherwise_is_refused(app: Flask) -> None:
    with app.app_context():
        url = db.engine.url
    other = sa.create_engine(url, connect_args={"options": "-c search_path=odd,public"})
    with other.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA odd"))
    try:
        with other.begin() as connection:
            connection.execute(
                sa.text("CREATE FUNCTION fold(t text) RETURNS text LANGUAGE sql IMMUTABLE RETURN lower(t)")
            )
        assert "compare texts" in (schema_problem(other) or "")
    finally:
        with other.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA odd CASCADE"))
        other.dispose()
    with app.app_context():
        assert schema_problem(db.engine) is None
