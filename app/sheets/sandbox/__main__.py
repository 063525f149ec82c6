"""Entry point of the sandbox: `python -I <this folder> <module below app.sheets> <options as JSON>`."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent


def import_without_application(program: str) -> ModuleType:
    """Import a program by its full name without running app/__init__.py, which would take half a second."""
    for name, path in (("app", HERE.parents[1]), ("app.sheets", HERE.parent)):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    # A module here must not shadow a top-level module that a library imports.
    sys.path.remove(str(HERE))
    return import_module(f"app.sheets.{program}")


if __name__ == "__main__":
    program = import_without_application(sys.argv[1])
    sys.exit(import_module("app.sheets.sandbox.process").main(program.run, sys.argv[2]))
