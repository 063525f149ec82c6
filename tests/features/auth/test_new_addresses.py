"""A login from a new address is audited and mailed to the user, whatever the mail server does."""

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from app.core.audit.models import AuditLog
from app.core.db.unit_of_work import db
from app.core.jobs import queue
from app.core.jobs.runner import runner_of
from app.core.mail import transport
from app.core.mail.outbox import RETRY_DELAYS, MailState, Outbox
from app.core.values import utcnow
from tests.features.auth.conftest import AWAY, HOME, Travel
from tests.features.auth.smtp_servers import AbortingInbox, HangingServer, Inbox, free_port, server
from tests.spread import any_database
from tests.threads import TIMEOUT_SECONDS, run_concurrently, wait_until

pytestmark = any_database


def test_login_from_a_new_address_is_mailed(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        for address in (HOME, AWAY, AWAY, HOME):
            traveller.log_in(address, device="Firefox <b>")
        assert runner_of(traveller.app).run_pending() == 1
        assert runner_of(traveller.app).run_pending() == 0
    (message,) = inbox.received
    assert (message["To"], message["From"]) == ("t@example.com", "itam@localhost")
    text, html = (part.get_payload(decode=True).decode() for part in message.walk() if not part.is_multipart())
    for part in (text, html):
        for fact in ("traveller", AWAY, "UTC", "sessions", "http://127.0.0.1:5000"):
            assert fact in part
    assert "Firefox <b>" in text
    assert "Firefox &lt;b&gt;" in html
    (mail,) = traveller.messages()
    assert (mail.state, mail.content) == (MailState.SENT, None)


def test_login_from_a_new_address_is_audited(travel: Travel) -> None:
    traveller = travel(None)
    for address in (HOME, AWAY, f"::ffff:{AWAY}", "2001:db8::1", "2001:db8::2", "10.0.0.1"):
        traveller.log_in(address)
    log = AuditLog.__table__
    with traveller.app.app_context():
        new_addresses = sa.select(log).where(log.c.action == "login_new_address").order_by(log.c.id)
        records = db.session.execute(new_addresses).all()
    networks = [(record.ip_address, record.changes["network"]["new"]) for record in records]
    documentation = "a private network"  # as Python classifies the addresses reserved for documentation
    assert networks == [(AWAY, documentation), ("2001:db8::1", documentation), ("10.0.0.1", "a private network")]
    runner_of(traveller.app).run_pending()
    assert {message.state for message in traveller.messages()} == {MailState.LOGGED}


@pytest.mark.race
def test_concurrent_logins_from_a_new_address_send_one_mail(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        run_concurrently([lambda: traveller.log_in(AWAY)] * 4)
        runner_of(traveller.app).run_pending()
    assert len(inbox.received) == 1


def test_temporarily_refused_mail_is_retried_and_sent_once(travel: Travel) -> None:
    port = free_port()
    traveller = travel(port)
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    runner_of(traveller.app).run_pending()  # no server is listening
    inbox = Inbox("451 Come back later")
    with server(inbox) as port:
        traveller.app.extensions["mail"].port = port
        runner_of(traveller.app).run_pending()  # the retry is not due yet
        assert [message.attempts for message in traveller.messages()] == [1]
        for _ in range(3):
            traveller.make_due()
            runner_of(traveller.app).run_pending()
    assert len(inbox.received) == 1
    assert [message.state for message in traveller.messages()] == [MailState.SENT]


def test_undeliverable_mail_is_given_up(travel: Travel) -> None:
    traveller = travel(free_port())
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    for _ in range(len(RETRY_DELAYS) + 2):
        runner_of(traveller.app).run_pending()
        traveller.make_due()
    (message,) = traveller.messages()
    assert (message.state, message.attempts) == (MailState.FAILED, len(RETRY_DELAYS) + 1)
    assert "refused" in message.error.lower()


def test_permanently_refused_mail_is_not_retried(travel: Travel) -> None:
    inbox = Inbox("554 No")
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner_of(traveller.app).run_pending()
        assert [message.state for message in traveller.messages()] == [MailState.FAILED]
        assert runner_of(traveller.app).run_pending() == 0
    assert inbox.received == []


def test_mail_whose_process_died_while_sending_is_not_sent_again(travel: Travel) -> None:
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        with traveller.app.app_context():
            db.session.execute(sa.update(Outbox.__table__).values(state=MailState.SENDING))
            abandoned = {"state": "running", "lease_expires_at": utcnow() - timedelta(seconds=1), "attempts": 1}
            db.session.execute(sa.update(queue.Job.__table__).values(abandoned))
            db.session.commit()
        runner_of(traveller.app).run_pending()
    assert inbox.received == []
    assert [message.state for message in traveller.messages()] == [MailState.FAILED]


def test_mail_accepted_without_a_reply_is_not_sent_again(travel: Travel) -> None:
    inbox = AbortingInbox()
    with server(inbox) as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner_of(traveller.app).run_pending()
        traveller.make_due()
        assert runner_of(traveller.app).run_pending() == 0
    assert len(inbox.received) == 1
    assert [message.state for message in traveller.messages()] == [MailState.FAILED]


@pytest.mark.parametrize("greeting", [b"", b"220 " + b"x" * 10_000], ids=["hangs", "drips"])
def test_slow_mail_server_delays_neither_logins_nor_other_jobs(
    travel: Travel, monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    """The login responds while the mail job waits for the server, and other jobs run meanwhile."""
    imported: list[int] = []
    monkeypatch.setattr(transport, "DEADLINE_SECONDS", float(TIMEOUT_SECONDS))
    hanging_server = HangingServer(greeting)
    with hanging_server.listening() as port:
        traveller = travel(port)
        runner = runner_of(traveller.app)
        runner.register("probe", imported.append, lambda *_: None)
        traveller.log_in(HOME)
        runner.start()
        try:
            traveller.log_in(AWAY)
            assert hanging_server.contacted.wait(TIMEOUT_SECONDS)
            traveller.log_in("192.0.2.9")
            with traveller.app.app_context():
                queue.enqueue("probe", 7)
                db.session.commit()
            wait_until(lambda: imported == [7])
            assert not hanging_server.released.is_set()
        finally:
            hanging_server.released.set()
            runner.stop()


@pytest.mark.parametrize("greeting", [b"", b"220 " + b"x" * 10_000], ids=["hangs", "drips"])
def test_sending_times_out(travel: Travel, monkeypatch: pytest.MonkeyPatch, greeting: bytes) -> None:
    monkeypatch.setattr(transport, "DEADLINE_SECONDS", 0.3)
    with HangingServer(greeting).listening() as port:
        traveller = travel(port)
        traveller.log_in(HOME)
        traveller.log_in(AWAY)
        runner_of(traveller.app).run_pending()
    (message,) = traveller.messages()
    assert (message.state, message.attempts) == (MailState.QUEUED, 1)


def test_mail_names_the_place_if_a_geoip_database_is_configured(travel: Travel, tmp_path: Path) -> None:
    path = tmp_path / "geoip.mmdb"
    path.write_bytes(geoip_database({"city": {"names": {"en": "Lyon"}}, "country": {"names": {"en": "France"}}}))
    inbox = Inbox()
    with server(inbox) as port:
        traveller = travel(port, GEOIP_DATABASE=path)
        for address in (HOME, AWAY, "2001:db8::1"):
            traveller.log_in(address)
        runner_of(traveller.app).run_pending()
    located, unlocated = (message.as_string() for message in inbox.received)
    assert "Lyon, France" in located
    assert "Place" not in unlocated


def geoip_database(record: dict[str, Any]) -> bytes:
    """A database in MaxMind's format with one record for every IPv4 address."""
    node = (1 + 16).to_bytes(3, "big") * 2
    metadata = {
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
    return node + bytes(16) + encode(record) + b"\xab\xcd\xefMaxMind.com" + encode(metadata)


class Number(NamedTuple):
    """A number of one of the format's types: 5, 6 and 9 for 16, 32 and 64 bits."""

    type: int
    value: int


def encode(value: Any) -> bytes:
    match value:
        case dict():
            members = b"".join(encode(key) + encode(entry) for key, entry in value.items())
            return control(7, len(value)) + members
        case Number():
            return control(value.type, 2) + value.value.to_bytes(2, "big")
        case list():
            return control(11, len(value)) + b"".join(map(encode, value))
    return control(2, len(value)) + value.encode()


def control(type_: int, size: int) -> bytes:
    """The control byte of a value; types beyond 7 and sizes beyond 28 take a byte of their own."""
    first = (type_ << 5 if type_ < 8 else 0) | min(size, 29)
    return bytes([first, *([type_ - 7] if type_ > 7 else []), *([size - 29] if size > 28 else [])])
