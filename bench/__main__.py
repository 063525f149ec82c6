"""Run the benchmarks: `python -m bench [name] [options]`; without a name, all of them."""

import argparse
import inspect
from pathlib import Path

from bench import audit, checks, exports, imports, lists, logins, proof, reports, scale, uploads

BENCHMARKS = (imports, uploads, lists, audit, reports, exports, logins, checks, scale, proof)
"""Each has a function `run`, whose parameters are the options, and says in its first line what it measures."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.set_defaults(run=run_all)
    names = parser.add_subparsers(metavar="NAME", title="benchmarks")
    for module in BENCHMARKS:
        first_line = (module.__doc__ or "").partition("\n")[0]
        options = names.add_parser(module.__name__.removeprefix("bench."), description=module.__doc__, help=first_line)
        options.set_defaults(run=module.run)
        for option in inspect.signature(module.run).parameters.values():
            # What has no default number is a file.
            kind = Path if option.default is None else type(option.default)
            options.add_argument(f"--{option.name}", type=kind, default=option.default, help=f"({option.default})")
    given = vars(parser.parse_args())
    given.pop("run")(**given)


def run_all() -> None:
    for module in BENCHMARKS:
        module.run()


if __name__ == "__main__":
    main()
