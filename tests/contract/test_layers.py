"""Nothing is imported against the foreign keys, also where no layer is declared for a folder yet."""

import tomllib
from itertools import combinations
from pathlib import Path

import grimp
import pytest

from app.catalog import PACKAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("app", cache_dir=None)


def test_resources_know_only_those_before_them(imports: grimp.ImportGraph) -> None:
    for earlier, later in combinations(PACKAGES, 2):
        chain = imports.find_shortest_chain(f"app.{earlier}", f"app.{later}", as_packages=True)
        assert chain is None, f"{earlier} stands before {later} in the catalog."


def test_every_package_has_its_layer(imports: grimp.ImportGraph) -> None:
    """The declared ones do not import upwards; a resource without one has its place in the catalog."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    declared = {name.strip() for line in lines for name in line.split("|")}
    there = {name.removeprefix("app.") for name in imports.find_children("app")}
    assert declared <= there <= declared | set(PACKAGES)
