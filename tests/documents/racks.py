"""The racks of CONTRIBUTING.md, added to a copy of the application as the guide says."""

import shutil
from pathlib import Path

import config
from tests.documents.blocks import ALL, Block

COPIED = ("app", "migrations", "config.py", "config_parsers.py", "run.py")
LAST_PACKAGE = '    "tasks",\n'


def section(title: str) -> list[Block]:
    """The blocks of Python below a heading of the guide."""
    guide = (config.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    start = guide.index(f"\n## {title}\n")
    end = guide.find("\n## ", start + 1)
    first, last = (guide.count("\n", 0, place) + 1 for place in (start, end))
    python_blocks = [block for block in ALL if block.page == "CONTRIBUTING.md" and block.language == "python"]
    return [block for block in python_blocks if first < block.line < last]


def copy_application(root: Path) -> None:
    for part in COPIED:
        if (config.ROOT / part).is_dir():
            shutil.copytree(config.ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(config.ROOT / part, root / part)


def add_racks(root: Path) -> None:
    """Add the folder of the resource, and its line in the catalog."""
    names = ("__init__.py", "models.py", "schemas.py", "routes.py")
    (root / "app/racks").mkdir()
    for name, block in zip(names, section("Adding a resource"), strict=True):
        (root / "app/racks" / name).write_text(block.text, encoding="utf-8")
    insert_after(root / "app/catalog.py", LAST_PACKAGE, '    "racks",\n')


def add_field(root: Path) -> None:
    (block,) = section("Adding a field")
    insert_after(root / "app/racks/models.py", '"描述", "备注", type_=sa.Text)\n', block.text)


def add_action(root: Path) -> None:
    """Add a view with its rules, its row in the table of who may what, and its test."""
    view, service, row, test = (block.text for block in section("Adding an action"))
    routes = root / "app/racks/routes.py"
    routes.write_text(merged(routes.read_text(encoding="utf-8"), view), encoding="utf-8")
    (root / "app/racks/service.py").write_text(service, encoding="utf-8")
    actions = root / "app/core/audit/actions.py"
    insert_before(actions, '    "release": Term("Released", "释放"),\n', '    "retire": Term("Retired", "停用"),\n')
    add_row(root / "tests/contract/test_access_table.py", row)
    (root / "tests/features/racks").mkdir()
    (root / "tests/features/racks/test_retiring.py").write_text(test, encoding="utf-8")


def add_row(table: Path, block: str) -> None:
    imported, in_table, function, in_requests = (part.strip("\n") + "\n" for part in block.split("\n\n"))
    assert in_table.endswith("# in table()\n")
    assert in_requests.endswith("# in REQUESTS\n")
    insert_before(table, "from app.services.models import Service\n", imported)
    insert_after(table, '        ("POST", "/api/gpus/{gpu_id}/extend"): CHANGE,\n', in_table)
    insert_before(table, "def _asset(", f"{function}\n\n")
    insert_after(table, "REQUESTS: dict[tuple[str, str], Build] = {\n", in_requests)


def add_choice(root: Path, revision: Path) -> None:
    """Add a member to the enumeration, and the functions of its migration to an empty one."""
    member, migration = (block.text for block in section("Adding an enumeration value"))
    insert_after(root / "app/racks/models.py", '    RETIRED = "retired", "报废"\n', member)
    header = revision.read_text(encoding="utf-8").partition("\ndef upgrade")[0]
    imports, _, functions = migration.partition("\ndef upgrade")
    revision.write_text(f"{header}\n{imports}\ndef upgrade{functions}", encoding="utf-8")


def merged(module: str, addition: str) -> str:
    """The module with what the addition imports and defines; an import of the addition replaces that of the module."""
    imports: dict[str, str] = {}
    rest = []
    for text in (module, addition):
        lines = text.splitlines(keepends=True)
        imports |= {line.split()[1]: line for line in lines if line.startswith("from ")}
        rest.append("".join(line for line in lines if not line.startswith("from ")))
    docstring, _, body = rest[0].partition("\n")
    return "\n".join([docstring, "".join(imports.values()), body, rest[1]])


def insert_after(path: Path, line: str, addition: str) -> None:
    replace(path, line, line + addition)


def insert_before(path: Path, line: str, addition: str) -> None:
    replace(path, line, addition + line)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")
