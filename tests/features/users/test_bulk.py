"""Many people at once: their passwords take seconds to hash, and nobody waits for that."""

from typing import Any

import pytest

from app.users import schemas
from tests.client import Client
from tests.threads import run_concurrently


@pytest.mark.parametrize("mode", ["atomic", "partial"])
def test_others_write_while_the_passwords_of_many_are_hashed(
    admin: Client, other: Client, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """On SQLite a write that waited for the lock of the bulk request would be a 503 here, and not a 201."""
    hash_password, written = schemas.hash_password, []

    def hash_slowly(text: str) -> Any:
        """Another writer begins, and commits, before the hash is there."""
        send = [lambda: other.call("POST", "/api/servers", json={"name": f"s{len(written)}"}, expect=201)]
        written.extend(run_concurrently(send))
        return hash_password(text)

    monkeypatch.setattr(schemas, "hash_password", hash_slowly)
    names = [f"colleague{number}" for number in range(6)]
    items = [{"username": name, "email": f"{name}@example.com", "password": "a new long password"} for name in names]
    answer = admin.call("POST", "/api/users/bulk", json={"mode": mode, "items": items}, expect=201)
    assert {result["status"] for result in answer["data"]["results"]} == {"ok"}
    changed = [{"id": result["id"], "password": "another long password"} for result in answer["data"]["results"]]
    admin.call("PATCH", "/api/users/bulk", json={"mode": mode, "items": changed})
    assert len(written) == 12
    assert other.call("GET", "/api/servers")["pagination"]["total"] == 12
