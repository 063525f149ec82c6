"""Checkpoints: the size and the root of the tree at a moment, signed with Ed25519.

In the form of C2SP tlog-checkpoint, a signed note (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), so that the
tools of transparency logs read them too. Keys are written as verifier keys, `<name>+<id>+<base64>`.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.audit.mac import Key
from app.proof.merkle import HASH

_ED25519 = b"\x01"
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_BODY = re.compile(r"([^\s+]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")


class InvalidCheckpoint(Exception):
    """A text is no checkpoint, or none of the keys has signed it; the message says which."""


class UnknownKey(InvalidCheckpoint):
    """Whoever has signed is not known here."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of the log `origin` had this root when it had `size` leaves."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key, under the name of the log that it signs for."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that a signature names its key by."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a verifier key; raises ValueError."""
        name, _, rest = text.strip().partition("+")
        told, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        found = cls(name, key[1:])
        if not name or key[:1] != _ED25519 or len(key) != 1 + 32 or told != found.id.hex():
            raise ValueError("This is no Ed25519 verifier key (name+id+base64).")
        return found


def signer(key: Key) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.seed)


def verifier(key: Key, origin: str) -> Verifier:
    return Verifier(origin, signer(key).public_key().public_bytes_raw())


def sign(checkpoint: Checkpoint, keys: Iterable[Key]) -> str:
    """The checkpoint as a note with a signature of each key."""
    body = checkpoint.body
    lines = []
    for key in keys:
        told = verifier(key, checkpoint.origin).id + signer(key).sign(body.encode())
        lines.append(f"— {checkpoint.origin} {base64.b64encode(told).decode()}\n")
    return body + "\n" + "".join(lines)


def read(note: str) -> Checkpoint:
    """What a note says, whoever signed it; raises InvalidCheckpoint."""
    body, blank, _ = note.partition("\n\n")
    found = _BODY.fullmatch(body + "\n")
    if not blank or found is None:
        raise InvalidCheckpoint("This is no checkpoint.")
    root = base64.b64decode(found[3])
    if len(root) != HASH:
        raise InvalidCheckpoint("This is no checkpoint.")
    return Checkpoint(found[1], int(found[2]), root)


def open_note(note: str, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, int]:
    """What a note says and which of the keys has signed it, the first one if several have.

    Raises InvalidCheckpoint if none has, or if the signature of any of them is wrong.
    """
    checkpoint = read(note)
    by_key = {(item.name, item.id): place for place, item in enumerate(verifiers)}
    signed_by: set[int] = set()
    for line in note.partition("\n\n")[2].splitlines():
        found = _SIGNATURE.fullmatch(line)
        try:
            told = base64.b64decode(found[2], validate=True) if found else b""
        except binascii.Error:
            told = b""
        if found is None or len(told) <= 4:
            raise InvalidCheckpoint("A signature of this checkpoint is damaged.")
        place = by_key.get((found[1], told[:4]))
        if place is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifiers[place].key).verify(told[4:], checkpoint.body.encode())
        except InvalidSignature:
            raise InvalidCheckpoint("A signature of this checkpoint is wrong.") from None
        signed_by.add(place)
    if not signed_by:
        raise UnknownKey("None of the known keys has signed this checkpoint.")
    return checkpoint, min(signed_by)
