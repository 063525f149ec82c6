"""E-mail addresses: one rule, at every entrance, refuses those that no mail can be sent to."""

from typing import Any

import pytest
from flask import Flask

from app.resource.formats import email
from app.users.models import User
from tests.client import PASSWORD, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.openapi import Document
from tests.spread import any_database

pytestmark = any_database

LABEL = "a" * 63
POSSIBLE = [
    "ada@example.com",
    "admin@localhost",
    "o'brien+it.dept/a&b=c@x-1.example",
    f"{'l' * 64}@example.com",
    f"ada@{LABEL}.{LABEL}.{LABEL}.{'a' * 58}",
    "ada@bücher.example",
    "ada@BÜCHER.example",
    "ada@例え.jp",
    "ada@xn--strae-oqa.de",
]
IMPOSSIBLE = [
    "ada",
    "@example.com",
    "ada@",
    "a@b@example.com",
    "a da@example.com",
    "ädä@example.com",
    "阿达@example.com",
    ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com",
    'ada"@example.com',
    "a,da@example.com",
    "<ada>@example.com",
    f"{'l' * 65}@example.com",
    "ada@example..com",
    "ada@.example.com",
    "ada@example.com.",
    "ada@-example.com",
    "ada@example-.com",
    "ada@exa_mple.com",
    "ada@[10.0.0.1]",
    f"ada@a{LABEL}.com",
    f"ada@{'ü' * 63}.com",
    f"ada@{LABEL}.{LABEL}.{LABEL}.{'a' * 59}",
    "ada@" + "ü." * 300 + "com",
    "ada@straße.de",
    "ada@βόλος.com",
    "ada@ｅxample.com",
    "ada@example。com",
    "ada@xn--99999.bücher.example",
    "ada@a\u200db.example",
]


@pytest.mark.parametrize("address", POSSIBLE)
def test_address_that_mail_can_be_sent_to(address: str) -> None:
    assert email(address) == address


@pytest.mark.parametrize("address", IMPOSSIBLE)
def test_address_that_no_mail_can_be_sent_to(address: str) -> None:
    with pytest.raises(ValueError, match=r"^(Must be an e-mail address|Mail cannot|Mail would go to another domain)"):
        email(address)


def test_every_entrance_refuses_an_address_that_no_mail_can_be_sent_to(
    admin: Client, make: Make, build_app: BuildApp, document: Document
) -> None:
    bad, user = "ada@straße.de", make(User)
    new = {"username": "ada", "email": bad, "password": "a new long password"}

    def refused(method: str, path: str, body: Any, *, client: Client = admin) -> None:
        answer = client.call(method, path, json=body, expect=422)
        assert "email" in str(answer["data"]), answer

    refused("POST", "/api/users", new)
    refused("PATCH", f"/api/users/{user.id}", {"email": bad})
    refused("PUT", f"/api/users/{user.id}", {**new, "role": "user"})
    refused("POST", "/api/users/bulk", {"items": [new]})
    refused("PATCH", "/api/users/bulk", {"items": [{"id": user.id, "email": bad}]})
    refused("PATCH", "/api/auth/me", {"email": bad, "current_password": PASSWORD})
    refused("POST", "/api/auth/register", new, client=Client(build_app(REGISTRATION_ENABLED=True), document))


def test_the_command_line_refuses_it_too(app: Flask) -> None:
    arguments = ["create-admin", "ada", "ada@straße.de", "--password", "a long password!"]
    with app.app_context():
        created = app.test_cli_runner().invoke(args=arguments)
    assert (created.exit_code, created.stderr.startswith("Error: Mail would go to another domain")) == (1, True)
