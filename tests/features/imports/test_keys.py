"""How rows of assets and servers find their objects, and what is only doubtful."""

from app.assets.models import Asset
from app.datacenters.models import Datacenter
from app.gpus.models import Gpu
from app.servers.models import Server
from tests.client import Body, Client
from tests.factories import Make
from tests.features.conftest import Upload, apply, errors_of, rows_of

MONITOR = {"name": "Dell U2723", "asset_type": "monitor"}


def warnings_of(client: Client, import_: Body) -> dict[int, list[tuple[str | None, str]]]:
    """(cell, rule) of the warnings of each row that has any, by row number."""
    rows = rows_of(client, import_)
    return {row["row"]: [(each["cell"], each["rule"]) for each in row["warnings"]] for row in rows if row["warnings"]}


def test_assets_of_one_name(user: Client) -> None:
    tagged = [{**MONITOR, "asset_tag": f"M-{number}"} for number in range(3)]
    answer = user.call("POST", "/api/assets/bulk", json={"items": [*tagged, MONITOR]}, expect=201)
    assert len({item["id"] for item in answer["data"]["results"]}) == 4
    assert user.call("POST", "/api/assets", json=MONITOR, expect=201)
    named = user.call("GET", "/api/assets", query_string={"name": "dell u2723"})
    assert named["pagination"]["total"] == 5


def test_rows_of_assets_match_by_tag_then_by_serial_number(user: Client, make: Make, upload: Upload) -> None:
    owner = {"created_by_id": user.user.id}
    tagged = make(Asset, name="Screen", asset_tag="M-1", **owner)
    numbered = make(Asset, name="Screen", serial_number="sn-2", **owner)
    both = make(Asset, name="Screen", asset_tag="M-3", serial_number="sn-3", **owner)
    rows = [
        ("Name", "Type", "Asset tag", "Serial number", "Model"),
        ("Screen", "monitor", "m-1", "new", "A"),
        ("Screen", "monitor", None, "SN-2", "B"),
        ("Screen", "monitor", "M-3", None, "C"),
        ("Screen", "monitor", "M-4", "sn-4", "D"),
    ]
    import_ = upload(user, Assets=rows)
    assert [row["action"] for row in rows_of(user, import_)] == ["update", "update", "update", "create"]
    apply(user, import_)
    models = {
        asset.id: user.call("GET", f"/api/assets/{asset.id}")["data"]["model"] for asset in (tagged, numbered, both)
    }
    assert list(models.values()) == ["A", "B", "C"]


def test_tag_and_serial_number_of_two_assets_are_an_error(user: Client, make: Make, upload: Upload) -> None:
    make(Asset, asset_tag="M-1", created_by_id=user.user.id)
    make(Asset, serial_number="sn-2", created_by_id=user.user.id)
    rows = [("Name", "Type", "Asset tag", "Serial number"), ("Screen", "monitor", "M-1", "sn-2")]
    assert errors_of(user, upload(user, Assets=rows)) == [("Assets", 2, "D2", "taken")]


def test_a_row_without_a_key_is_a_new_asset_and_says_so(user: Client, upload: Upload) -> None:
    rows = [("Name", "Type", "Asset tag"), ("Screen", "monitor", None), ("Screen", "monitor", None)]
    first = upload(user, Assets=rows)
    assert warnings_of(user, first) == {}
    apply(user, first)
    again = upload(user, Assets=[*rows, ("Screen", "monitor", "M-1")])
    assert [row["action"] for row in rows_of(user, again)] == ["create"] * 3
    assert warnings_of(user, again) == {2: [("A2", "without_key")], 3: [("A3", "without_key")]}
    matched = upload(user, form={"match": "name"}, Assets=rows[:2])
    assert errors_of(user, matched) == [("Assets", 2, "A2", "ambiguous")]


def test_a_row_without_a_key_finds_the_only_asset_of_its_name(user: Client, make: Make, upload: Upload) -> None:
    """In its datacenter, and where no other row has it: the same file again changes nothing."""
    for site in ("SH-1", "SH-2"):
        make(Datacenter, name=site)
    rows = [("Name", "Type", "Datacenter"), ("Patch panel", "network", "SH-1"), ("Patch panel", "network", "SH-2")]
    apply(user, upload(user, Assets=rows))
    again = upload(user, Assets=rows)
    assert [row["action"] for row in rows_of(user, again)] == ["unchanged", "unchanged"]
    assert warnings_of(user, again) == {}
    # A key that nobody has is another object.
    tagged = [(*rows[0], "Asset tag"), (*rows[1], "M-1")]
    assert [row["action"] for row in rows_of(user, upload(user, Assets=tagged))] == ["create"]


