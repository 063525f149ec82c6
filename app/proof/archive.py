"""Archives: the sealed log up to a checkpoint as files that can be verified without this database and its secrets.

`records.ndjson` has one record per line, exactly the bytes that are hashed to its leaf; `checkpoints.jsonl` has the
checkpoints up to there, in the format of the checkpoint file; `later.json` has the newest checkpoint and the proof
that its tree continues this one; `keys.txt` has the public keys. The log itself stays as it is.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from app.core.audit.mac import canonical
from app.core.audit.models import STORED
from app.core.db.unit_of_work import reading
from app.core.values import as_json
from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, VerifierKey, open_note
from app.proof.merkle import (
    Frontier,
    InvalidProof,
    RootOf,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_inclusion,
    roots_from_consistency,
)
from app.proof.models import checkpoints, leaves
from app.proof.outside.checkpoint_file import CheckpointFile, DamagedFile
from app.proof.records import RAW_COLUMNS, content_of, leaf_bytes
from app.proof.report import FindingKind, Report
from app.proof.sealer import verifier_keys
from app.proof.verification import snapshot, stream

RECORDS, CHECKPOINTS, LATER, KEYS = "records.ndjson", "checkpoints.jsonl", "later.json", "keys.txt"


class CannotArchive(Exception):
    """No record up to there is sealed, or a sealed record is missing."""


def write(folder: Path, size: int | None = None) -> int:
    """Write the records up to the last checkpoint of at most `size` leaves, and return their number.

    Raises CannotArchive, and FileExistsError if the folder already holds an archive.
    """
    with reading():
        keys = verifier_keys()
    folder.mkdir(parents=True, exist_ok=True)
    with snapshot() as connection:
        signed = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.sealed_at).order_by(checkpoints.c.size)
        rows = connection.execute(signed).all()
        included = [row for row in rows if size is None or row.size <= size]
        if not included:
            raise CannotArchive("No record has been sealed up to there: run `flask audit seal`.")
        end = included[-1].size
        with (folder / RECORDS).open("xb") as file:
            for row in stream(connection, _select_sealed(end)):
                if row.id is None:
                    raise CannotArchive("A sealed record is missing: run `flask audit verify`.")
                file.write(leaf_bytes(content_of(row)) + b"\n")
        signed_notes = [(row.size, row.note, as_json(row.sealed_at)) for row in included]
        CheckpointFile(folder / CHECKPOINTS).append(signed_notes)
        proof = consistency_proof(_root_function(connection), end, rows[-1].size)
        later = {"note": rows[-1].note, "proof": _encode(proof)}
        (folder / LATER).write_bytes(canonical(later) + b"\n")
    (folder / KEYS).write_text("".join(f"{key}\n" for key in keys))
    return int(end)


def verify(folder: Path, keys: Sequence[VerifierKey]) -> Report:
    """Verify an archive with keys from elsewhere; its own keys prove nothing against its author."""
    report = Report()
    trusted = list(keys)
    if not trusted:
        trusted = [VerifierKey.parse(line) for line in (folder / KEYS).read_text().splitlines()]
        report.add_doubt("The keys are those of the archive itself: pass a key from another source with --key.")
    tree = Frontier()
    last_checkpoint = 0
    signed = list(_open_checkpoints(folder / CHECKPOINTS, trusted, report))
    with (folder / RECORDS).open("rb") as file:
        for checkpoint in signed:
            while tree.size < checkpoint.size and (line := file.readline()):
                tree.append(leaf_hash(line.removesuffix(b"\n")))
            if tree.size < checkpoint.size:
                report.add(
                    FindingKind.RECORD_MISSING,
                    "Records are missing at the end.",
                    first=tree.size,
                    last=checkpoint.size - 1,
                )
                break
            if tree.root != checkpoint.root:
                message = "The records in this range are not the ones that were signed."
                report.add(FindingKind.LOG_REWRITTEN, message, first=last_checkpoint, last=checkpoint.size - 1)
                break
            last_checkpoint = checkpoint.size
        else:
            if file.readline():
                message = "Records follow the last checkpoint: no checkpoint covers them."
                report.add(FindingKind.RECORD_INSERTED, message, first=tree.size, last=tree.size)
    report.records = report.size = tree.size
    if not signed:
        report.add_doubt("The archive has no checkpoint that the keys have signed.")
    elif not report.count:
        _verify_continuation(orjson.loads((folder / LATER).read_bytes()), signed[-1], trusted, report)
    return report


def prove(record_id: int) -> dict[str, Any] | None:
    """One record with the proof that the newest checkpoint includes it; None if it is not sealed."""
    with snapshot() as connection:
        position = connection.scalar(sa.select(leaves.c.position).where(leaves.c.record_id == record_id))
        row = connection.execute(sa.select(*RAW_COLUMNS).where(STORED.c.id == record_id)).one_or_none()
        newest = sa.select(checkpoints.c.size, checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
        signed = connection.execute(newest).one_or_none()
        if position is None or row is None or signed is None:
            return None
        proof = inclusion_proof(_root_function(connection), position, signed.size)
        line = leaf_bytes(content_of(row)).decode()
        return {"record": line, "index": position, "proof": _encode(proof), "note": signed.note}


def verify_record(proof: dict[str, Any], keys: Sequence[VerifierKey]) -> Report:
    """Verify what `prove` has returned."""
    report = Report()
    try:
        checkpoint, _ = open_note(proof["note"], keys)
        leaf = leaf_hash(proof["record"].encode())
        root = root_from_inclusion(leaf, proof["index"], checkpoint.size, _decode(proof["proof"]))
        report.records, report.checkpoints, report.size = 1, 1, checkpoint.size
        if root != checkpoint.root:
            raise InvalidProof("The record is not the one that was sealed there.")
    except (InvalidCheckpoint, InvalidProof, binascii.Error) as error:
        report.add(FindingKind.RECORD_CHANGED, str(error))
    except (KeyError, TypeError, AttributeError):
        report.add_doubt("This is no proof of a record.")
    return report


def _open_checkpoints(path: Path, keys: Sequence[VerifierKey], report: Report) -> Iterator[Checkpoint]:
    try:
        for entry in CheckpointFile(path).measure().entries():
            checkpoint, _ = open_note(entry.note, keys)
            report.checkpoints += 1
            yield checkpoint
    except (InvalidCheckpoint, DamagedFile) as error:
        report.add(FindingKind.CHECKPOINT_CHANGED, str(error))


def _verify_continuation(later: dict[str, Any], last: Checkpoint, keys: Sequence[VerifierKey], report: Report) -> None:
    """Verify that the checkpoint that was the newest when the archive was written continues its tree."""
    try:
        newest, _ = open_note(later["note"], keys)
        roots = last.root, newest.root
        if newest.size != last.size:
            roots = roots_from_consistency(last.root, last.size, newest.size, _decode(later["proof"]))
        if roots != (last.root, newest.root):
            raise InvalidProof("The newest checkpoint does not continue the archive.")
    except (InvalidCheckpoint, InvalidProof, binascii.Error, KeyError, TypeError) as error:
        report.add(FindingKind.LOG_REWRITTEN, f"The continuation in {LATER}: {error}", first=last.size, last=last.size)


def _select_sealed(size: int) -> sa.Select[Any]:
    joined = leaves.outerjoin(STORED, STORED.c.id == leaves.c.record_id)
    return sa.select(*RAW_COLUMNS).select_from(joined).where(leaves.c.position < size).order_by(leaves.c.position)


def _root_function(connection: sa.Connection) -> RootOf:
    def root_of(start: int, end: int) -> bytes:
        subtree = Frontier()
        is_within = sa.and_(leaves.c.position >= start, leaves.c.position < end)
        for (leaf,) in stream(connection, sa.select(leaves.c.hash).where(is_within).order_by(leaves.c.position)):
            subtree.append(leaf)
        return subtree.root

    return root_of


def _encode(proof: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in proof]


def _decode(proof: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(node, validate=True) for node in proof]
