"""Sealing goes on after an older state was restored: the checkpoints that are ahead of it are set aside as evidence."""

from app.core.audit.recorder import record
from app.core.db.unit_of_work import reading, writing
from app.proof.outside.setting_aside import bring_back, new_label, set_aside
from app.proof.sealer import CannotSeal, checkpoint_log, continue_tree, log_name, seal


def problem() -> str | None:
    """Why sealing has stopped; None if it goes on."""
    try:
        with reading():
            continue_tree()
    except CannotSeal as error:
        return str(error)
    return None


def resume() -> str | None:
    """Set the checkpoints aside that sealing has stopped at, record that, and seal. Returns where they are.

    None if sealing has not stopped. Raises CannotSeal where the stored tree itself is damaged: then everything stays
    in its place.
    """
    if not (reason := problem()):
        return None
    label = new_label()
    with reading():
        name, last = log_name(), checkpoint_log().measure()
    # First: if the process dies now, sealing is still stopped and this runs again.
    with writing():
        record(
            "resume",
            "audit_logs",
            None,
            name,
            {"reason": {"old": None, "new": reason}, "checkpoints": {"old": last.size, "new": label}},
        )
    aside = set_aside(label)
    if reason := problem():
        bring_back(label)
        raise CannotSeal(reason)
    seal()
    return aside
