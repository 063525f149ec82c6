"""The rules of the code base itself: sizes, wiring, and how much of the code one request runs through."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flask import Flask

import config
from app.core.audit.actions import ACTIONS
from app.core.db.unit_of_work import db

APP = config.ROOT / "app"
MODULES = sorted(APP.rglob("*.py"))
MODULE_LINES = 300
PACKAGE_MODULES = 15
LISTENERS = 10
XLSX_LIBRARIES = 3
KNOWN_XLSX_LIBRARIES = {
    *("openpyxl", "pyexcelerate", "pylightxl", "python-calamine", "pyxlsb"),
    *("rustpy-xlsxwriter", "xlrd", "xlsx2csv", "xlsxwriter", "xlwt"),
}
IMPORT_CHECK = """
import importlib, sys
from collections.abc import Mapping, MutableSequence, MutableSet
from pathlib import Path

def containers():
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "app":
            continue
        for attribute, value in list(vars(module).items()):
            if attribute.startswith("__") or getattr(value, "__module__", None) not in (None, name):
                continue
            yield f"{name}.{attribute}", value
            if type(value).__module__ == name:
                for member in (*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())):
                    yield f"{name}.{attribute}.{member}", getattr(value, member, None)

def sizes():
    kinds = (Mapping, MutableSequence, MutableSet)
    return {name: len(value) for name, value in containers() if isinstance(value, kinds)}

before = sizes()
for path in sorted(Path("app").rglob("*.py")):
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(module)
    after = sizes()
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            print(f"{module} changes {name}")
    before = after
"""


def name_of(path: Path) -> str:
    return str(path.relative_to(config.ROOT))


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the syntax trees of the application."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_a_module_fits_on_a_few_screens() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (*MODULES, config.ROOT / "config.py")}
    assert {name_of(path): length for path, length in lengths.items() if length > MODULE_LINES} == {}


def test_a_package_has_shelves_before_it_is_crowded() -> None:
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {name_of(package): count for package, count in counts.items() if count > PACKAGE_MODULES} == {}


def test_listeners_of_the_database_are_attached_in_one_module() -> None:
    attaching = {
        name_of(path)
        for path, node in nodes()
        if (isinstance(node, ast.Attribute) and node.attr in ("listen", "listens_for") and is_name(node.value, "event"))
        or (isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy.event")
    }
    assert attaching == {"app/core/db/listeners.py"}


def test_listeners_of_the_database_are_few(app: Flask) -> None:
    with app.app_context():
        heard: Sequence[Any] = (db.engine, db.engine.pool, db.engine.dialect, db.session())
        attached = [
            (event, listener.__qualname__)
            for each in heard
            for event in each.dispatch._event_names
            for listener in getattr(each.dispatch, event)
            if listener.__module__.split(".")[0] == "app"
        ]
    assert ("before_flush", "stamp_changes") in attached
    assert len(attached) <= LISTENERS, attached


def test_no_state_is_kept_in_the_session() -> None:
    assert [name_of(path) for path, node in nodes() if is_session_info(node)] == []


def test_the_state_of_a_request_is_one_object() -> None:
    proxys_own = {"_get_current_object"}
    assert len({name for _, node in nodes() for name in attributes_of_g(node)} - proxys_own) <= 1


def test_the_configuration_imports_nothing_of_the_application() -> None:
    program = "import sys, config; print([name for name in sys.modules if name.split('.')[0] == 'app'])"
    assert run(program) == "[]\n"


def test_no_registry_is_filled_by_importing_a_module() -> None:
    """A module that is imported calls nothing for its effect, and changes no container of another module."""
    calls = [
        f"{name_of(path)}:{statement.lineno}"
        for path in MODULES
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    assert calls == []
    assert run(IMPORT_CHECK) == ""


def test_few_libraries_read_and_write_xlsx() -> None:
    lines = (config.ROOT / "requirements.txt").read_text().lower().splitlines()
    required = {re.split(r"[\[=<>~! ;]", line)[0] for line in lines}
    assert len(required & KNOWN_XLSX_LIBRARIES) <= XLSX_LIBRARIES


def is_name(node: ast.AST, name: str) -> bool:
    return getattr(node, "id", None) == name or getattr(node, "attr", None) == name


def is_session_info(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "info" and is_name(node.value, "session")


def attributes_of_g(node: ast.AST) -> Iterator[str]:
    """The names that an expression reads or writes on `flask.g`."""
    if isinstance(node, ast.Attribute) and is_name(node.value, "g") and node.attr not in ("get", "pop", "setdefault"):
        yield node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_name(node.func.value, "g"):
        yield str(getattr(node.args[0], "value", "?"))
    elif isinstance(node, ast.Compare) and is_name(node.comparators[0], "g"):
        yield str(getattr(node.left, "value", "?"))


def run(program: str) -> str:
    """What a Python process of its own prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=config.ROOT, check=True, capture_output=True, text=True).stdout


def test_the_actions_of_records_are_declared() -> None:
    """A query of the audit log for any other is refused as misspelt."""
    used = set()
    for _, node in nodes():
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[:1] if called in ("record", "entry", "audited") else []
        actions = [*first, *(keyword.value for keyword in node.keywords if keyword.arg == "action")]
        used |= {item.value for item in actions if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    assert used <= set(ACTIONS)
    assert {"login", "assign", "revert"} <= used
