"""A login from a new address is told to its user, whatever the mail server does."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.jobs import queue, runner
from app.core.mail import transport
from app.core.mail.outbox import PAUSES, MailState, Outbox
from app.core.values import utcnow
from tests.features.auth.conftest import AWAY, HOME, Travel
from tests.features.auth.smtp_servers import Forgetful, Inbox, Stubborn, free_port, server
from tests.threads import TIMEOUT_SECONDS, run_concurrently


def test_a_login_from_a_new_address_is_told_by_mail(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        for address in (HOME, AWAY, AWAY, HOME):
            traveller.log_in(address, device="Firefox <b>")
        assert runner.runner.run_pending() == 1
        assert runner.runner.run_pending() == 0
    (letter,) = inbox.received
    assert (letter["To"], letter["From"]) == ("t@example.com", "itam@localhost")
    text, html = (part.get_payload(decode=True).decode() for part in letter.walk() if not part.is_multipart())
    for part in (text, html):
        for fact in ("traveller", AWAY, "UTC", "sessions", "http://127.0.0.1:5000"):
            assert fact in part
    assert "Firefox <b>" in text
    assert "Firefox &lt;b&gt;" in html
    (kept,) = traveller.letters()
    assert (kept.state, kept.text, kept.html) == (MailState.SENT, None, None)


def test_a_new_address_leaves_a_record(travel: Travel) -> None:
    traveller = travel(None)
    for address in (HOME, AWAY, f"::ffff:{AWAY}", "2001:db8::1", "2001:db8::2", "10.0.0.1"):
        traveller.log_in(address)
    log = AuditLog.__table__
    with traveller.app.app_context():
        found = sa.select(log).where(log.c.action == "login_new_address").order_by(log.c.id)
        records = db.session.execute(found).all()
    networks = [(record.ip_address, record.changes["network"]["new"]) for record in records]
    documentation = "a private network"  # what Python says of the addresses that are kept for examples
    assert networks == [(AWAY, documentation), ("2001:db8::1", documentation), ("10.0.0.1", "a private network")]
    runner.runner.run_pending()
    assert {letter.state for letter in traveller.letters()} == {MailState.LOGGED}


def test_many_logins_at_once_from_a_new_address_send_one_mail(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        run_concurrently([lambda: traveller.log_in(AWAY)] * 4)
        runner.runner.run_pending()
    assert len(inbox.received) == 1


def test_a_refused_mail_is_tried_again_and_sent_once(travel: Travel) -> None:
    port = free_port()
    traveller = travel(port)
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    runner.runner.run_pending()  # nobody listens
    inbox = Inbox("451 Come back later")
    with server(inbox) as port:
        traveller.app.extensions["mail"].port = port
        runner.runner.run_pending()  # not yet
        assert [letter.attempts for letter in traveller.letters()] == [1]
        for _ in range(3):
            traveller.make_due()
            runner.runner.run_pending()
    assert len(inbox.received) == 1
    assert [letter.state for letter in traveller.letters()] == [MailState.SENT]


def test_a_mail_that_nobody_takes_is_given_up(travel: Travel) -> None:
    traveller = travel(free_port())
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    for _ in range(len(PAUSES) + 2):
        runner.runner.run_pending()
        traveller.make_due()
    (letter,) = traveller.letters()
    assert (letter.state, letter.attempts) == (MailState.FAILED, len(PAUSES))
    assert "refused" in letter.error.lower()


def test_a_mail_that_the_server_refuses_for_good_is_not_tried_again(travel: Travel) -> None:
    inbox = Inbox("554 No")
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner.runner.run_pending()
        assert [letter.state for letter in traveller.letters()] == [MailState.FAILED]
        assert runner.runner.run_pending() == 0
    assert inbox.received == []


def test_a_mail_whose_process_died_while_the_server_had_it_is_not_sent_again(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        with traveller.app.app_context():
            db.session.execute(sa.update(Outbox.__table__).values(state=MailState.SENDING))
            gone = {"state": "running", "lease_expires_at": utcnow() - timedelta(seconds=1), "attempts": 1}
            db.session.execute(sa.update(queue.Job.__table__).values(gone))
            db.session.commit()
        runner.runner.run_pending()
    assert inbox.received == []
    assert [letter.state for letter in traveller.letters()] == [MailState.FAILED]


def test_a_mail_whose_server_takes_it_and_says_nothing_is_not_sent_again(travel: Travel) -> None:
    inbox = Forgetful()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner.runner.run_pending()
        traveller.make_due()
        assert runner.runner.run_pending() == 0
    assert len(inbox.received) == 1
    assert [letter.state for letter in traveller.letters()] == [MailState.FAILED]


@pytest.mark.parametrize("greeting", [b"", b"220 " + b"x" * 10_000], ids=["hangs", "drips"])
def test_a_server_that_hangs_or_drips_delays_nothing(
    travel: Travel, monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    """The login answers while the server has the courier in its grip, and other jobs are done meanwhile."""
    imported: list[int] = []
    monkeypatch.setattr(transport, "PATIENCE", float(TIMEOUT_SECONDS))
    monkeypatch.setitem(runner.runner._lanes["work"].kinds, "probe", (imported.append, lambda *_: None))
    stubborn = Stubborn(greeting)
    with stubborn.listening() as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        runner.runner.start()
        try:
            traveller.log_in(AWAY)
            assert stubborn.met.wait(TIMEOUT_SECONDS)
            traveller.log_in("192.0.2.9")
            with traveller.app.app_context():
                queue.enqueue("probe", 7)
                db.session.commit()
            wait_until(lambda: imported == [7])
            assert not stubborn.released.is_set()
        finally:
            stubborn.released.set()
            runner.runner.stop()


@pytest.mark.parametrize("greeting", [b"", b"220 " + b"x" * 10_000], ids=["hangs", "drips"])
def test_patience_with_a_server_ends(travel: Travel, monkeypatch: pytest.MonkeyPatch, greeting: bytes) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 0.3)
    with Stubborn(greeting).listening() as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner.runner.run_pending()
    (letter,) = traveller.letters()
    assert (letter.state, letter.attempts) == (MailState.QUEUED, 1)


def test_the_place_is_told_where_the_operator_supplies_a_database(travel: Travel, tmp_path: Path) -> None:
    path = tmp_path / "places.mmdb"
    path.write_bytes(places({"city": {"names": {"en": "Lyon"}}, "country": {"names": {"en": "France"}}}))
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port, GEOIP_DATABASE=path)
        for address in (HOME, AWAY, "2001:db8::1"):
            traveller.log_in(address)
        runner.runner.run_pending()
    known, unknown = (letter.as_string() for letter in inbox.received)
    assert "Lyon, France" in known
    assert "Place" not in unknown


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = utcnow() + timedelta(seconds=TIMEOUT_SECONDS)
    while not condition():
        assert utcnow() < deadline, "It did not happen."


def places(answer: dict[str, Any]) -> bytes:
    """A database in MaxMind's format that gives one answer for every IPv4 address."""
    node = (1 + 16).to_bytes(3, "big") * 2
    facts = {
        "node_count": Number(6, 1),
        "record_size": Number(5, 24),
        "ip_version": Number(5, 4),
        "database_type": "City",
        "binary_format_major_version": Number(5, 2),
        "binary_format_minor_version": Number(5, 0),
        "build_epoch": Number(9, 1),
        "languages": ["en"],
        "description": {},
    }
    return node + bytes(16) + encoded(answer) + b"\xab\xcd\xefMaxMind.com" + encoded(facts)


class Number(NamedTuple):
    """A number of one of the format's types: 5, 6 and 9 for 16, 32 and 64 bits."""

    type: int
    value: int


def encoded(value: Any) -> bytes:
    match value:
        case dict():
            members = b"".join(encoded(key) + encoded(entry) for key, entry in value.items())
            return control(7, len(value)) + members
        case Number():
            return control(value.type, 2) + value.value.to_bytes(2, "big")
        case list():
            return control(11, len(value)) + b"".join(map(encoded, value))
    return control(2, len(value)) + value.encode()


def control(type_: int, size: int) -> bytes:
    """What stands before a value; types beyond 7 and sizes beyond 28 are written in a byte of their own."""
    first = (type_ << 5 if type_ < 8 else 0) | min(size, 29)
    return bytes([first, *([type_ - 7] if type_ > 7 else []), *([size - 29] if size > 28 else [])])
