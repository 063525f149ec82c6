"""Both storages keep the same promises; the object store also fails in its own ways."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.storage.folder import Folder
from app.core.storage.protocol import Storage, StorageError, WrongSettings
from app.core.storage.s3 import S3Bucket
from app.core.storage.storage import check
from tests.faults.proxy import Proxy
from tests.object_store import ObjectStore
from tests.server import free_port
from tests.threads import run_concurrently, wait_until

MEBIBYTE = 1024 * 1024
CALLS: dict[str, Callable[[Storage], object]] = {
    "write": lambda storage: storage.write("a.jpg", b"x"),
    "write a large file": lambda storage: storage.write("a.jpg", b"x" * (MEBIBYTE + 1)),
    "read": lambda storage: storage.open("a.jpg"),
    "delete": lambda storage: storage.delete(["a.jpg"]),
    "list": lambda storage: list(storage.names()),
}


@pytest.fixture
def bucket(object_store: ObjectStore) -> S3Bucket:
    name = object_store.new_bucket()
    return S3Bucket(f"s3://{name}/images/of assets".replace(" ", "-"), object_store.settings(name))


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Folder(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.mark.parametrize("size", [0, 5, MEBIBYTE + 1, 9 * MEBIBYTE])
def test_a_file_is_read_as_it_was_written(storage: Storage, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    storage.write("a.jpg", content)
    with storage.open("a.jpg") as file:
        assert file.read() == content
    assert list(storage.names()) == ["a.jpg"]
    assert storage.is_up()


def test_a_file_is_replaced_and_deleted(storage: Storage) -> None:
    storage.write("a.jpg", b"first")
    storage.write("a.jpg", b"second")
    storage.write("b.jpg", b"")
    with storage.open("a.jpg") as file:
        assert file.read() == b"second"
    storage.delete(["a.jpg", "never.jpg", "b.jpg"])
    assert list(storage.names()) == []
    with pytest.raises(FileNotFoundError):
        storage.open("a.jpg")


@pytest.mark.race
def test_of_simultaneous_writers_one_wins_whole(storage: Storage) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    run_concurrently([lambda content=content: storage.write("a.jpg", content) for content in contents])
    with storage.open("a.jpg") as file:
        assert file.read() in contents
    assert list(storage.names()) == ["a.jpg"]


def test_all_names_are_listed(storage: Storage) -> None:
    """An object store lists a thousand at a time."""
    names = {f"{number}.jpg" for number in range(1100)}
    run_concurrently([lambda some=some: [storage.write(f"{n}.jpg", b"") for n in some] for some in halves(1100)])
    assert set(storage.names()) == names
    storage.delete(names)
    assert list(storage.names()) == []


def halves(count: int) -> list[range]:
    return [range(count // 2), range(count // 2, count)]


def test_what_a_storage_needs_is_checked(storage: Storage) -> None:
    check(storage)
    assert list(storage.names()) == []


def test_prefixes_of_one_bucket_are_apart(object_store: ObjectStore, bucket: S3Bucket) -> None:
    name = bucket.url.split("/")[2]
    whole = S3Bucket(f"s3://{name}", object_store.settings(name))
    bucket.write("a.jpg", b"below")
    whole.write("a.jpg", b"above")
    with bucket.open("a.jpg") as file:
        assert file.read() == b"below"
    assert object_store.names(name) == ["a.jpg", "images/of-assets/a.jpg"]


def test_a_folder_that_fails_says_why(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        folder.open("a.jpg")
    assert not folder.is_up()
    (tmp_path / "gone").write_bytes(b"no folder")
    for call in CALLS.values():
        with pytest.raises(StorageError, match="Not a directory"):
            call(folder)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no bucket": ({"STORAGE_URL": "s3://no-such-bucket"}, "there is no such bucket: create it"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, "AWS_ACCESS_KEY_ID is not known there"),
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY is not the secret"),
}


@pytest.mark.parametrize(("changed", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_settings_are_named(object_store: ObjectStore, changed: dict[str, Any], reason: str) -> None:
    settings = object_store.settings(object_store.new_bucket()) | changed
    for call in (*CALLS.values(), check):
        # A bucket of its own: after a failure it would not be asked again at once.
        with pytest.raises(WrongSettings, match=reason):
            call(S3Bucket(settings["STORAGE_URL"], settings))


@pytest.fixture
def silent(object_store: ObjectStore) -> Iterator[dict[str, Any]]:
    """The settings of a store that accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield object_store.settings("bucket") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{listener.getsockname()[1]}"}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_silent_store_is_given_up(silent: dict[str, Any], call: Callable[[Storage], object]) -> None:
    with pytest.raises(StorageError, match="no complete answer in time"):
        call(S3Bucket("s3://bucket", silent))


def test_a_store_that_failed_is_left_alone_for_a_moment(silent: dict[str, Any]) -> None:
    """Only the calls that were under way wait; of the others, one tries, and the rest is refused."""
    bucket = S3Bucket("s3://bucket", silent)
    run_concurrently([lambda: failure_of(bucket)] * 8)
    failures = run_concurrently([lambda: failure_of(bucket)] * 8)
    refused = [text for text in failures if "is tried again in a moment" in text]
    # A thread that begins very late may be the next one to try.
    assert len(refused) in (6, 7, 8)
    assert not bucket.is_up()


def failure_of(bucket: S3Bucket) -> str:
    with pytest.raises(StorageError) as raised:
        bucket.open("a.jpg")
    return str(raised.value)


def test_a_store_that_is_refused_is_away(object_store: ObjectStore) -> None:
    away = object_store.settings("bucket") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    with pytest.raises(StorageError, match="there is no connection to AWS_ENDPOINT_URL"):
        S3Bucket("s3://bucket", away).open("a.jpg")


def test_a_store_is_used_again_when_it_is_back(object_store: ObjectStore) -> None:
    proxy = Proxy(("127.0.0.1", object_store.port))
    with proxy.listening() as port:
        name = object_store.new_bucket()
        settings = object_store.settings(name) | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        bucket = S3Bucket(f"s3://{name}", settings)
        bucket.write("a.jpg", b"x")
        with proxy.silent():
            failure_of(bucket)
            assert not bucket.is_up()
        wait_until(bucket.is_up)
        with bucket.open("a.jpg") as file:
            assert file.read() == b"x"
