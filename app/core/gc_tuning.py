"""How the interpreter looks for garbage in a process that serves or works for long."""

import gc

THRESHOLDS = (50_000, 20, 50)


def settle() -> None:
    """Let the collector leave alone what is there to stay; called once the application is made.

    Modules, models and schemas are half a million objects that live as long as the process, and each full
    collection would look at all of them: measured, a third of the time that an import took.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
