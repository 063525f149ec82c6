"""The documents agree with each other and with the code: links, the index of decisions, settings, paths."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "console" / "README.md"])
CODE = sorted(
    path
    for folder in ("app", "bench", "migrations", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(target)
    assert not broken


@each_document
def test_paths_of_the_repository_exist(document: Path) -> None:
    """A decision that is superseded may name what is gone."""
    text = document.read_text()
    if "superseded" in text.split("##")[0]:
        return
    # Racks and shelves are the examples of CONTRIBUTING.md.
    named = {
        name for name in re.findall(r"`((?:app|bench|docs|migrations|tests)/[\w/.]+)`", text) if "rack" not in name
    }
    assert not {name for name in named if not (ROOT / name).exists()}


@each_document
def test_imports_of_examples_are_right(document: Path) -> None:
    """The name is defined in the module that the example imports it from, or in its `__all__`."""
    imports = re.findall(r"^from ((?:app|tests|migrations)[\w.]*) import (.+)$", document.read_text(), re.MULTILINE)
    named = [(module, name) for module, names in imports if "racks" not in module + names for name in names.split(", ")]
    assert [each for each in named if not defines(*each)] == []


def defines(module: str, name: str) -> bool:
    path = ROOT / module.replace(".", "/")
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    return re.search(rf'^(class|def) {name}\b|^{name}\b.*=|"{name}",', source, re.MULTILINE) is not None


def test_each_decision_is_in_the_index_once() -> None:
    listed = re.findall(r"^- \[(\d{4})\]\((\1-[\w-]+\.md)\) (.+)$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    pages = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert sorted(name for _, name, _ in listed) == pages
    numbers = [name[:4] for name in pages]
    assert len(numbers) == len(set(numbers)), "Two decisions have the same number."


def test_decisions_that_the_code_names_exist() -> None:
    index = (DECISIONS / "README.md").read_text()
    named = {
        number
        for path in CODE
        for number in re.findall(r"\b[Dd]ecisions?[ /](\d{4})\b", path.read_text(encoding="utf-8"))
    }
    assert not {number for number in named if number not in index}


def test_a_decision_says_what_and_why() -> None:
    parts = ("Status: ", "Topic: ", "## Context", "## Decision", "## Consequences", "## Alternatives")
    incomplete = {
        page.name: missing
        for page in DECISIONS.glob("0*.md")
        if (missing := [part for part in parts if part not in page.read_text()])
    }
    assert not incomplete


def prose(document: Path) -> str:
    """The text without its blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
