"""A sealed beginning of the log as files that prove themselves, without this database and without our keys.

`records.ndjson` has one record a line, and the line is what its leaf is the hash of; `checkpoints.jsonl` has the
checkpoints up to there, as they are kept outside; `later.json` has the newest checkpoint of all and the proof that
its tree begins with this one. The log itself stays as it is.
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
from app.proof import outside
from app.proof.checkpoints import Checkpoint, InvalidCheckpoint, Verifier, open_note
from app.proof.findings import Kind, Report
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
from app.proof.records import RAW, content_of, line_of
from app.proof.sealer import verifiers
from app.proof.verification import snapshot, stream

RECORDS, CHECKPOINTS, LATER, KEYS = "records.ndjson", "checkpoints.jsonl", "later.json", "keys.txt"


class CannotArchive(Exception):
    """There is nothing sealed to archive, or a record of it is missing."""


def write(folder: Path, size: int | None = None) -> int:
    """Write the records up to the last checkpoint of at most `size` leaves; answers how many there are.

    Raises CannotArchive, and FileExistsError where the folder holds an archive.
    """
    with reading():
        keys = verifiers()
    folder.mkdir(parents=True, exist_ok=True)
    with snapshot() as connection:
        signed = sa.select(checkpoints.c.size, checkpoints.c.note, checkpoints.c.sealed_at).order_by(checkpoints.c.size)
        rows = connection.execute(signed).all()
        included = [row for row in rows if size is None or row.size <= size]
        if not included:
            raise CannotArchive("Nothing has been sealed up to there: run `flask audit seal`.")
        end = included[-1].size
        with (folder / RECORDS).open("xb") as file:
            for row in stream(connection, _records(end)):
                if row.id is None:
                    raise CannotArchive("A sealed record is missing: run `flask audit verify`.")
                file.write(line_of(content_of(row)) + b"\n")
        outside.append(folder / CHECKPOINTS, [(row.size, row.note, as_json(row.sealed_at)) for row in included])
        proof = consistency_proof(_roots_in(connection), end, rows[-1].size)
        later = {"note": rows[-1].note, "proof": _encoded(proof)}
        (folder / LATER).write_bytes(canonical(later) + b"\n")
    (folder / KEYS).write_text("".join(f"{key}\n" for key in keys))
    return int(end)


def verify(folder: Path, keys: Sequence[Verifier]) -> Report:
    """Verify an archive with keys that come from elsewhere; those in the archive prove nothing against its maker."""
    report = Report()
    trusted = list(keys)
    if not trusted:
        trusted = [Verifier.parse(line) for line in (folder / KEYS).read_text().splitlines()]
        report.doubt("The keys are those of the archive itself: give the one that you know with --key.")
    tree = Frontier()
    since = 0
    signed = list(_opened(outside.lines(outside.state(folder / CHECKPOINTS)), trusted, report))
    with (folder / RECORDS).open("rb") as file:
        for checkpoint in signed:
            while tree.size < checkpoint.size and (line := file.readline()):
                tree.append(leaf_hash(line.removesuffix(b"\n")))
            if tree.size < checkpoint.size:
                report.find(
                    Kind.RECORD_MISSING, "Records are missing at the end.", first=tree.size, last=checkpoint.size - 1
                )
                break
            if tree.root != checkpoint.root:
                message = "The records in this range are not the ones that were signed."
                report.find(Kind.LOG_REWRITTEN, message, first=since, last=checkpoint.size - 1)
                break
            since = checkpoint.size
        else:
            if file.readline():
                message = "Records stand behind the last checkpoint: nobody has signed them."
                report.find(Kind.RECORD_INSERTED, message, first=tree.size, last=tree.size)
    report.records = report.size = tree.size
    if not signed:
        report.doubt("The archive has no checkpoint that the keys have signed.")
    elif not report.count:
        _verify_later(orjson.loads((folder / LATER).read_bytes()), signed[-1], trusted, report)
    return report


def prove(record_id: int) -> dict[str, Any] | None:
    """One record with the proof that the newest checkpoint includes it; None where it is not sealed."""
    with snapshot() as connection:
        position = connection.scalar(sa.select(leaves.c.position).where(leaves.c.record_id == record_id))
        row = connection.execute(sa.select(*RAW).where(STORED.c.id == record_id)).one_or_none()
        newest = sa.select(checkpoints.c.size, checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
        signed = connection.execute(newest).one_or_none()
        if position is None or row is None or signed is None:
            return None
        proof = inclusion_proof(_roots_in(connection), position, signed.size)
        line = line_of(content_of(row)).decode()
        return {"record": line, "index": position, "proof": _encoded(proof), "note": signed.note}


def verify_record(proof: dict[str, Any], keys: Sequence[Verifier]) -> Report:
    """Verify what `prove` answered."""
    report = Report()
    try:
        checkpoint, _ = open_note(proof["note"], keys)
        leaf = leaf_hash(proof["record"].encode())
        root = root_from_inclusion(leaf, proof["index"], checkpoint.size, _decoded(proof["proof"]))
        report.records, report.checkpoints, report.size = 1, 1, checkpoint.size
        if root != checkpoint.root:
            raise InvalidProof("The record is not the one that was sealed there.")
    except (InvalidCheckpoint, InvalidProof, binascii.Error) as error:
        report.find(Kind.RECORD_CHANGED, str(error))
    except (KeyError, TypeError, AttributeError):
        report.doubt("This is no proof of a record.")
    return report


def _opened(lines: Iterator[outside.Line], keys: Sequence[Verifier], report: Report) -> Iterator[Checkpoint]:
    try:
        for line in lines:
            checkpoint, _ = open_note(line.note, keys)
            report.checkpoints += 1
            yield checkpoint
    except (InvalidCheckpoint, outside.DamagedFile) as error:
        report.find(Kind.CHECKPOINT_CHANGED, str(error))


def _verify_later(later: dict[str, Any], last: Checkpoint, keys: Sequence[Verifier], report: Report) -> None:
    """Verify that the newest checkpoint of when the archive was made continues its tree."""
    try:
        newest, _ = open_note(later["note"], keys)
        roots = last.root, newest.root
        if newest.size != last.size:
            roots = roots_from_consistency(last.root, last.size, newest.size, _decoded(later["proof"]))
        if roots != (last.root, newest.root):
            raise InvalidProof("The newest checkpoint does not continue the archive.")
    except (InvalidCheckpoint, InvalidProof, binascii.Error, KeyError, TypeError) as error:
        report.find(Kind.LOG_REWRITTEN, f"What came later: {error}", first=last.size, last=last.size)


def _records(size: int) -> sa.Select[Any]:
    joined = leaves.outerjoin(STORED, STORED.c.id == leaves.c.record_id)
    return sa.select(*RAW).select_from(joined).where(leaves.c.position < size).order_by(leaves.c.position)


def _roots_in(connection: sa.Connection) -> RootOf:
    def root_of(start: int, end: int) -> bytes:
        part = Frontier()
        within = sa.and_(leaves.c.position >= start, leaves.c.position < end)
        for (found,) in stream(connection, sa.select(leaves.c.hash).where(within).order_by(leaves.c.position)):
            part.append(found)
        return part.root

    return root_of


def _encoded(proof: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in proof]


def _decoded(proof: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(node, validate=True) for node in proof]
