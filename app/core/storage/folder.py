"""Files in a folder of this machine, or one that several machines share."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.core.storage.protocol import StorageError

PART = ".part"


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes) -> None:
        with _translated():
            handle, part = tempfile.mkstemp(PART, f"{name}.", self.path)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(part, self.path / name)
                sync_directory(self.path)
            except OSError:
                with suppress(OSError):
                    os.unlink(part)
                raise

    def open(self, name: str) -> BinaryIO:
        with _translated():
            return (self.path / name).open("rb")

    def delete(self, names: Iterable[str]) -> None:
        with _translated():
            # With the parts that processes have left that died while they wrote the file.
            parts = [path for path in self.path.iterdir() if path.suffix == PART]
            for name in names:
                for path in (self.path / name, *(part for part in parts if part.name.startswith(f"{name}."))):
                    path.unlink(missing_ok=True)

    def names(self, after: str = "") -> Iterator[str]:
        with _translated():
            paths = [path for path in self.path.iterdir() if path.name > after and path.suffix != PART]
            yield from sorted(path.name for path in paths if path.is_file())

    def is_up(self) -> bool:
        return os.access(self.path, os.R_OK | os.W_OK | os.X_OK)


def sync_directory(directory: Path) -> None:
    """Make the names of its files durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{error.filename or 'The folder'}: {error.strerror}.") from error
