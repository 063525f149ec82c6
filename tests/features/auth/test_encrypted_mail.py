"""Mail goes to the server that the operator named, over a connection that nobody else can read, or not at all."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from app.core.jobs import runner
from app.core.mail.outbox import MailState
from tests.features.auth.certificates import Authority
from tests.features.auth.conftest import AWAY, HOME, Travel, Traveller
from tests.features.auth.smtp_servers import Inbox, server

LOGIN = {"MAIL_USE_TLS": True, "MAIL_USERNAME": "itam", "MAIL_PASSWORD": "only for the mail server"}


class Doorkeeper:
    """Lets one account in, and keeps in mind what it was told."""

    def __init__(self) -> None:
        self.told: list[LoginPassword] = []

    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, told: LoginPassword) -> AuthResult:
        self.told.append(told)
        expected = (LOGIN["MAIL_USERNAME"], LOGIN["MAIL_PASSWORD"])
        return AuthResult(success=(told.login.decode(), told.password.decode()) == expected)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that this machine believes, as OpenSSL is told to."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority


def send_one(traveller: Traveller) -> Any:
    """Have a mail sent; answers what became of it."""
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    runner.runner.run_pending()
    (letter,) = traveller.letters()
    return letter


def test_mail_is_encrypted_before_anything_is_said(travel: Travel, trusted: Authority) -> None:
    inbox, doorkeeper = Inbox(), Doorkeeper()
    options = {"tls_context": trusted.server(), "require_starttls": True}
    with server(inbox, authenticator=doorkeeper, auth_required=True, **options) as port:
        assert send_one(travel(port, **LOGIN)).state is MailState.SENT
    assert len(inbox.received) == 1
    assert len(doorkeeper.told) == 1


@pytest.mark.parametrize("wrong", ["authority", "address", "time"])
def test_a_certificate_that_proves_nothing_is_refused(
    travel: Travel, trusted: Authority, tmp_path: Path, wrong: str
) -> None:
    if wrong == "authority":
        (tmp_path / "stranger").mkdir()
        context = Authority(tmp_path / "stranger").server()
    elif wrong == "address":
        context = trusted.server("192.0.2.1")
    else:
        context = trusted.server(lives=timedelta(seconds=-1))
    inbox, doorkeeper = Inbox(), Doorkeeper()
    with server(inbox, authenticator=doorkeeper, tls_context=context) as port:
        letter = send_one(travel(port, **LOGIN))
    assert "certificate verify failed" in letter.error
    # The operator may put it right: the mail is tried again.
    assert (letter.state, letter.attempts) == (MailState.QUEUED, 1)
    assert (inbox.received, doorkeeper.told) == ([], [])


def test_a_server_without_encryption_is_told_nothing(travel: Travel) -> None:
    """Whoever is in between may have taken the offer out."""
    inbox, doorkeeper = Inbox(), Doorkeeper()
    with server(inbox, authenticator=doorkeeper, auth_require_tls=False) as port:
        letter = send_one(travel(port, **LOGIN))
    assert "STARTTLS" in letter.error
    assert (letter.state, letter.attempts) == (MailState.QUEUED, 1)
    assert (inbox.received, doorkeeper.told) == ([], [])
