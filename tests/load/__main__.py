"""`make load`: traffic against the platform on a database of its own, then a report and the invariants."""

import argparse
import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from app import create_app
from app.core.db.schema import MIGRATIONS
from tests import backends
from tests.conftest import close
from tests.load.invariants import assert_all
from tests.load.run import lines, make_estate, under_load, unexpected, wait_for_imports, watch
from tests.server import served


def main() -> None:
    """Exit with 1 if an answer was unexpected; raises AssertionError if an invariant is broken."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=250, help="requests a second (250)")
    parser.add_argument("--clients", type=int, default=24, help="connections (24)")
    parser.add_argument("--workers", default="2", help="processes of the server; 1 on SQLite (2)")
    parser.add_argument("--sqlite", action="store_true", help="instead of PostgreSQL and Redis")
    parser.add_argument("--bcrypt-rounds", default="12")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="itam-load-")))
        url = sa.make_url(f"sqlite:///{directory / 'load.db'}")
        if not options.sqlite:
            url = backends.own_url(secrets.token_hex(4))
            stack.enter_context(backends.database(url, "LOCALE 'C.UTF-8'"))
        redis_url = None if options.sqlite else backends.REDIS_URL
        prefix = f"itam-load-{secrets.token_hex(4)}"
        settings = backends.testing(url.render_as_string(hide_password=False), redis_url, directory / "uploads", prefix)
        app = create_app(settings)
        stack.callback(close, app)
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
        estate = make_estate(app)
        environ = {"WORKERS": "1"} if options.sqlite else {"WORKERS": options.workers, "JOB_WORKERS": "1"}
        environ |= {"REDIS_URL": redis_url or "", "BCRYPT_ROUNDS": options.bcrypt_rounds}
        with served(settings, **environ) as server:
            with under_load(server.port, estate, rate=options.rate, clients=options.clients) as traffic:
                show(f"Serving {url.render_as_string()} on port {server.port}.")
                for line in watch(traffic, server.pid, options.seconds):
                    show(line)
            wait_for_imports(app, traffic)
        for line in lines(traffic):
            show(line)
        assert_all(app, traffic.ledger)
        show("Records = changes, nothing acknowledged is lost, no GPU was held twice, the log is intact.")
        if redis_url:
            backends.delete_keys(prefix)
        if faults := unexpected(traffic):
            show(f"{len(faults)} unexpected answers:", *faults[:20])
            sys.exit(1)


def show(*texts: str) -> None:
    sys.stdout.write("\n    ".join(texts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
