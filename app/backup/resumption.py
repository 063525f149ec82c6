"""Sealing goes on after an older state was restored: the checkpoints that are ahead of it are set aside as evidence."""

import os
from pathlib import Path

from flask import current_app

from app.core.audit.recorder import record
from app.core.db.unit_of_work import reading, writing
from app.core.values import utcnow
from app.proof import checkpoint_file
from app.proof.sealer import CannotSeal, checkpoint_path, continue_tree, log_name, seal

SET_ASIDE = "set-aside-"


def problem() -> str | None:
    """Why sealing has stopped; None if it goes on."""
    try:
        with reading():
            continue_tree()
    except CannotSeal as error:
        return str(error)
    return None


def resume() -> Path | None:
    """Set the checkpoints aside that sealing has stopped at, record that, and seal. Returns their new folder.

    None if sealing has not stopped. Raises CannotSeal where the stored tree itself is damaged: then everything stays
    in its place.
    """
    if not (reason := problem()):
        return None
    folder: Path = current_app.config["AUDIT_CHECKPOINTS"]
    aside = folder / f"{SET_ASIDE}{utcnow():%Y%m%dT%H%M%SZ}"
    with reading():
        name, last = log_name(), checkpoint_file.measure(checkpoint_path())
    # First: if the process dies now, sealing is still stopped and this runs again.
    with writing():
        record(
            "resume",
            "audit_logs",
            None,
            name,
            {"reason": {"old": None, "new": reason}, "checkpoints": {"old": last.size, "new": aside.name}},
        )
    aside.mkdir(mode=0o700)
    moved = [path for path in folder.iterdir() if path.is_file()]
    for path in moved:
        os.replace(path, aside / path.name)
    if reason := problem():
        for path in moved:
            os.replace(aside / path.name, path)
        aside.rmdir()
        raise CannotSeal(reason)
    seal()
    return aside
