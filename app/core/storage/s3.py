"""Files as objects in a bucket of an S3-compatible store, by obstore (`requirements-s3.txt`).

A PUT with length and hash stores an object whole or not at all, and may be sent again: no two writers share a name.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from prometheus_client import Histogram

from app.core.storage.breaker import BucketCircuitBreaker
from app.core.storage.protocol import StorageError, WrongSettings

R = TypeVar("R")

MEBIBYTE = 1024 * 1024
QUICK_SECONDS = 2
"""For a request that sends at most 1 MiB, from its first attempt to its last byte."""
READ_SECONDS = 60
"""For reading a file. Some bytes of it must arrive every QUICK_SECONDS."""
RETRY_SECONDS = 1
"""Within this time a request that failed is sent again; one that timed out never is."""
MEMORY_BYTES = 4 * MEBIBYTE
"""A file that is read and is larger goes to the temporary files."""
FRESH_SECONDS = 10
"""How long a successful call says that the storage is up."""
TRIAL_SECONDS = 0.5
"""How long readiness waits for a call that is made to find out."""

_WRONG_SETTINGS = {
    "NoSuchBucket": "there is no such bucket: create it, or correct STORAGE_URL",
    "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID is not known there",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID",
    "AccessDenied": "a right is missing: s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket are needed",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
}
"""By the code in the store's answer."""
_AWAY = {
    "Timeout": "there was no complete answer in time",
    "Connect": "there is no connection to AWS_ENDPOINT_URL, or its certificate is not valid",
}
"""By the kind of obstore's error."""

call_seconds = Histogram(
    "itam_storage_call_duration_seconds",
    "Seconds of a call to the object store.",
    ["operation", "outcome"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)


class S3Bucket:
    """Objects below a prefix. Its clients are made on first use, because their threads do not survive a fork."""

    def __init__(self, url: str, config: Mapping[str, Any]) -> None:
        self.url = url
        self._config = config
        self._clients: dict[tuple[int, int | None], S3Store] = {}
        self._lock = Lock()
        self._breaker = BucketCircuitBreaker()
        self._trials = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._trial: Future[object] | None = None

    def write(self, name: str, content: bytes) -> None:
        seconds = QUICK_SECONDS
        if len(content) > MEBIBYTE:
            # A store that hangs is noticed before it is given the time that a large file needs.
            self._call("list", lambda: next(obstore.list(self._client(), name), None))
            # At least 0.25 MiB a second; in powers of two, so that there are few clients.
            seconds <<= (len(content) // MEBIBYTE).bit_length()
        # As one request: an upload in parts that breaks off leaves parts in the bucket that no list shows.
        self._call("write", lambda: obstore.put(self._client(seconds), name, content, use_multipart=False))

    def open(self, name: str) -> BinaryIO:
        return self._call("read", lambda: self._read(name))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._call("delete", lambda name=name: obstore.delete(self._client(), name))  # type: ignore[misc]

    def names(self, after: str = "") -> Iterator[str]:
        pages = obstore.list(self._client(), offset=after or None, chunk_size=1000)
        while page := self._call("list", lambda: next(pages, None)):
            yield from (entry["path"] for entry in page)

    def is_up(self) -> bool:
        if not self._breaker.has_failed and time.monotonic() - self._breaker.succeeded_at < FRESH_SECONDS:
            return True
        with self._lock:
            if self._trial is None or self._trial.done():
                self._trial = self._trials.submit(lambda: next(self.names(), None))
            trial = self._trial
        with suppress(StorageError, TimeoutError):
            trial.result(TRIAL_SECONDS)
            return True
        return False

    def _read(self, name: str) -> BinaryIO:
        chunks = obstore.get(self._client(READ_SECONDS, pause=QUICK_SECONDS), name).stream()
        with ExitStack() as on_failure:
            file = on_failure.enter_context(SpooledTemporaryFile(MEMORY_BYTES))
            file.writelines(chunks)
            file.seek(0)
            on_failure.pop_all()
        return cast("BinaryIO", file)

    def _call(self, operation: str, function: Callable[[], R]) -> R:
        """The result of a function that calls obstore; raises FileNotFoundError and StorageError."""
        begun, outcome = time.perf_counter(), "failed"
        try:
            result = self._breaker.call(lambda: self._translate(function))
            outcome = "done"
        except FileNotFoundError:
            outcome = "missing"
            raise
        finally:
            call_seconds.labels(operation, outcome).observe(time.perf_counter() - begun)
        return result

    def _translate(self, function: Callable[[], R]) -> R:
        try:
            return function()
        except (BaseError, OSError) as error:
            text = str(error)
            # A missing bucket is an error of the settings, and no missing file.
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
                raise FileNotFoundError("There is no such object.") from None
            raise self._error(text) from None

    def _client(self, seconds: int = QUICK_SECONDS, *, pause: int | None = None) -> S3Store:
        """A client whose requests take `seconds` at most, and `pause` until the next bytes arrive."""
        with self._lock:
            if (seconds, pause) not in self._clients:
                self._clients[seconds, pause] = self._connect(seconds, pause)
            return self._clients[seconds, pause]

    def _connect(self, seconds: int, pause: int | None) -> S3Store:
        parts = urlsplit(self.url)
        settings = {
            "access_key_id": self._config["AWS_ACCESS_KEY_ID"],
            "secret_access_key": self._config["AWS_SECRET_ACCESS_KEY"],
            "endpoint": self._config["AWS_ENDPOINT_URL"],
            "region": self._config["AWS_REGION"],
        }
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            # What is not set here, obstore takes from the environment or asks the cloud for.
            config={name: value for name, value in settings.items() if value is not None},  # type: ignore[arg-type]
            virtual_hosted_style_request=not self._config["STORAGE_PATH_STYLE"],
            # Not every store can delete many objects by one request.
            disable_bulk_delete=True,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=QUICK_SECONDS),
                "timeout": timedelta(seconds=seconds),
                **({} if pause is None else {"read_timeout": timedelta(seconds=pause)}),
            },
            retry_config={
                "max_retries": 3,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                "backoff": {"init_backoff": timedelta(seconds=0.05), "max_backoff": timedelta(seconds=0.2), "base": 2},
            },
        )

    def _error(self, text: str) -> StorageError:
        """The error that obstore describes; it has types for few of them."""
        code = re.search(r"<Code>(\w+)</Code>", text)
        if code and code[1] in _WRONG_SETTINGS:
            return WrongSettings(f"{self.url}: {_WRONG_SETTINGS[code[1]]}.")
        kind = re.search(r"kind: (\w+)", text)
        first_line = re.sub(r"\s+", " ", text.partition("\n")[0])[:500].rstrip(".")
        return StorageError(f"{self.url}: {_AWAY.get(kind[1], first_line) if kind else first_line}.")
