"""`make load`: traffic against the platform on a database of its own, then a report and the invariants."""

import argparse
import itertools
import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flask_migrate

from app import create_app
from app.core.db.schema import MIGRATIONS
from tests import backends, mariadb
from tests.conftest import close
from tests.faults import cluster as postgresql_server
from tests.faults import mariadb_server
from tests.faults.conftest import OwnServer
from tests.load.faults import SERIES, Fault, fragile, outside_contract
from tests.load.invariants import assert_all
from tests.load.run import Usage, lines, make_estate, too_slow, under_load, wait_for_imports, watch
from tests.server import served

KINDS = ("postgresql", "mariadb", "sqlite")


def main() -> None:
    """Exit with 1 if an answer was unexpected or anything too slow; raises AssertionError if an invariant is broken."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=250, help="requests a second (250)")
    parser.add_argument("--clients", type=int, default=24, help="connections (24)")
    parser.add_argument("--workers", default="2", help="processes of the server; 1 on SQLite (2)")
    parser.add_argument("--faults", action="store_true", help="have everything fail from time to time")
    parser.add_argument("--outage", type=float, default=15, help="seconds that what fails is away (15)")
    parser.add_argument("--on", choices=KINDS, default=KINDS[0], help="kind of the database (postgresql)")
    parser.add_argument("--bcrypt-rounds", type=int, default=12)
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="itam-load-")))
        is_sqlite = options.on == "sqlite"
        # The faults stop a database server, so it must serve nothing else.
        running = mariadb_server.running if options.on == "mariadb" else postgresql_server.running
        cluster = stack.enter_context(running()) if options.faults and not is_sqlite else None
        url = own_database(stack, directory, cluster, options.on)
        redis_url = None if is_sqlite else backends.REDIS_URL
        settings = backends.testing(url, redis_url, directory / "uploads", f"itam-load-{secrets.token_hex(4)}")
        settings.BCRYPT_ROUNDS = options.bcrypt_rounds
        app = create_app(settings)
        stack.callback(close, app)
        with app.app_context():
            flask_migrate.upgrade(directory=MIGRATIONS)
        environ = {"BCRYPT_ROUNDS": str(options.bcrypt_rounds), "WORKERS": "1" if is_sqlite else options.workers}
        faults = list[Fault]()
        if cluster is not None:
            platform = stack.enter_context(fragile(app, settings, cluster, **environ))
            server, estate = platform.server, platform.estate
            platform.contact_what_hangs()
        else:
            estate = make_estate(app)
            environ |= {} if is_sqlite else {"JOB_WORKERS": "1", "REDIS_URL": redis_url or ""}
            server = stack.enter_context(served(settings, **environ))
        with under_load(server.port, estate, rate=options.rate, clients=options.clients) as traffic:
            show(f"Serving {url} on port {server.port}.")
            series = itertools.cycle(SERIES)
            usage = Usage(server.pid)
            for line in watch(traffic, server.pid, options.seconds):
                show(line)
                if cluster is not None:
                    faults.append(platform.strike(traffic, next(series), options.outage))
                    show(f"    {faults[-1]}")
            show(usage.line(len(traffic.answers)))
        wait_for_imports(app, traffic)
        for line in lines(traffic):
            show(line)
        assert_all(app, traffic.ledger)
        show("Records = changes, nothing acknowledged is lost, no GPU was held twice, the log is intact.")
        if redis_url:
            backends.delete_keys(settings.REDIS_PREFIX)
        failures = outside_contract(traffic.answers, faults)
        failures += [f"healthy too late: {fault}" for fault in faults if fault.is_long]
        # While something is away, requests wait for it as long as the contract says.
        failures += [] if faults else too_slow(traffic)
        if failures:
            show(f"{len(failures)} failures:", *failures[:20])
            sys.exit(1)


def own_database(stack: ExitStack, directory: Path, cluster: OwnServer | None, kind: str) -> str:
    """The URL of a new database of this kind, which goes at the end."""
    if kind == "sqlite":
        return f"sqlite:///{directory / 'load.db'}"
    if cluster is not None:
        return cluster.url(stack.enter_context(cluster.database()))
    module: Any = mariadb if kind == "mariadb" else backends
    url = module.own_url(secrets.token_hex(4))
    stack.enter_context(module.database(url))
    return str(url.render_as_string(hide_password=False))


def show(*texts: str) -> None:
    sys.stdout.write("\n    ".join(texts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
