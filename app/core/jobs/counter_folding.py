"""Folds the counters now and then, so that readers have few rows to sum up."""

from app.core.db.counters.maintenance import fold_counters
from app.core.jobs.runner import Runner

INTERVAL_SECONDS = 20.0


def register_jobs(runner: Runner) -> None:
    runner.repeat("counters", fold_counters, every=INTERVAL_SECONDS)
