"""Run the benchmarks: `python -m bench [name] [options]`; without a name, all of them."""

import argparse
from pathlib import Path

from bench import audit, checks, exports, imports, lists, logins, proof, reports, scale, uploads
from bench.estate import Estate
from bench.fleet import Fleet


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = parser.add_subparsers(metavar="NAME", title="benchmarks")
    parser.set_defaults(run=run_all)

    of_audit = names.add_parser("audit", help="questions to an audit log of millions of records")
    of_audit.add_argument("--records", type=int, default=audit.RECORDS)
    of_audit.add_argument("--rounds", type=int, default=audit.ROUNDS)
    of_audit.set_defaults(run=lambda given: audit.run(given.records, given.rounds))

    of_checks = names.add_parser("checks", help="a round of health checks")
    of_checks.add_argument("--services", type=int, default=checks.SERVICES)
    of_checks.add_argument("--rounds", type=int, default=checks.ROUNDS)
    of_checks.set_defaults(run=lambda given: checks.run(given.services, given.rounds))

    of_proof = names.add_parser("proof", help="a verification of the audit log, and what each write pays for it")
    of_proof.add_argument("--records", type=int, default=proof.RECORDS, help="to verify; 0 leaves that out")
    of_proof.add_argument("--rounds", type=int, default=proof.ROUNDS)
    of_proof.add_argument("--seconds", type=float, default=proof.SECONDS, help="of each burst of requests")
    of_proof.set_defaults(run=lambda given: proof.run(given.records, given.rounds, given.seconds))

    of_imports = names.add_parser("imports", help="from the upload of a workbook to its rows in the database")
    of_imports.add_argument("--workbook", type=Path, help="an .xlsx file, instead of a made-up fleet")
    for kind in ("servers", "gpus", "containers"):
        of_imports.add_argument(f"--{kind}", type=int, default=getattr(Fleet(), kind), help="in that fleet")
    of_imports.add_argument("--rounds", type=int, default=imports.ROUNDS)
    of_imports.set_defaults(run=run_imports)

    of_lists = names.add_parser("lists", help="a page of servers over HTTP")
    of_lists.add_argument("--rounds", type=int, default=lists.ROUNDS)
    of_lists.add_argument("--seconds", type=float, default=lists.SECONDS, help="of each burst of requests")
    of_lists.set_defaults(run=lambda given: lists.run(given.rounds, given.seconds))

    of_reports = names.add_parser("reports", help="the marked workbook of an import")
    of_reports.add_argument("--rows", type=int, default=reports.ROWS)
    of_reports.add_argument("--rounds", type=int, default=reports.ROUNDS)
    of_reports.set_defaults(run=lambda given: reports.run(given.rows, given.rounds))

    of_exports = names.add_parser("exports", help="all servers as a file")
    of_exports.add_argument("--rows", type=int, default=exports.ROWS)
    of_exports.add_argument("--rounds", type=int, default=exports.ROUNDS)
    of_exports.set_defaults(run=lambda given: exports.run(given.rows, given.rounds))

    of_logins = names.add_parser("logins", help="whether the time of a failed login tells why it failed")
    of_logins.add_argument("--tries", type=int, default=logins.TRIES, help="of each kind")
    of_logins.add_argument("--cost", type=int, default=logins.COST, help="of the password hashes")
    of_logins.set_defaults(run=lambda given: logins.run(given.tries, given.cost))

    of_scale = names.add_parser("scale", help="lists, the tree, the dashboard and the search when there is much of it")
    of_scale.add_argument("--servers", type=int, default=Estate().servers)
    of_scale.add_argument("--gpus", type=int, default=Estate().gpus)
    of_scale.add_argument("--rounds", type=int, default=scale.ROUNDS)
    of_scale.set_defaults(run=lambda given: scale.run(Estate(given.servers, given.gpus), given.rounds))

    of_uploads = names.add_parser("uploads", help="a large workbook on a running server, while a client reads")
    of_uploads.add_argument("--rows", type=int, default=uploads.ROWS)
    of_uploads.add_argument("--rounds", type=int, default=uploads.ROUNDS)
    of_uploads.add_argument("--pause", type=float, default=uploads.PAUSE, help="seconds between the client's questions")
    of_uploads.set_defaults(run=lambda given: uploads.run(given.rows, given.rounds, given.pause))

    given = parser.parse_args()
    given.run(given)


def run_all(_given: argparse.Namespace) -> None:
    imports.run(Fleet())
    uploads.run()
    lists.run()
    audit.run()
    reports.run()
    exports.run()
    logins.run()
    checks.run()
    scale.run(Estate())
    proof.run()


def run_imports(given: argparse.Namespace) -> None:
    imports.run(Fleet(given.servers, given.gpus, given.containers), given.workbook, given.rounds)


if __name__ == "__main__":
    main()