def test_a_gpu_in_slot_0_has_a_key(user: Client, make: Make, upload: Upload) -> None:
    server = make(Server, name="n1", created_by_id=user.user.id)
    make(Gpu, model="H100", server_id=server.id, slot=1)
    rows = [("Model", "Server", "Slot"), ("H100", "n1", 0), ("H100", "n1", None)]
    assert warnings_of(user, upload(user, GPUs=rows)) == {3: [("A3", "without_key")]}


def test_two_servers_in_one_rack_unit_are_a_warning(user: Client, make: Make, upload: Upload) -> None:
    site = make(Datacenter, name="SH-1")
    owner = {"created_by_id": user.user.id}
    make(Server, name="stored", datacenter_id=site.id, rack="R1", rack_unit=3, **owner)
    make(Server, name="elsewhere", rack="R1", rack_unit=3, **owner)
    rows = [
        ("Name", "Datacenter", "Rack", "Rack unit"),
        ("a", "SH-1", "r1", 3),
        ("b", "SH-1", "R1", 4),
        ("c", "SH-1", "Ｒ1", 4),
        ("d", "SH-1", "R1", None),
        ("e", "SH-1", "R1", None),
        ("f", None, "R2", 3),
    ]
    import_ = upload(user, Servers=rows)
    assert warnings_of(user, import_) == {2: [("D2", "shared")], 4: [("D4", "shared")]}
    assert apply(user, import_)["status"] == "applied"
    # What is stored already is not warned about again.
    assert warnings_of(user, upload(user, Servers=rows[:2])) == {}


def test_a_rack_unit_that_the_file_itself_frees_is_not_shared(user: Client, make: Make, upload: Upload) -> None:
    for name, unit in (("a", 1), ("b", 2)):
        make(Server, name=name, rack="R1", rack_unit=unit, created_by_id=user.user.id)
    rows = [("Name", "Rack", "Rack unit"), ("a", "R1", 2), ("b", "R1", 1), ("c", "R1", 3)]
    assert warnings_of(user, upload(user, Servers=rows)) == {}


def test_a_renamed_server_is_recognised_by_its_serial_number(user: Client, make: Make, upload: Upload) -> None:
    site = make(Datacenter, name="SH-1")
    for name, serial in (("a", "S1"), ("b", "S2"), ("c", "chassis"), ("d", "chassis")):
        make(Server, name=name, serial_number=serial, datacenter_id=site.id, created_by_id=user.user.id)
    rows = [
        ("Name", "Datacenter", "Serial number"),
        ("renamed", "SH-1", "S1"),
        ("b", "SH-1", "S2"),
        # Two have this number: it tells nothing.
        ("c", "SH-1", "chassis"),
        ("e", "SH-1", "chassis"),
    ]
    planned = rows_of(user, upload(user, Servers=rows))
    assert [row["action"] for row in planned] == ["update", "unchanged", "unchanged", "create"]
    assert planned[0]["changes"] == {"name": {"old": "a", "new": "renamed"}}


def test_a_name_does_not_count_where_a_tag_or_serial_number_differs(user: Client, make: Make, upload: Upload) -> None:
    site = make(Datacenter, name="SH-1")
    stored = {"asset_tag": "T1", "serial_number": "S1", "datacenter_id": site.id, "created_by_id": user.user.id}
    server = make(Server, name="a", **stored)
    make(Gpu, server_id=server.id, slot=0, uuid="GPU-1", created_by_id=user.user.id)
    rows = [
        ("Name", "Datacenter", "Asset tag", "Serial number"),
        ("a", "SH-1", "T9", None),
        ("A", "SH-1", None, "S9"),
        # No second one of this name can be in SH-1, but there may be one elsewhere.
        ("a", None, "T8", None),
    ]
    gpus = upload(user, GPUs=[("UUID", "Server", "Slot", "Model"), ("GPU-9", "a", 0, "H100")])
    assert errors_of(user, gpus) == [("GPUs", 2, "C2", "contradiction")]
    import_ = upload(user, Servers=rows)
    assert errors_of(user, import_) == [("Servers", row, f"A{row}", "contradiction") for row in (2, 3)]
    planned = rows_of(user, import_)
    assert planned[2]["action"] == "create"
    message = planned[0]["errors"][0]["message"]
    assert message.startswith("The server of this Datacenter and Name has the Asset tag T1, and this row T9.")
    matched = upload(user, form={"match": "name"}, Servers=rows[:2])
    assert [row["action"] for row in rows_of(user, matched)] == ["update"]
