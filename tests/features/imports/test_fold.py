"""Rows find their objects whatever the case, the width and the Unicode form of their names, in any script."""

import pytest

from tests.client import Client
from tests.features.conftest import Upload, apply, errors_of

NAMES = ("İstanbul", "ΘΗΣΕΑΣ", "ΟΔΟΣ", "ＳＶ－０１", "Straße", "Café", "Ёлка")
OTHERWISE = ("istanbul", "θησεας", "οδοσ", "sv-01", "STRAßE", "cafe\u0301", "ёЛКА")


def sheet(*names: str) -> list[tuple[str, ...]]:
    return [("Name",), *((name,) for name in names)]


@pytest.mark.parametrize("again", [NAMES, OTHERWISE])
def test_the_second_import_changes_nothing(admin: Client, upload: Upload, again: tuple[str, ...]) -> None:
    apply(admin, upload(admin, Datacenters=sheet(*NAMES)))
    second = upload(admin, Datacenters=sheet(*again))
    (counts,) = second["sheets"]
    assert (counts["create"], counts["error"]) == (0, 0)
    assert counts["unchanged"] + counts["update"] == len(NAMES)
    if again == NAMES:
        assert counts["unchanged"] == len(NAMES)


@pytest.mark.parametrize(("name", "other"), list(zip(NAMES, OTHERWISE, strict=True)))
def test_two_rows_of_one_name_are_one_object(admin: Client, upload: Upload, name: str, other: str) -> None:
    job = upload(admin, Environments=[("Name", "Description"), (name, "one"), (other, "another")])
    ((_, row, _, rule),) = errors_of(admin, job)
    assert (row, rule) == (3, "duplicate")


def test_references_in_another_case_find_their_objects(admin: Client, upload: Upload) -> None:
    form = {"apply": "true"}
    names = [("Name", "Datacenter", "OS"), *((name, name, "x") for name in NAMES)]
    first = upload(admin, form=form, Datacenters=sheet(*NAMES), Servers=names)
    assert first["status"] == "applied"
    again = upload(admin, form=form, Datacenters=sheet(*NAMES), Servers=names)
    assert [(counts["create"], counts["update"], counts["error"]) for counts in again["sheets"]] == [(0, 0, 0)] * 2
    others = [("Name", "Datacenter", "OS"), *((name, name, "y") for name in OTHERWISE)]
    changed = upload(admin, form=form, Servers=others)
    assert (changed["status"], changed["sheets"][0]["update"]) == ("applied", len(NAMES))
