"""The manifest of a backup: what is in its folder, with hashes, and which version wrote it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

NAME = "manifest.json"
DATABASE = "database.db"
UPLOADS = "uploads"
CHECKPOINTS = "checkpoints"
SECRETS = "secrets.env"
FORMAT = 1
CHUNK_BYTES = 1 << 20


class NoBackup(Exception):
    """A folder holds no complete backup, or one that this version cannot read; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says."""

    version: str
    """Of the platform that wrote it."""
    revision: str
    """Of the schema."""
    source: str
    """The kind of the database: `sqlite` or `postgresql`. The copy is a file of SQLite in either case."""
    log: str
    """The name of the audit log."""
    keys: list[str]
    """The public keys of the audit log, the current one first."""
    started_at: str
    counts: dict[str, int]
    """Rows of each table."""
    files: dict[str, dict[str, str | int]]
    """`{"sha256": hex, "bytes": count}` of each file, by its path in the folder."""
    missing: list[str]
    """Images that assets show, whose file was missing when the backup was made."""
    secrets: dict[str, str]
    """The secrets that the data needs, each with what for. Their values are kept elsewhere."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        with (folder / NAME).open("xb") as file:
            file.write(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n")
            sync(file)


def read(folder: Path) -> Manifest:
    """The manifest of a folder; raises NoBackup."""
    try:
        content = orjson.loads((folder / NAME).read_bytes())
    except FileNotFoundError:
        raise NoBackup(f"{folder} holds no complete backup: there is no {NAME} in it.") from None
    except (OSError, ValueError) as error:
        raise NoBackup(f"{folder / NAME} cannot be read: {error}") from None
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise NoBackup(f"{folder / NAME} is of another format than this version reads ({FORMAT}).")
    try:
        return Manifest(**content)
    except TypeError:
        raise NoBackup(f"{folder / NAME} is incomplete.") from None


def copy(source: BinaryIO, path: Path) -> None:
    """Copy a stream into a new file, durably."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
        sync(file)


def sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def describe(path: Path) -> dict[str, str | int]:
    """The hash and the size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def differences(folder: Path, manifest: Manifest) -> Iterator[str]:
    """A sentence for each file that is not what the manifest says."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name in sorted(names - manifest.files.keys() - {NAME}):
        yield f"{name} is not in the manifest."
    for name, expected in manifest.files.items():
        if name not in names:
            yield f"{name} is missing."
        elif describe(folder / name) != expected:
            yield f"{name} was changed or is damaged."
