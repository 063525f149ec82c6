"""Checkpoints are signed notes of C2SP: reading, refusal of changed ones, verification by the standard alone."""

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.core.audit.mac import derive
from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, VerifierKey, open_note, sign, verifier_key

OLD, NEW = derive("an old secret of at least 32 bytes"), derive("a new secret of at least 32 bytes")
ORIGIN = "itam-audit-log/1"
CHECKPOINT = Checkpoint(ORIGIN, 1234, hashlib.sha256(b"root").digest())
KEYS = [verifier_key(NEW, ORIGIN), verifier_key(OLD, ORIGIN)]


def test_a_checkpoint_follows_the_standard() -> None:
    """Verified here by the text of c2sp.org/signed-note and c2sp.org/tlog-checkpoint alone."""
    body, signature = sign(CHECKPOINT, [NEW]).split("\n\n")
    assert body == f"{ORIGIN}\n1234\n{base64.b64encode(CHECKPOINT.root).decode()}"
    match = re.fullmatch(rf"— {ORIGIN} (\S+)\n", signature)
    assert match is not None
    raw = base64.b64decode(match[1])
    name, identity, encoded = str(KEYS[0]).split("+", 2)
    public = base64.b64decode(encoded)
    assert name == ORIGIN
    assert public[:1] == b"\x01"
    assert raw[:4] == hashlib.sha256(f"{ORIGIN}\n".encode() + public).digest()[:4] == bytes.fromhex(identity)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], f"{body}\n".encode())


def test_the_previous_key_signs_too() -> None:
    both = sign(CHECKPOINT, [NEW, OLD])
    assert open_note(both, KEYS) == (CHECKPOINT, 0)
    assert open_note(both, KEYS[1:]) == (CHECKPOINT, 0)
    assert open_note(sign(CHECKPOINT, [OLD]), KEYS) == (CHECKPOINT, 1)


def test_a_verifier_key_survives_a_round_trip() -> None:
    assert VerifierKey.parse(str(KEYS[0])) == KEYS[0]
    for text in ("", "a", "a+b+c", str(KEYS[0])[:-4], str(KEYS[0]).replace(ORIGIN, "other"), str(KEYS[0]) + "AAAA"):
        with pytest.raises(ValueError, match="verifier key"):
            VerifierKey.parse(text)


NOTE = sign(CHECKPOINT, [NEW])
TOUCHED = {
    "empty": "",
    "no signature": NOTE.split("— ")[0],
    "another size": NOTE.replace("1234", "1235"),
    "a size with a zero": NOTE.replace("1234", "01234"),
    "another name": NOTE.replace(f"{ORIGIN}\n", "itam-audit-log/2\n", 1),
    "another root": NOTE.replace(CHECKPOINT.body.split("\n")[2], base64.b64encode(bytes(32)).decode()),
    "a short root": NOTE.replace(CHECKPOINT.body.split("\n")[2], "AAAA"),
    "an unknown key": sign(CHECKPOINT, [derive("somebody else's secret of 32 bytes")]),
    "half a signature": NOTE[:-20],
    "a signature and more": NOTE + "more\n",
    "a further line": NOTE.replace("1234\n", "1234\n\n"),
}


@pytest.mark.parametrize("touched", TOUCHED.values(), ids=TOUCHED)
def test_a_changed_checkpoint_is_refused(touched: str) -> None:
    with pytest.raises(InvalidCheckpoint):
        open_note(touched, KEYS)
