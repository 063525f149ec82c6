"""The checkpoints and noted events of a bucket as files of a backup, and those of a backup as objects of a bucket."""

import secrets
from pathlib import Path

import orjson

from app.core.audit import event_chains
from app.core.audit.shared_heads import SharedHeads, prefix
from app.core.storage.protocol import Storage
from app.core.values import utcnow
from app.proof.outside.checkpoint_file import parse
from app.proof.outside.checkpoint_objects import MERGED_LINES, CheckpointObjects


def to_files(storage: Storage, log_name: str, folder: Path) -> None:
    """Write the files that a folder of checkpoints would hold. Raises OSError and DamagedFile."""
    own = CheckpointObjects(storage, log_name.replace("/", "-"))
    for log in (own, *own.others()):
        with (folder / log.name).open("xb") as file:
            file.writelines(line + b"\n" for _, line in log.measure().lines())
    heads = {head.chain: (head.number, head.mac) for head in event_chains.read(log_name)}
    if heads:
        (folder / event_chains.file_name(log_name)).write_bytes(orjson.dumps(heads, option=orjson.OPT_NON_STR_KEYS))


def to_objects(folder: Path, storage: Storage, log_name: str) -> None:
    """Write the files of a backup into a bucket, except those of logs that it knows: they are evidence, and stay."""
    for path in sorted(folder.glob("*.jsonl")):
        log = CheckpointObjects(storage, path.stem)
        if log.last() is None:
            lines = [(parse(line).size, line) for line in path.read_bytes().splitlines()]
            for start in range(0, len(lines), MERGED_LINES):
                log.write(lines[start : start + MERGED_LINES], merged=True)
    heads = folder / event_chains.file_name(log_name)
    if heads.exists() and not SharedHeads(storage).names(log_name):
        storage.write(f"{prefix(log_name)}{utcnow():%Y%m%d}-restored-{secrets.token_hex(4)}.json", heads.read_bytes())
