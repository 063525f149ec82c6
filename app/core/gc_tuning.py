"""Memory settings of a long-running process: the garbage collector, and what is given back to the system."""

import ctypes
import gc

THRESHOLDS = (50_000, 20, 50)
LARGE_BLOCK_BYTES = 1 << 20

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ARENAS = 2
"""Where glibc allocates for threads, instead of 8 for each core: of few threads at a time one has the interpreter."""


def freeze() -> None:
    """Exclude everything made so far from garbage collection; called once the application is made.

    Modules, models and schemas are half a million objects that live as long as the process. Each full collection
    would traverse them all: measured, a third of the time of an import.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    _limit_allocator()


def _limit_allocator() -> None:
    """Have glibc share few arenas, and give freed blocks of LARGE_BLOCK_BYTES and more back to the system.

    glibc raises its own limit to the largest block freed, up to 32 MB: later blocks of an uploaded file's size then
    stay with the process. Other C libraries have no such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
