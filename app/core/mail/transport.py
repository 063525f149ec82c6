"""SMTP transport: Flask-Mail with timeouts, verified certificates and a callback before the data is sent."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from smtplib import SMTP, SMTPException
from types import TracebackType
from typing import Any

from flask import Flask, current_app
from flask_mail import Connection, Mail, Message

REPLY_SECONDS = 10.0
"""For each reply of the server."""
DEADLINE_SECONDS = 30.0
"""For the whole conversation: a server that sends one byte at a time would never exceed REPLY_SECONDS."""


class Mailer(Mail):
    """Flask-Mail's extension, which sends each message over a connection of its own."""

    def send_once(self, message: Message, *, before_data: Callable[[], None]) -> None:
        """Send a message; raises OSError, SMTPException, or UnicodeError for an address that cannot be encoded.

        `before_data` is called when the server has accepted sender and recipient, just before it receives the message:
        after that, only the server knows whether it has the message.
        """
        with _Connection(current_app.extensions["mail"], before_data) as connection:
            connection.send(message)


class _Connection(Connection):
    def __init__(self, mail: Any, before_data: Callable[[], None]) -> None:
        super().__init__(mail)
        self._before_data = before_data

    def configure_host(self) -> SMTP:
        # Flask-Mail's own sets no timeout and does not verify certificates.
        host = _Smtp(self.mail.server, self.mail.port, self._before_data)
        try:
            if self.mail.use_tls:
                host.starttls(context=ssl.create_default_context())
            if self.mail.username and self.mail.password:
                host.login(self.mail.username, self.mail.password)
        except BaseException:
            host.close()
            raise
        return host

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.host is not None
        # The message is sent or it is not: an error of QUIT changes nothing.
        with suppress(OSError, SMTPException):
            if error is None:
                self.host.quit()
        self.host.close()


class _Smtp(SMTP):
    """A connection that is aborted after DEADLINE_SECONDS."""

    def __init__(self, server: str, port: int, before_data: Callable[[], None]) -> None:
        self._before_data = before_data
        self._timer = threading.Timer(DEADLINE_SECONDS, self._abort)
        self._timer.daemon = True
        self._timer.start()
        try:
            super().__init__(server, port, timeout=REPLY_SECONDS)
        except BaseException:
            self.close()
            raise

    def send(self, s: Any) -> None:
        # smtplib sends commands as str, and only the message as bytes.
        if isinstance(s, bytes):
            self._before_data()
        super().send(s)

    def close(self) -> None:
        self._timer.cancel()
        super().close()

    def _abort(self) -> None:
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


mailer = Mailer()


def init_app(app: Flask) -> None:
    # Flask-Mail does not send under TESTING, and logs whole conversations in debug mode.
    app.config.update(MAIL_SUPPRESS_SEND=False, MAIL_DEBUG=0, MAIL_USE_SSL=False)
    mailer.init_app(app)
