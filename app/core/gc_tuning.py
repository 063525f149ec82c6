"""Memory settings of a long-running process: the garbage collector, and what is given back to the system."""

import ctypes
import gc

THRESHOLDS = (50_000, 20, 50)
LARGE_BLOCK_BYTES = 1 << 20

_M_MMAP_THRESHOLD = -3


def freeze() -> None:
    """Exclude everything made so far from garbage collection; called once the application is made.

    Modules, models and schemas are half a million objects that live as long as the process. Each full collection
    would traverse them all: measured, a third of the time of an import.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _give_back_large_blocks()


def _give_back_large_blocks() -> None:
    """Have glibc give freed blocks of LARGE_BLOCK_BYTES and more back to the system.

    It raises its own limit to the largest block freed, up to 32 MB: later blocks of an uploaded file's size then stay
    with the process. Other C libraries have no such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
