"""The rules of the code base itself: sizes, wiring, and how much of the code one request runs through."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import config

APP = config.ROOT / "app"
MODULES = sorted(APP.rglob("*.py"))
MODULE_LINES = 300
PACKAGE_MODULES = 15
XLSX_LIBRARIES = 3
KNOWN_XLSX_LIBRARIES = {
    *("openpyxl", "pyexcelerate", "pylightxl", "python-calamine", "pyxlsb"),
    *("rustpy-xlsxwriter", "xlrd", "xlsx2csv", "xlsxwriter", "xlwt"),
}


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


def test_no_state_is_kept_in_the_session() -> None:
    assert [name_of(path) for path, node in nodes() if is_session_info(node)] == []


def test_the_configuration_imports_nothing_of_the_application() -> None:
    program = "import sys, config; print([name for name in sys.modules if name.split('.')[0] == 'app'])"
    assert run(program) == "[]\n"


def test_few_libraries_read_and_write_xlsx() -> None:
    lines = (config.ROOT / "requirements.txt").read_text().lower().splitlines()
    required = {re.split(r"[\[=<>~! ;]", line)[0] for line in lines}
    assert len(required & KNOWN_XLSX_LIBRARIES) <= XLSX_LIBRARIES


def is_name(node: ast.AST, name: str) -> bool:
    return getattr(node, "id", None) == name or getattr(node, "attr", None) == name


def is_session_info(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "info" and is_name(node.value, "session")


def run(program: str) -> str:
    """What a Python process of its own prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=config.ROOT, check=True, capture_output=True, text=True).stdout
