"""Every block of the documents is executed by a test, or is checked as far as that is possible without executing it."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
import yaml
from flask import Flask
from flask.cli import FlaskGroup, ScriptInfo
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

import config
from app.core.db.endings import after_commit
from app.core.db.unit_of_work import db, reading, writing
from app.environments.models import Environment
from app.environments.service import add_first_environments
from tests.backends import on_sqlite
from tests.documents import test_api_pages, test_containers, test_contributing, test_debian, test_operations_pages
from tests.documents.blocks import ALL, PAGES, Block

EXECUTED = {
    *test_api_pages.PAGES,
    *test_contributing.PAGES,
    *(f"docs/{page}.md" for page in test_operations_pages.PAGES),
}
COMMANDS = [block for block in ALL if block.language == "sh"]
TOP = "app|bench|console|deploy|docs|migrations|samples|tests"
OTHERS = {"ARGS", "BENCH", "REQUIRE_SERVICES", "MAILTO", "PGPASSWORD"}
"""Variables of `make`, of the tests, of cron and of PostgreSQL's programs."""
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")

each_block = pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.place)


def test_each_page_with_commands_is_executed() -> None:
    assert {block.page for block in COMMANDS if not block.not_run and not block.on} == EXECUTED
    assert {(block.on, block.page) for block in COMMANDS if block.on} == {
        *(("debian", page) for page in test_debian.PAGES),
        ("standby", test_debian.STANDBY),
        # By tests/features/assets/test_object_store.py, which has a store.
        ("store", "docs/configuring.md"),
    }
    assert {block.not_run for block in COMMANDS if block.not_run} == test_containers.KINDS


@pytest.mark.parametrize("block", [block for block in ALL if block.language != "sh"], ids=lambda block: block.place)
def test_data_is_well_formed(block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.text)
        case "yaml":
            yaml.safe_load(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "python":
            # Those are executed: here below, and by test_contributing.py.
            assert block.page in {"CONTRIBUTING.md", "docs/architecture.md"}
        case "sql":
            # Executed by tests/core/test_mariadb_privileges.py.
            assert block.page == "docs/databases.md"
        case language:
            assert language in {"mermaid", "text"}


@on_sqlite
def test_the_example_of_transactions(app: Flask, backend: object) -> None:
    """With the functions that the page leaves to its reader."""
    (example,) = [block for block in ALL if block.page == "docs/architecture.md" and block.language == "python"]
    called: list[Any] = []
    known = {
        "reading": reading,
        "writing": writing,
        "after_commit": after_commit,
        "service_id": 7,
        **{name: lambda value: called.append(value) or "found" for name in ("load_target", "check_health", "wake")},
        "store_result": lambda _: add_first_environments(),
    }
    with app.app_context():
        exec(example.text, known)
        assert called[:2] == [7, "found"]
        assert list(called[2]) == ["checks"]
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Environment)) == 3


@each_block
def test_commands_are_well_formed(block: Block) -> None:
    assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0


@each_block
def test_files_that_commands_name_exist(block: Block) -> None:
    named = re.findall(rf"(?<![\w/.$-])(?:/opt/itam/)?((?:{TOP})/[\w/.-]*[\w/]|[\w-]+\.(?:txt|yaml|toml))", block.text)
    created = re.findall(r"> ?(\S+)", block.text)
    assert not [
        name for name in named if not (config.ROOT / name).exists() and name not in created and "rack" not in name
    ]


@each_block
def test_targets_that_commands_name_exist(block: Block) -> None:
    targets = re.findall(r"^([a-z-]+):", (config.ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", re.sub("#.*", "", block.text))) <= set(targets)


@each_block
@on_sqlite
def test_flask_commands_exist_with_their_options(migrated_app: Flask, block: Block) -> None:
    script = ScriptInfo(create_app=lambda: migrated_app)
    for words in flask_commands(block.text):
        command: click.Command = FlaskGroup()
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in [name for option in command.params for name in option.opts], words
            elif isinstance(command, click.Group):
                # Flask pushes an application context, which this one pops at its end.
                with click.Context(command, obj=script) as context:
                    subcommand = command.get_command(context, word)
                assert subcommand is not None, words
                command = subcommand


def flask_commands(text: str) -> Iterator[list[str]]:
    """The words after `flask`; the values of options are left out."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for match in re.finditer(r"(?:^|[ /])flask ([^#|&;>)'$]+)", re.sub(r"--app \S+ ", "", line)):
            yield match[1].split()


@each_block
def test_settings_that_commands_set_exist(block: Block) -> None:
    """A variable is a setting, one of the shell that the commands use, or one of compose.yaml."""
    known = (config.ROOT / "compose.yaml").read_text() + (config.ROOT / ".env.example").read_text()
    named = set(re.findall(r"(?<![/\w])([A-Z][A-Z_]+)=", block.text)) - OTHERS
    unknown = {name for name in named if not re.search(rf"^{name}=|\${{{name}:", known, re.MULTILINE)}
    files = {f"{secret}_FILE" for secret in config.HIDDEN}
    assert not {name for name in unknown - files if f"${name}" not in block.text}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(config.ROOT)))
@on_sqlite
def test_addresses_that_the_pages_name_exist(migrated_app: Flask, page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    adapter = migrated_app.url_map.bind("localhost")
    missing = []
    for methods, path in addresses(page.read_text(encoding="utf-8")):
        for method in methods or ("GET",):
            try:
                adapter.match(path, method=method)
            except MethodNotAllowed:
                # Where the text names no method, the path is enough.
                missing += [(method, path)] if methods else []
            except (NotFound, RequestRedirect):
                missing.append((method, path))
    assert not missing


def addresses(text: str) -> Iterator[tuple[list[str], str]]:
    """The methods and paths that a page names, with an example for each part that varies; the version is left out."""
    pattern = rf"((?:(?:{'|'.join(VERBS)})(?:, | and |\|)?)*) ?(?:\$api|(?<![\w.}}])/api)(?:/v1)?+(/[^\s`\"')|,]+)"
    for match in re.finditer(pattern, text):
        path = match[2].partition("?")[0].rstrip(".:;*")
        if "rack" in path:
            continue
        path = re.sub(r"<(?:plural|resource)>", "servers", path)
        yield re.findall("[A-Z]+", match[1]), "/api" + re.sub(r"<[^>]*>|\$\w+|…", "1", path)
