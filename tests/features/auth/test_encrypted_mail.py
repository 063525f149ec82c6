"""Mail is sent over verified TLS to the configured server, or not at all."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from app.core.jobs.runner import runner_of
from app.core.mail.outbox import MailState
from tests.features.auth.certificates import Authority
from tests.features.auth.conftest import AWAY, HOME, Travel, Traveller
from tests.features.auth.smtp_servers import Inbox, server
from tests.spread import any_database

pytestmark = any_database

LOGIN = {"MAIL_USE_TLS": True, "MAIL_USERNAME": "itam", "MAIL_PASSWORD": "only for the mail server"}


class Authenticator:
    """Accepts one account, and keeps the credentials that it received."""

    def __init__(self) -> None:
        self.received: list[LoginPassword] = []

    def __call__(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        self.received.append(login)
        expected = (LOGIN["MAIL_USERNAME"], LOGIN["MAIL_PASSWORD"])
        return AuthResult(success=(login.login.decode(), login.password.decode()) == expected)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A certificate authority that OpenSSL trusts in this process."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority


def send_one(traveller: Traveller) -> Any:
    """Let a mail be sent; returns its row of the outbox."""
    traveller.log_in(HOME)
    traveller.log_in(AWAY)
    runner_of(traveller.app).run_pending()
    (message,) = traveller.messages()
    return message


def test_credentials_and_mail_are_sent_encrypted(travel: Travel, trusted: Authority) -> None:
    inbox, authenticator = Inbox(), Authenticator()
    options = {"tls_context": trusted.server(), "require_starttls": True}
    with server(inbox, authenticator=authenticator, auth_required=True, **options) as port:
        assert send_one(travel(port, **LOGIN)).state is MailState.SENT
    assert len(inbox.received) == 1
    assert len(authenticator.received) == 1


@pytest.mark.parametrize("fault", ["authority", "address", "time"])
def test_invalid_certificate_is_refused(travel: Travel, trusted: Authority, tmp_path: Path, fault: str) -> None:
    if fault == "authority":
        (tmp_path / "untrusted").mkdir()
        context = Authority(tmp_path / "untrusted").server()
    elif fault == "address":
        context = trusted.server("192.0.2.1")
    else:
        context = trusted.server(lifetime=timedelta(seconds=-1))
    inbox, authenticator = Inbox(), Authenticator()
    with server(inbox, authenticator=authenticator, tls_context=context) as port:
        message = send_one(travel(port, **LOGIN))
    assert "certificate verify failed" in message.error
    # The operator may fix the certificate: the mail is retried.
    assert (message.state, message.attempts) == (MailState.QUEUED, 1)
    assert (inbox.received, authenticator.received) == ([], [])


def test_server_without_encryption_receives_nothing(travel: Travel) -> None:
    """A man in the middle may have removed STARTTLS from the server's offer."""
    inbox, authenticator = Inbox(), Authenticator()
    with server(inbox, authenticator=authenticator, auth_require_tls=False) as port:
        message = send_one(travel(port, **LOGIN))
    assert "STARTTLS" in message.error
    assert (message.state, message.attempts) == (MailState.QUEUED, 1)
    assert (inbox.received, authenticator.received) == ([], [])
