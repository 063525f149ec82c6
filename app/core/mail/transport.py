"""Flask-Mail with what it lacks: a limit on time, certificates that are verified, and a goodbye that cannot fail."""

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

SILENCE = 10.0
"""Seconds that the server may be silent."""
PATIENCE = 30.0
"""Seconds that all of it may take, however busily a server drips."""


class Mailer(Mail):
    """Sends one message over one connection."""

    def send_once(self, message: Message, *, before_handing_over: Callable[[], None]) -> None:
        """Send a message; raises OSError or SMTPException.

        `before_handing_over` is called when the server has agreed to take it, just before it gets it: from then on
        only the server knows whether it has it.
        """
        with _Connection(current_app.extensions["mail"], before_handing_over) as connection:
            connection.send(message)


class _Connection(Connection):
    def __init__(self, mail: Any, before_handing_over: Callable[[], None]) -> None:
        super().__init__(mail)
        self._before_handing_over = before_handing_over

    def configure_host(self) -> SMTP:
        host = _Smtp(self.mail.server, self.mail.port, self._before_handing_over)
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
        # The message is there or it is not: how the server takes leave changes nothing.
        with suppress(OSError, SMTPException):
            if error is None:
                self.host.quit()
        self.host.close()


class _Smtp(SMTP):
    """A connection that ends after PATIENCE at the latest."""

    def __init__(self, server: str, port: int, before_handing_over: Callable[[], None]) -> None:
        self._before_handing_over = before_handing_over
        self._end = threading.Timer(PATIENCE, self._abort)
        self._end.daemon = True
        self._end.start()
        try:
            super().__init__(server, port, timeout=SILENCE)
        except BaseException:
            self.close()
            raise

    def send(self, s: Any) -> None:
        # Commands are text; only the message itself is bytes.
        if isinstance(s, bytes):
            self._before_handing_over()
        super().send(s)

    def close(self) -> None:
        self._end.cancel()
        super().close()

    def _abort(self) -> None:
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


mailer = Mailer()


def init_app(app: Flask) -> None:
    # Flask-Mail would not send under TESTING, and write whole conversations to the log under debug.
    app.config.update(MAIL_SUPPRESS_SEND=False, MAIL_DEBUG=0, MAIL_USE_SSL=False)
    mailer.init_app(app)
