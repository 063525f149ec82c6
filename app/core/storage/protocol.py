"""What a storage of files does. Its users know names and contents, and not whether a folder or a bucket holds them."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol


class StorageError(OSError):
    """A file could not be stored, read or deleted; the message is one sentence for the administrator."""


class WrongSettings(StorageError):
    """The storage answers, but refuses until its settings or rights are changed."""


class Storage(Protocol):
    """Files by name, without folders. Every call ends within seconds, if need be with StorageError."""

    def write(self, name: str, content: bytes) -> None:
        """Store a file durably: others see it whole or not at all. One of that name is replaced."""

    def open(self, name: str) -> BinaryIO:
        """The content of a file, to be read without waiting for the storage. Raises FileNotFoundError."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; it is no error if one does not exist."""

    def names(self, after: str = "") -> Iterator[str]:
        """The names of all files that are greater than `after`, in lexical order."""

    def is_up(self) -> bool:
        """Whether the storage can be used, as far as is known within half a second."""
