"""Checkpoints: size and root of the tree at one moment, signed with Ed25519.

The format is that of C2SP tlog-checkpoint, a signed note (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), which the
tools of transparency logs read too. Public keys are verifier keys, `<name>+<id>+<base64>`.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.core.audit.mac import AuditKey
from app.proof.merkle import HASH_BYTES

_ED25519 = b"\x01"
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_BODY = re.compile(r"([^\s+]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")


class InvalidCheckpoint(Exception):
    """A text is no checkpoint, or no known key has signed it; the message says which."""


class UnknownKey(InvalidCheckpoint):
    """None of the signatures is by a known key."""


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
class VerifierKey:
    """A public key with the name of the log that it verifies."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a verifier key; raises ValueError."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        parsed = cls(name, key[1:])
        if not name or key[:1] != _ED25519 or len(key) != 1 + 32 or key_id != parsed.id.hex():
            raise ValueError("This is no Ed25519 verifier key (name+id+base64).")
        return parsed


def private_key(key: AuditKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.seed)


def verifier_key(key: AuditKey, origin: str) -> VerifierKey:
    return VerifierKey(origin, private_key(key).public_key().public_bytes_raw())


def sign(checkpoint: Checkpoint, keys: Iterable[AuditKey]) -> str:
    """The checkpoint as a note, signed by each key."""
    body = checkpoint.body
    lines = []
    for key in keys:
        signature = verifier_key(key, checkpoint.origin).id + private_key(key).sign(body.encode())
        lines.append(f"— {checkpoint.origin} {base64.b64encode(signature).decode()}\n")
    return body + "\n" + "".join(lines)


def read(note: str) -> Checkpoint:
    """The checkpoint of a note, without a look at its signatures; raises InvalidCheckpoint."""
    body, blank, _ = note.partition("\n\n")
    match = _BODY.fullmatch(body + "\n")
    if not blank or match is None:
        raise InvalidCheckpoint("This is no checkpoint.")
    root = base64.b64decode(match[3])
    if len(root) != HASH_BYTES:
        raise InvalidCheckpoint("This is no checkpoint.")
    return Checkpoint(match[1], int(match[2]), root)


def open_note(note: str, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, int]:
    """The checkpoint of a note, and the index of the first of the keys that has signed it.

    Raises UnknownKey if none has signed, and InvalidCheckpoint if the signature of any of them is wrong.
    """
    checkpoint = read(note)
    indexes = {(key.name, key.id): index for index, key in enumerate(keys)}
    signed_by: set[int] = set()
    for line in note.partition("\n\n")[2].splitlines():
        match = _SIGNATURE.fullmatch(line)
        try:
            signature = base64.b64decode(match[2], validate=True) if match else b""
        except binascii.Error:
            signature = b""
        if match is None or len(signature) <= 4:
            raise InvalidCheckpoint("A signature of this checkpoint is damaged.")
        index = indexes.get((match[1], signature[:4]))
        if index is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(keys[index].key).verify(signature[4:], checkpoint.body.encode())
        except InvalidSignature:
            raise InvalidCheckpoint("A signature of this checkpoint is wrong.") from None
        signed_by.add(index)
    if not signed_by:
        raise UnknownKey("None of the known keys has signed this checkpoint.")
    return checkpoint, min(signed_by)
