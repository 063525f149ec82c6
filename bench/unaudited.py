"""The platform without its audit log, to measure the cost of it: `python -m bench.unaudited <port>`."""

import sys
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from sqlalchemy import event

from app import create_app
from app.core.audit import recorder
from app.core.db.unit_of_work import Session
from run import PLACES, settings


def __getattr__(name: str) -> Any:
    # Created in the worker process, on first use.
    if name == "application":
        globals()[name] = create_app(settings())
        event.remove(Session, "after_flush", recorder.record_changes)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    Granian(
        "bench.unaudited:application",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=PLACES,
        websockets=False,
        log_level=LogLevels.error,
        log_access=False,
    ).serve()
