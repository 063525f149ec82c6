"""What MariaDB does in a way of its own, on the schema that the migrations have built on an empty database."""

import datetime as dt
import random
import unicodedata
from collections.abc import Iterator

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

import config
from app.core.addresses import address_key
from app.core.audit.models import AuditLog
from app.core.db.dialects.mariadb import connections
from app.core.db.dialects.mariadb.statements import running_transactions
from app.core.db.models import Json, UtcDateTime
from app.core.db.unit_of_work import db, reading, writing
from app.core.values import fold, natural_key, search_text
from app.datacenters.models import Datacenter
from app.resource.bulk import writer
from app.resource.json_fields import MAX_TEXT
from app.servers.models import Server
from app.servers.routes import resource
from tests.factories import Make
from tests.mariadb import on_mariadb
from tests.threads import wait_until

pytestmark = on_mariadb

servers = Server.__table__


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def given_by_database(function: str, texts: list[str]) -> list[str]:
    listed = sa.func.json_items(sa.literal(texts, Json)).table_valued("value")
    with reading():
        return list(db.session.scalars(sa.select(getattr(sa.func, function)(listed.c.value))))


def test_the_models_and_the_migrations_describe_one_schema() -> None:
    flask_migrate.check(directory=str(config.ROOT / "migrations"))


def test_every_index_of_the_models_is_there() -> None:
    with db.engine.connect() as connection:
        query = "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = database()"
        existing = set(connection.scalars(sa.text(query)))
    declared = {
        index.name
        for table in db.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["using"] != "gin"
    }
    assert declared - existing == set()


def test_letters_with_other_forms_are_folded_as_python_folds_them() -> None:
    every = [chr(point) for point in range(0x80, 0x110000) if not 0xD800 <= point < 0xE000]
    texts = [each for each in every if unicodedata.category(each) != "Cn" and fold(each) != each]
    assert given_by_database("fold", texts) == [fold(each) for each in texts]


def test_marks_are_ordered_and_composed_as_python_does_it() -> None:
    chosen = random.Random(1)
    marks = [chr(point) for point in range(0x300, 0x3100) if unicodedata.combining(chr(point))]
    letters = "aeiouAEIıİsS가각ㄱᄀÅΣ ς\uff21"
    texts = [
        "".join(
            chosen.choice(letters) + "".join(chosen.choice(marks) for _ in range(chosen.randint(0, 4)))
            for _ in range(3)
        )
        for _ in range(500)
    ]
    assert given_by_database("fold", texts) == [fold(each) for each in texts]


@pytest.mark.parametrize("text", ["srv-7", "00", "0" * 30 + "7", "x" + "9" * 25, "a01b002", "机架 12", "Ｒ１２"])
def test_names_are_ordered_and_searched_as_python_does_it(text: str) -> None:
    assert given_by_database("natural_key", [text]) == [natural_key(text)]
    assert given_by_database("search_text", [text]) == [search_text(text)]


TEXTS = (None, "", "SRV-7", "00x" + "9" * 25, "Straße ＡＢ 012", "机架 İ3", "É" * 20)
IPS = (None, "10.0.250.7", "255.255.255.255", "fe80::1", "2001:db8::ff", "0.0.0.1", "192.168.1.10")
COPIED = {column.name: column.name for column in servers.columns} | {"id": "id + 1000", "name": "concat(name, ' 2')"}


@pytest.mark.parametrize(
    "statement",
    [
        # A bulk write gives the folded texts, and the triggers find those of other statements.
        "DO 0",
        f"INSERT INTO servers ({', '.join(COPIED)}) SELECT {', '.join(COPIED.values())} FROM servers",
        "UPDATE servers SET version = version + 1, name = concat('Ü1 ', name), rack = 'R02', owner = rack",
        "UPDATE servers SET version = version + 1, owner = NULL, internal_ip = '10.0.0.1', rack = 'É' WHERE rack = ''",
    ],
)
def test_invisible_columns_have_the_folded_texts(statement: str) -> None:
    objects = [
        {"name": f"Node {text} 0{number}", "rack": text, "owner": text, "internal_ip": address}
        for number, (text, address) in enumerate(zip(TEXTS, IPS, strict=True))
    ]
    with writing():
        writer.insert(resource, writer.allocate_ids(resource, len(objects)), objects, None)
        db.session.execute(sa.text(statement))
        query = "SELECT name, name__fold, name__natural, rack, rack__fold, owner, owner__natural, internal_ip, "
        rows = db.session.execute(sa.text(f"{query}internal_ip__address FROM servers")).all()
        db.session.rollback()
    assert len(rows) >= len(objects)
    for row in rows:
        assert (row.name__fold, row.name__natural) == (fold(row.name), natural_key(row.name))
        assert row.rack__fold == (None if row.rack is None else fold(row.rack))
        assert row.owner__natural == natural_key(row.owner)
        assert row.internal_ip__address == address_key(row.internal_ip)


