"""The deletion of what processes have noted in a bucket about events that were sealed long ago."""

from datetime import timedelta

from app.core.audit.shared_heads import shared_heads
from app.core.db.unit_of_work import reading
from app.core.jobs.runner import Runner
from app.core.values import utcnow
from app.proof.sealer import is_late, log_name

KEPT = timedelta(days=2)


def register_jobs(runner: Runner) -> None:
    runner.repeat("old event heads", delete_old, every=86_400)


def delete_old() -> None:
    """Delete the notes of processes that ended, unless sealing is late: then they are still needed."""
    if not (heads := shared_heads()):
        return
    with reading():
        name, is_needed = log_name(), is_late()
    if not is_needed:
        heads.delete_before(name, (utcnow() - KEPT).date())
