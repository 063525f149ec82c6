"""Garbage collector settings of a long-running process."""

import gc

THRESHOLDS = (50_000, 20, 50)


def freeze() -> None:
    """Exclude everything made so far from garbage collection; called once the application is made.

    Modules, models and schemas are half a million objects that live as long as the process. Each full collection
    would traverse them all: measured, a third of the time of an import.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
