"""Run the benchmarks: `python -m bench [name] [options]`; without a name, all of them."""

import argparse
import inspect
from pathlib import Path

from bench import (
    audit,
    checks,
    events,
    exports,
    floors,
    imports,
    limits,
    logins,
    memory,
    proof,
    reports,
    scale,
    uploads,
)

BENCHMARKS = (limits, floors, imports, uploads, memory, audit, reports, exports, logins, events, checks, scale, proof)
"""Each module has a function `run`; its parameters are the options, and the first line of its docstring the help."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.set_defaults(run=run_all)
    names = parser.add_subparsers(metavar="NAME", title="benchmarks")
    for module in BENCHMARKS:
        first_line = (module.__doc__ or "").partition("\n")[0]
        subparser = names.add_parser(
            module.__name__.removeprefix("bench."), description=module.__doc__, help=first_line
        )
        subparser.set_defaults(run=module.run)
        for option in inspect.signature(module.run).parameters.values():
            # An option without a default is a path.
            kind = Path if option.default is None else type(option.default)
            subparser.add_argument(f"--{option.name}", type=kind, default=option.default, help=f"({option.default})")
    options = vars(parser.parse_args())
    options.pop("run")(**options)


def run_all() -> None:
    for module in BENCHMARKS:
        module.run()


if __name__ == "__main__":
    main()
