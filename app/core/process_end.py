"""How a process ends, however it was started."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import cast

_INTERRUPT = signal.SIGURG
"""A signal that means nothing else, and whose handler does nothing."""


def at_process_end(function: Callable[[], object], *, last: bool = False) -> None:
    """Call a function when this process ends, the latest one first; of those that are `last`, after all others.

    atexit does not: a forked process of multiprocessing runs nothing of it, before CPython 3.14. Processes that are
    forked from this one do not call the function.
    """
    Finalize(None, function, exitpriority=-1 if last else 0)


def end_at_once() -> None:
    """End a worker without finalising the interpreter.

    A thread that asks for the interpreter meanwhile is ended by pthread_exit() (before CPython 3.14). Of a thread with
    frames of Rust below, such as one of Granian or one that writes a workbook, that aborts the whole process: "panic in
    a function that cannot unwind".
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def signal_pipe() -> int:
    """A descriptor from which the numbers of the signals of this process are read, a byte each.

    The interpreter itself writes them, in whatever thread. Only signals with a handler, and the main thread calls this.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    return receiver


def heed_signals() -> None:
    """Have the main thread, which calls this, handle a signal that the kernel has given to another thread.

    CPython runs handlers in the main thread alone. Where that waits without an end it goes on waiting, unless a signal
    interrupts it: of twelve servers that were stopped, four had to kill a worker after five seconds.
    """
    signal.signal(_INTERRUPT, lambda *_: None)
    receiver = signal_pipe()
    threading.Thread(target=_interrupt_main_thread, args=(receiver,), name="heed-signals", daemon=True).start()


def _interrupt_main_thread(receiver: int) -> None:
    while True:
        if os.read(receiver, 1)[0] != _INTERRUPT:
            signal.pthread_kill(cast(int, threading.main_thread().ident), _INTERRUPT)


def end_with_parent() -> None:
    """End this process as soon as the one that has started it has ended.

    Workers of a killed parent would go on serving, beside those of the next start.
    """
    threading.Thread(target=_await_parent, name="end-with-parent", daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