def test_an_update_returns_the_rows_that_it_changed(make: Make) -> None:
    one, two = (make(Server, name=name) for name in "ab")
    before = servers.c.version
    change = (
        sa.update(servers)
        .where(servers.c.id.in_(sa.select(servers.c.id).where(servers.c.name == "b").limit(1)))
        .values(version=before + 1, rack_unit=before + 10)
    )
    with writing():
        row = db.session.execute(change.returning(servers.c.name, servers.c.rack_unit)).one()
        assert tuple(row) == ("b", two.version + 10)
        nothing = change.where(servers.c.name == "c").returning(servers.c.name, servers.c.rack_unit)
        assert db.session.execute(nothing).all() == []
        db.session.rollback()
    with reading():
        assert db.session.scalar(sa.select(servers.c.version).where(servers.c.id == one.id)) == one.version


@pytest.mark.parametrize(
    "change",
    [
        "name = 'canary'",
        "created_at = 'canary'",
        # A statement that is cut or wrong: the server quotes from where it understands nothing.
        "name = = 'it''s canary'",
        "description = CAST('canary' AS INTEGER) + 1",
        "description = 'a' REGEXP '(canary'",
        "id = 9223372036854775807 + length('canary')",
    ],
)
def test_an_error_quotes_no_value(make: Make, change: str) -> None:
    for name in ("canary", "other"):
        make(Datacenter, name=name)
    with pytest.raises(sa.exc.DBAPIError) as raised, db.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE datacenters SET version = version + 1, {change} WHERE name = 'other'"))
    assert "canary" not in str(raised.value.orig)


def test_an_error_names_what_is_missing() -> None:
    for statement in ("SELECT * FROM canaries", "SELECT canaries FROM datacenters", "CALL canaries()"):
        with pytest.raises(sa.exc.DBAPIError, match="canaries"), db.engine.connect() as connection:
            connection.exec_driver_sql(statement)


def test_the_longest_member_is_searched_to_its_end(make: Make) -> None:
    end = "the end"
    text = "x" * (MAX_TEXT - len(end)) + end
    make(Server, name="a", attributes={"note": text})
    with reading():
        content = db.session.scalar(sa.text("SELECT content FROM search_entries WHERE resource_type = 'servers'"))
    assert content.count(text) == 1


def test_texts_without_a_column_are_compared_by_their_characters() -> None:
    with reading():
        assert db.session.execute(sa.text("SELECT 'a' = 'A', 'a' = 'a ', 'a' = 'á'")).one() == (0, 0, 0)


def test_a_time_that_is_computed_is_a_time() -> None:
    moment = dt.datetime(2026, 1, 31, 8, 0, 0, 123456, dt.UTC)
    with reading():
        query = sa.select(sa.func.coalesce(sa.null(), sa.literal(moment, UtcDateTime())))
        assert db.session.scalar(query) == moment


@pytest.mark.parametrize("noted", ["1", "0", "NULL"])
def test_a_change_without_its_record_is_not_committed(make: Make, noted: str) -> None:
    """Whatever the connection's variable says, by which the triggers look for fewer notes."""
    server = make(Server, name="a")

    def change() -> None:
        with db.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE servers SET version = version + 1, rack = 'r'")
            connection.exec_driver_sql(f"SET @audit_noted = {noted}")

    with pytest.raises(sa.exc.DBAPIError, match=f"Version 2 of servers {server.id} has no audit record"):
        change()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version FROM servers")) == 1


@pytest.mark.parametrize("table", ["audit_logs", "audit_leaves", "audit_checkpoints", "audit_origin", "tasks", "users"])
def test_a_table_cannot_be_truncated(table: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="Cannot truncate"), db.engine.connect() as connection:
        connection.exec_driver_sql(f"TRUNCATE {table}")


def test_a_file_of_the_size_that_the_server_takes_is_sent(make: Make) -> None:
    make(Datacenter)
    with reading():
        size = min(connections.largest_file(db.session.connection()), 2**24)
        content = random.Random(1).randbytes(size)
        assert db.session.scalar(sa.select(sa.func.length(sa.literal(content, sa.LargeBinary)))) == size


def test_only_a_restore_lets_the_triggers_rest(make: Make) -> None:
    make(Datacenter, name="a")
    for statement in ("INSERT INTO audit_restoring VALUES (1)", "DELETE FROM audit_logs"):
        with pytest.raises(sa.exc.DBAPIError), db.engine.begin() as connection:
            connection.execute(sa.text(statement))
    with reading():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditLog)) >= 1


def test_a_transaction_that_has_just_begun_is_among_those_that_run() -> None:
    """InnoDB answers from what it collected up to 100 ms ago: a moment in which the transaction had not begun."""
    with db.engine.connect() as asking, db.engine.connect() as slow:
        asking.execute(sa.select(servers.c.id))
        for _ in range(10):
            running_transactions(asking)
            slow.execute(sa.select(servers.c.id))
            began = slow.scalar(sa.text("SELECT unix_timestamp()"))
            assert running_transactions(asking)[0] <= began
            slow.rollback()


def test_transactions_end_where_nothing_else_asks_for_them() -> None:
    with db.engine.connect() as asking:
        asking.execute(sa.select(servers.c.id))
        # Asked more often, InnoDB would not collect them anew.
        wait_until(lambda: running_transactions(asking) != (0, 1), every=0.15)
