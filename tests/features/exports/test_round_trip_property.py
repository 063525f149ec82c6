"""Property: an untouched export changes nothing, as a workbook or as text, whatever the texts are."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import IMPORTABLE
from app.core.db.rules import unique_rules
from app.resource.fields import Kind
from tests.client import Client
from tests.factories import Make, writable_fields
from tests.features.conftest import Examples, Upload, rows_of
from tests.spread import any_database

PIECES = (
    "=", "+", "-", "@", "'", "''", '"', "<clear>", "TRUE", "false", "1.50", "007", "42", "1e5", "1.23457E+15",
    "65.536", "2027-01-02", "03/04/2027", "#N/A", "#FORMULA!", "{{ x }}", "n/a", "none", "无", "[", "]", "{", ",", ";",
    "；", "\t", "\n", "a b", "Total", "合计", "Note: ", "备用", "Größe", "\uff10", "é", "e\u0301", "\u200b", "😀",
    "_x000D_", "\\", "sep=;", "<html>", "attributes.",
)  # fmt: skip
"""What spreadsheets, delimited text or imports read as something else than text."""
TEXTS = st.one_of(st.sampled_from(PIECES), st.lists(st.sampled_from(PIECES), min_size=2, max_size=3).map("".join))
NUMBERS = itertools.count(1)


def _is_visible(text: str) -> bool:
    return bool(text.strip("\t\n \u200b"))


@st.composite
def hostile_values(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Values of the fields of a resource that take any text; unique ones have a number at their end."""
    resource = IMPORTABLE[name]
    unique = {column for columns, _ in unique_rules(resource.model.__table__) for column in columns}
    values: dict[str, Any] = {}
    for field in writable_fields(resource).values():
        if field.kind is Kind.TEXT and field.check is None:
            text = draw(TEXTS)
            is_key = field.name in unique or field.name == resource.model.label
            values[field.name] = f"{text} {next(NUMBERS)}" if is_key else text
        elif field.kind is Kind.LIST:
            values[field.name] = draw(st.lists(TEXTS.filter(_is_visible), max_size=3, unique=True))
        elif field.kind is Kind.ATTRIBUTES:
            attribute_values = st.one_of(
                TEXTS, st.integers(-(10**14), 10**14), st.booleans(), st.floats(-1e6, 1e6, width=32)
            )
            names = st.sampled_from(["a", "B c", "名", "id", "x.y"])
            values[field.name] = draw(st.dictionaries(names, attribute_values, max_size=4))
    return values


@any_database
@pytest.mark.parametrize("name", IMPORTABLE)
def test_an_untouched_export_of_hostile_texts_changes_nothing(
    name: str, admin: Client, make: Make, upload: Upload, examples: Examples
) -> None:
    resource = IMPORTABLE[name]

    @examples(3)
    @given(objects=st.lists(hostile_values(name), min_size=4, max_size=6))
    def unchanged(objects: list[dict[str, Any]]) -> None:
        bodies = [make.body(resource, **values) for values in objects]
        created = [admin.call("POST", resource.path, expect=201, json=body)["data"]["id"] for body in bodies]
        for kind in ("xlsx", "csv"):
            content = admin.send("GET", f"{resource.path}/export?format={kind}").data
            import_ = upload(admin, content=content, filename=f"{name}.{kind}")
            rows = rows_of(admin, import_)
            wrong = [(row["changes"], row["errors"]) for row in rows if row["action"] != "unchanged"]
            assert (wrong, import_["problem"]) == ([], None), (kind, import_["sheets"])
            assert import_["sheets"][0]["unchanged"] == admin.call("GET", resource.path)["pagination"]["total"]
        items = {"mode": "atomic", "items": [{"id": number} for number in created]}
        admin.call("DELETE", f"{resource.path}/bulk", json=items)

    unchanged()
