"""What is written for MySQL in another way than for MariaDB; TEST_MYSQL_URL has other tests run on such a server."""

import pytest
import sqlalchemy as sa

from app.core.db.dialects.mariadb.compilers import MariaDB
from app.core.db.dialects.mariadb.returning import InsertReturning, Returning, statements_of
from app.core.db.dialects.mysql.compilers import adopt
from migrations.dialects.mysql_tables import translated

items = sa.Table(
    "items",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.String(32), primary_key=False),
    sa.Column("failures", sa.Integer),
    sa.Column("locked", sa.Integer),
)
pairs = sa.Table(
    "pairs",
    sa.MetaData(),
    sa.Column("note", sa.String(32)),
    sa.Column("one", sa.Integer, primary_key=True),
    sa.Column("two", sa.Integer, primary_key=True),
)


@pytest.fixture
def dialect() -> MariaDB:
    dialect = MariaDB(paramstyle="format")
    adopt(dialect)
    return dialect


def test_a_column_is_set_after_what_is_computed_from_it(dialect: MariaDB) -> None:
    change = sa.update(items).values(failures=items.c.failures + 1, locked=sa.case((items.c.failures > 4, 1), else_=0))
    assert [part.split("=")[0] for part in str(change.compile(dialect=dialect)).partition(" SET ")[2].split(", ")] == [
        *("locked", "failures"),
    ]
    exchange = sa.update(items).values(failures=items.c.locked, locked=items.c.failures)
    with pytest.raises(ValueError, match="failures, locked"):
        exchange.compile(dialect=dialect)


def test_the_changed_table_is_read_from_one_of_its_own(dialect: MariaDB) -> None:
    free = sa.select(items.c.id).where(items.c.name == "a").with_for_update(skip_locked=True)
    written = str(sa.delete(items).where(items.c.id == free.scalar_subquery()).compile(dialect=dialect))
    assert "FROM (SELECT" in " ".join(written.split())
    assert written.endswith("AS own)")


def test_an_insert_returns_its_row(dialect: MariaDB) -> None:
    def parts(insert: sa.Insert, *returned: sa.Column[object]) -> InsertReturning:
        made = statements_of(str(insert.returning(*returned).compile(dialect=dialect)))
        assert isinstance(made, InsertReturning)
        return made

    numbered = parts(sa.insert(items).values(name="a"), items.c.id)
    assert (numbered.insert, numbered.reading, numbered.key_parameters) == (
        *("INSERT INTO items (name) VALUES (%s)", None, None),
    )
    known = parts(sa.insert(items).values(id=7, name="a"), items.c.id)
    assert (known.reading, known.key_parameters) == (None, (0,))
    double = parts(sa.insert(pairs).values(note=sa.func.left("a, b", 1), one=1, two=2), pairs.c.note)
    assert double.reading == "SELECT pairs.note FROM pairs WHERE (pairs.one, pairs.two)"
    assert (double.key, double.key_parameters) == ("(%s, %s)", (2, 3))
    computed = parts(sa.insert(items).values(id=sa.func.abs(7), name="a"), items.c.name)
    assert computed.reading == "SELECT items.name FROM items WHERE items.id"
    assert (computed.key, computed.key_parameters) == ("abs(%s)", (0,))


def test_a_deletion_returns_its_rows(dialect: MariaDB) -> None:
    made = statements_of(
        str(sa.delete(items).where(items.c.failures > 4).returning(items.c.name).compile(dialect=dialect))
    )
    assert isinstance(made, Returning)
    assert made.is_deletion
    assert made.locking == "SELECT items.id FROM items WHERE items.failures > %s FOR UPDATE"
    assert made.changing == "DELETE FROM items WHERE items.id"


def test_statements_of_mariadb_are_translated() -> None:
    assert translated("CREATE OR REPLACE TRIGGER a_b BEFORE INSERT ON a") == (
        *("DROP TRIGGER IF EXISTS a_b", "CREATE TRIGGER a_b BEFORE INSERT ON a"),
    )
    guard = 'CREATE TABLE a_no (CONSTRAINT "Stop" FOREIGN KEY (id) REFERENCES a (id)) ENGINE=InnoDB '
    assert translated(f"{guard}SELECT id FROM a LIMIT 0") == (
        "CREATE TABLE a_no ENGINE=InnoDB SELECT id FROM a LIMIT 0",
        'ALTER TABLE a_no ADD CONSTRAINT "Stop" FOREIGN KEY (id) REFERENCES a (id)',
    )
    assert translated("IF JSON_TYPE(old) = 'ARRAY'") == ("IF JSON_TYPE(old) COLLATE utf8mb4_0900_bin = 'ARRAY'",)
    assert translated("RETURN t COLLATE utf8mb4_nopad_bin") == ("RETURN t COLLATE utf8mb4_0900_bin",)
