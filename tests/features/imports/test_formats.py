"""Known formats: exports of other programs are recognised by their titles, and mapped as files of data say."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.core.jobs.runner import runner_of
from app.datacenters.models import Datacenter
from app.imports.formats import service as formats
from app.imports.mappings.service import known_formats
from tests.client import Body, Client
from tests.conftest import BuildApp
from tests.factories import Make
from tests.features.conftest import Upload
from tests.spread import any_database

pytestmark = any_database

NETBOX = """Name,Status,Tenant,Site,Location,Rack,Role,Manufacturer,Type,IP Address,Position,Serial number,Asset tag,ID
web-1,Active,Shop,North,Row A,R1,Web server,Dell,PowerEdge R640,10.4.0.7/24,12.0,SN-1,TAG-1,41
web-2,Decommissioning,Shop,South,Row B,R2,Web server,HPE,DL380,10.4.1.7/24,3.0,SN-2,,42
"""
SNIPE_IT = """ID,Asset Name,Asset Tag,Serial,Model,Category,Status,Checked Out To,Location,Purchase Date,Cost,Warranty
1,,T-1,S-1,Dell P2419H,Displays,Ready to Deploy,,Oslo,2026-02-03,"1,299.50",36 months
2,,T-2,S-2,Dell P2419H,Displays,Ready to Deploy (Deployed),Ida Berg,Oslo,2026-02-03,"1,299.50",36 months
3,Ida's laptop,T-3,S-3,ThinkPad T14,Laptops,Out for Repair,,Bergen,,,
"""
NVIDIA_SMI = """index, name, uuid, serial, memory.total [MiB], driver_version, utilization.gpu [%]
0, NVIDIA A100-SXM4-40GB, GPU-12345678-1234-1234-1234-123456780000, 1320221000001, 40960 MiB, 550.54.15, 97 %
1, NVIDIA A100-SXM4-40GB, GPU-12345678-1234-1234-1234-123456780001, [N/A], 40960 MiB, 550.54.15, 3 %
"""
RVTOOLS = """VM,Powerstate,DNS Name,CPUs,Memory,NICs,Disks,Provisioned MB,Datacenter,Cluster,Host,Primary IP Address
app59,poweredOff,,2,"16,384",1,2,"206,057",DC 1,CL1,esx01.example.com,
app60,poweredOn,app60.example.com,2,"4,096",1,2,"65,536",DC 1,CL1,esx01.example.com,10.9.0.60
"""
GLPI = """"Name";"Status";"Manufacturers";"Serial number";"Types";"Model";"Operating System - Name";"Locations"
"pc-1";"In use";"Lenovo";"LN-1";"Notebook";"T14";"Debian";"Oslo > 2"
"pc-2";"In stock";"Lenovo";"LN-2";"";"M70";"";"Oslo > 3"
"""
DOCKER = """CONTAINER ID,IMAGE,COMMAND,CREATED,STATUS,PORTS,NAMES
3f2a9c1b77d0,nginx:1.27,"/docker-entrypoint.…",3 weeks ago,Up 3 weeks (healthy),0.0.0.0:80->80/tcp,front
77d03f2a9c1b,redis:7,"docker-entrypoint.s…",3 weeks ago,Up 2 hours (Paused),,cache
9c1b77d03f2a,job:4,"python -m job",2 days ago,Exited (137) 2 days ago,,job
"""
EC2 = """Name,Instance ID,Instance state,Instance type,Status check,Availability Zone,Public IPv4 address
bastion,i-0abc1234def567890,Running,t3.micro,2/2 checks passed,eu-north-1a,13.48.1.2
,i-0abc1234def567891,Stopped,t3.large,–,eu-north-1b,–
"""
SERVICENOW = """name,sys_class_name,serial_number,asset_tag,ip_address,os,ram,disk_space,install_status,environment
erp-1,Linux Server,SN-9,P-9,10.7.0.9,Linux Red Hat,65536,500,Installed,Test
erp-2,Windows Server,SN-8,P-8,10.7.0.8,Windows 2022,16384,250,7,Test
"""
DELL = """Service Tag,Device Model,Service Level Description,Ship Date,Start Date,End Date,Days Remaining
ABC1234,PowerEdge R640,ProSupport,2024-01-30,2024-02-01,2029-02-01,800
"""
HPE = """Serial Number,Product Number,Product Description,Start Date,End Date,Service Type
CZ12345678,P19720-B21,ProLiant DL380 Gen10,2024-02-01,2029-02-01,Foundation Care
"""


RVTOOLS_TITLES = """VM,Powerstate,Template,SRM Placeholder,Config status,DNS Name,Connection state,Guest state,
Heartbeat,Consolidation Needed,PowerOn,Suspended To Memory,Suspend time,Suspend Interval,Creation date,Change Version,
CPUs,Overall Cpu Readiness,Memory,Active Memory,NICs,Disks,Total disk capacity MiB,Fixed Passthru HotPlug,
min Required EVC Mode Key,Latency Sensitivity,Op Notification Timeout,EnableUUID,CBT,Primary IP Address,Network #1,
Network #2,Network #3,Network #4,Network #5,Network #6,Network #7,Network #8,Num Monitors,Video Ram KiB,Resource pool,
Folder ID,Folder,vApp,DAS protection,FT State,FT Role,FT Latency,FT Bandwidth,FT Sec. Latency,Vm Failover In Progress,
Provisioned MiB,In Use MiB,Unshared MiB,HA Restart Priority,HA Isolation Response,HA VM Monitoring,Cluster rule(s),
Cluster rule name(s),Boot Required,Boot delay,Boot retry delay,Boot retry enabled,Boot BIOS setup,Reboot PowerOff,
EFI Secure boot,Firmware,HW version,HW upgrade status,HW upgrade policy,HW target,Path,Log directory,
Snapshot directory,Suspend directory,Annotation,Datacenter,Cluster,Host,OS according to the configuration file,
OS according to the VMware Tools,Customization Info,Guest Detailed Data,VM ID,SMBIOS UUID,VM UUID,VI SDK Server type,
VI SDK API Version,VI SDK Server,VI SDK UUID""".replace("\n", "").split(",")


def plan(upload: Upload, client: Client, content: str, filename: str = "export.csv", **form: str) -> Body:
    return upload(client, form=form, content=content.encode(), filename=filename)


def correct(app: Flask, client: Client, import_: Body, patch: Body) -> Body:
    path = f"/api/imports/{import_['id']}"
    client.call("PATCH", path, json=patch, expect=202)
    runner_of(app).run_pending()
    corrected: Body = client.call("GET", path)["data"]
    return corrected


def objects(client: Client, resource: str) -> list[Body]:
    rows: list[Body] = client.call("GET", f"/api/{resource}?sort=id")["data"]
    return rows


def of(item: Body, *names: str) -> tuple[Any, ...]:
    return tuple(item[name]["name"] if isinstance(item[name], dict) else item[name] for name in names)


def test_netbox_devices_go_in_with_one_upload(admin: Client, upload: Upload) -> None:
    import_ = plan(upload, admin, NETBOX, apply="true")
    assert (import_["status"], import_["sheets"][1]["format"]) == ("applied", "NetBox devices")
    assert "This sheet is read as a known format: NetBox devices." in import_["sheets"][1]["notes"][0]
    first, second = objects(admin, "servers")
    expected = ("web-1", "active", "North", "R1", 12, "Dell", "PowerEdge R640", "10.4.0.7", "SN-1", "TAG-1")
    names = ("name", "status", "datacenter", "rack", "rack_unit", "manufacturer", "model", "internal_ip")
    assert of(first, *names, "serial_number", "asset_tag") == expected
    assert first["attributes"]["role"] == "Web server"
    assert (second["status"], second["server_type"]) == ("retired", "physical")
    again = plan(upload, admin, NETBOX)
    assert [sheet["unchanged"] for sheet in again["sheets"]] == [2]


def test_snipe_it_assets_go_in_with_one_upload(user: Client, upload: Upload) -> None:
    import_ = plan(upload, user, SNIPE_IT, apply="true")
    assert (import_["status"], import_["sheets"][0]["format"]) == ("applied", "Snipe-IT assets")
    assert import_["sheets"][0]["messages"] == []
    names = ("name", "asset_tag", "serial_number", "model", "asset_type", "status", "assigned_to")
    assert [of(item, *names) for item in objects(user, "assets")] == [
        ("Dell P2419H", "T-1", "S-1", "Dell P2419H", "monitor", "in_stock", None),
        ("Dell P2419H", "T-2", "S-2", "Dell P2419H", "monitor", "in_use", "Ida Berg"),
        ("Ida's laptop", "T-3", "S-3", "ThinkPad T14", "laptop", "in_repair", None),
    ]
    assert objects(user, "assets")[0]["purchase_price"] == "1299.50"
    assert plan(upload, user, SNIPE_IT)["sheets"][0]["unchanged"] == 3


def test_the_sheet_that_snipe_it_imports_goes_in_too(user: Client, upload: Upload) -> None:
    content = (
        "Company,Name,Asset Tag,Category,Supplier,Manufacturer,Location,Order Number,Model,Model Notes,Model Number,"
        "Asset Notes,Purchase Date,Purchase Cost,Checkout Type,Checked Out To: Username,Checked Out To: Email\n"
        "Berg Ltd,,T-1,Laptops,Hardware Inc,Lenovo,North,1042,ThinkPad T14,new hinge,20W0,scratched,2023-01-23,1266.13,"
        "User,ida,ida@example.org\n"
    )
    import_ = plan(upload, user, content, apply="true")
    assert (import_["status"], import_["sheets"][0]["format"]) == ("applied", "Snipe-IT assets")
    names = ("name", "asset_tag", "model", "asset_type", "assigned_to", "description", "purchase_price")
    (laptop,) = objects(user, "assets")
    assert of(laptop, *names) == ("ThinkPad T14", "T-1", "ThinkPad T14", "laptop", "ida", "scratched", "1266.13")
    attributes = {"model_number": "20W0", "model_notes": "new hinge", "company": "Berg Ltd", "order_number": 1042}
    assert attributes.items() <= laptop["attributes"].items()


def test_a_fallback_never_renames(user: Client, upload: Upload) -> None:
    plan(upload, user, SNIPE_IT, apply="true")
    (first, *_) = objects(user, "assets")
    user.call("PATCH", f"/api/assets/{first['id']}", json={"name": "Left monitor"})
    assert plan(upload, user, SNIPE_IT)["sheets"][0]["unchanged"] == 3


def test_an_nvidia_smi_list_goes_in_with_one_upload(user: Client, upload: Upload) -> None:
    user.call("POST", "/api/servers", json={"name": "gpu-1"}, expect=201)
    import_ = plan(upload, user, NVIDIA_SMI, apply="true", constants='{"server": "gpu-1"}')
    assert (import_["status"], import_["sheets"][0]["format"]) == ("applied", "nvidia-smi"), import_["sheets"]
    assert import_["settings"]["constants"] == {"server": "gpu-1"}
    names = ("model", "server", "slot", "memory_mb", "serial_number")
    assert [of(item, *names) for item in objects(user, "gpus")] == [
        ("NVIDIA A100-SXM4-40GB", "gpu-1", 0, 40960, "1320221000001"),
        ("NVIDIA A100-SXM4-40GB", "gpu-1", 1, 40960, None),
    ]
    assert objects(user, "gpus")[0]["attributes"] == {"driver_version": "550.54.15"}


def test_the_server_of_an_nvidia_smi_list_can_be_set_later_and_created(
    app: Flask, user: Client, upload: Upload
) -> None:
    import_ = plan(upload, user, NVIDIA_SMI)
    assert (import_["status"], import_["sheets"][0]["missing_fields"]) == ("invalid", ["server_id"])
    patch = {"constants": {"server": "gpu-1"}, "create_missing": ["servers"], "apply": True}
    corrected = correct(app, user, import_, patch)
    assert corrected["status"] == "applied"
    again = plan(upload, user, NVIDIA_SMI, apply="true", constants='{"server": "gpu-1"}', create_missing="servers")
    assert again["sheets"][0]["unchanged"] == 2


def test_rvtools_vinfo(admin: Client, upload: Upload) -> None:
    assert plan(upload, admin, RVTOOLS, apply="true")["status"] == "applied"
    names = ("name", "status", "hostname", "cpu_cores", "memory_gb", "disk_gb", "datacenter", "server_type")
    assert [of(item, *names) for item in objects(admin, "servers")] == [
        ("app59", "offline", None, 2, 16, 201.228, "DC 1", "virtual"),
        ("app60", "active", "app60.example.com", 2, 4, 64, "DC 1", "virtual"),
    ]


def test_glpi_computers(user: Client, upload: Upload) -> None:
    assert plan(upload, user, GLPI, apply="true")["status"] == "applied"
    names = ("name", "status", "asset_type", "manufacturer", "serial_number", "model")
    assert [of(item, *names) for item in objects(user, "assets")] == [
        ("pc-1", "in_use", "laptop", "Lenovo", "LN-1", "T14"),
        ("pc-2", "in_stock", "other", "Lenovo", "LN-2", "M70"),
    ]


def test_docker_ps(user: Client, upload: Upload) -> None:
    user.call("POST", "/api/servers", json={"name": "node-1"}, expect=201)
    assert plan(upload, user, DOCKER, apply="true", constants='{"server": "node-1"}')["status"] == "applied"
    names = ("name", "image", "status", "server")
    assert [of(item, *names) for item in objects(user, "containers")] == [
        ("front", "nginx:1.27", "running", "node-1"),
        ("cache", "redis:7", "paused", "node-1"),
        ("job", "job:4", "stopped", "node-1"),
    ]


def test_ec2_instances(admin: Client, upload: Upload) -> None:
    assert plan(upload, admin, EC2, apply="true")["status"] == "applied"
    names = ("name", "status", "model", "datacenter", "external_ip")
    assert [of(item, *names) for item in objects(admin, "servers")] == [
        ("bastion", "active", "t3.micro", "eu-north-1a", "13.48.1.2"),
        ("i-0abc1234def567891", "offline", "t3.large", "eu-north-1b", None),
    ]
    renamed = plan(upload, admin, EC2.replace("bastion", "jump"))
    assert [(sheet["update"], sheet["unchanged"]) for sheet in renamed["sheets"]] == [(1, 1)]


def test_servicenow_servers(admin: Client, upload: Upload) -> None:
    assert plan(upload, admin, SERVICENOW, apply="true")["status"] == "applied"
    names = ("name", "status", "memory_gb", "disk_gb", "environment", "serial_number", "asset_tag")
    assert [of(item, *names) for item in objects(admin, "servers")] == [
        ("erp-1", "active", 64, 500, "Test", "SN-9", "P-9"),
        ("erp-2", "retired", 16, 250, "Test", "SN-8", "P-8"),
    ]


@pytest.mark.parametrize(
    ("content", "serial", "model"), [(DELL, "ABC1234", "PowerEdge R640"), (HPE, "CZ12345678", "ProLiant DL380 Gen10")]
)
def test_warranties_go_to_the_servers_of_their_serial_numbers(
    content: str, serial: str, model: str, user: Client, upload: Upload
) -> None:
    unknown = plan(upload, user, content)
    assert unknown["sheets"][0]["error"] == 1
    user.call("POST", "/api/servers", json={"name": "erp-1", "serial_number": serial}, expect=201)
    assert plan(upload, user, content, apply="true")["status"] == "applied"
    (server,) = objects(user, "servers")
    assert (server["warranty_expires"], server["model"]) == ("2029-02-01", model)


def test_a_known_format_can_be_refused(app: Flask, admin: Client, upload: Upload) -> None:
    refused = plan(upload, admin, RVTOOLS, resource="servers", use_formats="false")
    assert (refused["sheets"][0]["format"], refused["settings"]["use_formats"]) == (None, False)
    name = refused["sheets"][0]["sheet"]
    accepted = plan(upload, admin, RVTOOLS)
    assert accepted["sheets"][1]["format"] == "RVTools vInfo"
    patch = {"sheets": {name: {"use_format": False, "resource": "servers"}}}
    for refusal in (patch, {"use_formats": False, "sheets": {name: {"resource": "servers"}}}):
        corrected = correct(app, admin, accepted, refusal)
        assert [sheet["format"] for sheet in corrected["sheets"]] == [None]
        corrected = correct(app, admin, accepted, {"use_formats": None, "sheets": {name: None}})
        assert corrected["sheets"][1]["format"] == "RVTools vInfo"


def test_what_a_user_sets_goes_before_the_format(admin: Client, upload: Upload) -> None:
    import_ = plan(upload, admin, RVTOOLS, mapping='{"DNS Name": "name", "VM": "attributes.vm"}')
    sheet = import_["sheets"][1]
    assert sheet["format"] == "RVTools vInfo"
    assert [column["field"] or column["attribute"] for column in sheet["columns"]][:3] == ["vm", "status", "name"]


def test_a_user_who_may_not_create_datacenters_is_told(user: Client, upload: Upload) -> None:
    import_ = plan(upload, user, NETBOX)
    assert [sheet["error"] for sheet in import_["sheets"]] == [2]


def test_another_sheet_with_some_of_the_titles_has_no_format(user: Client, upload: Upload, make: Make) -> None:
    make(Datacenter, name="North")
    import_ = upload(user, Servers=[("Name", "Status", "Site", "Rack"), ("n1", "active", "North", "R1")])
    assert (import_["status"], import_["sheets"][0]["format"]) == ("ready", None)


def test_what_is_remembered_of_a_format_is_read_so_again(app: Flask, admin: Client, upload: Upload) -> None:
    import_ = plan(upload, admin, RVTOOLS)
    name = import_["sheets"][1]["sheet"]
    correct(app, admin, import_, {"sheets": {name: {"columns": {"J": "rack"}}}, "remember": "vms"})
    sheet = plan(upload, admin, RVTOOLS, create_missing="datacenters", apply="true")["sheets"][1]
    assert (sheet["format"], sheet["create"]) == (None, 2)
    assert "read as you saved it under the name vms" in " ".join(sheet["notes"])
    names = ("name", "status", "memory_gb", "rack", "server_type")
    assert of(objects(admin, "servers")[0], *names) == ("app59", "offline", 16, "CL1", "virtual")


def test_units_and_beginnings_of_values_can_be_set_for_any_sheet(app: Flask, user: Client, upload: Upload) -> None:
    import_ = upload(user, Servers=[("Name", "Memory", "Status"), ("n1", 65536, "läuft seit gestern")])
    settings = {"units": {"memory_gb": "MB"}, "values": {"status": {"läuft *": "active"}}}
    correct(app, user, import_, {"sheets": {"Servers": settings}, "apply": True})
    assert of(objects(user, "servers")[0], "memory_gb", "status") == (64, "active")


def test_an_asset_takes_its_name_from_its_tag_where_that_is_set(app: Flask, user: Client, upload: Upload) -> None:
    import_ = upload(user, Assets=[("资产编号", "类型"), ("ZC-1", "显示器"), ("ZC-2", "显示器")])
    assert import_["sheets"][0]["missing_fields"] == ["name"]
    corrected = correct(app, user, import_, {"sheets": {"Assets": {"fallbacks": {"name": "asset_tag"}}}, "apply": True})
    assert corrected["sheets"][0]["missing_fields"] == []
    assert [item["name"] for item in objects(user, "assets")] == ["ZC-1", "ZC-2"]


def test_a_constant_that_is_wrong_for_the_resource_of_a_sheet_is_its_error(user: Client, upload: Upload) -> None:
    import_ = plan(upload, user, NVIDIA_SMI, constants='{"status": "running"}')
    assert (import_["status"], import_["sheets"][0]["problems"][0]["rule"]) == ("invalid", "constant")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"constants": "x"}, "constants"),
        ({"constants": '{"colour": "red"}', "resource": "tasks"}, "constants.colour"),
        ({"constants": '{"memory_mb": "much"}', "resource": "gpus"}, "constants.memory_mb"),
        ({"create_missing": "gpus"}, "create_missing"),
        ({"use_formats": "perhaps"}, "use_formats"),
    ],
)
def test_wrong_settings_of_an_upload_are_refused(form: dict[str, str], field: str, admin: Client) -> None:
    data = {**form, "file": (BytesIO(NVIDIA_SMI.encode()), "x.csv")}
    assert field in admin.call("POST", "/api/imports", expect=422, data=data)["data"]["errors"]


OWN = """
name = "Our list"
resource = "servers"
known_by = [["Gerät", "Platz"]]
[columns]
"Gerät" = "name"
"Platz" = "rack"
[values.status]
"läuft" = "active"
"""


def test_an_operator_adds_a_format(build_app: BuildApp, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OWN, "utf-8")
    app = build_app(IMPORT_FORMATS_DIR=tmp_path)
    with app.app_context():
        first, *others = known_formats()
    assert (first.name, first.resource, first.titles) == ("Our list", "servers", frozenset({"Gerät", "Platz"}))
    assert len(others) > 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = ", "file: "),
        (OWN.replace('"servers"', '"boats"'), "resource: "),
        (OWN.replace('"rack"', '"shelf"'), "columns.Platz: shelf is not a field of servers."),
        (OWN.replace('"active"', '"running around"'), "values.status.läuft: “running around” is not one of active"),
        (OWN.replace('["Gerät", "Platz"]', '["Gerät"]'), "known_by: "),
        (OWN + '[units]\n"rack" = "MB"', "units.rack: Numbers of rack have no unit MB."),
        (OWN + '[fallbacks]\n"name" = "status"', "fallbacks.name: Status is not a text."),
        (OWN + "[colours]\n", "colours: "),
    ],
)
def test_a_wrong_file_of_a_format_is_refused_with_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(content, "utf-8")
    with pytest.raises(formats.FormatError) as refused:
        formats.read_folder(tmp_path)
    assert "ours.toml is not a format of a spreadsheet:" in str(refused.value)
    assert message in str(refused.value)


def test_rvtools_with_all_its_columns_filled(admin: Client, app: Flask, upload: Upload) -> None:
    numbers = {"CPUs": "4", "Memory": "16,384", "Provisioned MiB": "204,800", "Primary IP Address": "10.9.0.1"}
    values = {**{title: f"some {title}" for title in RVTOOLS_TITLES}, **numbers, "Powerstate": "poweredOn"}
    content = "\n".join([",".join(RVTOOLS_TITLES), ",".join(f'"{value}"' for value in values.values())])
    import_ = plan(upload, admin, content)
    assert (import_["status"], import_["sheets"][-1]["format"]) == ("ready", "RVTools vInfo")
    admin.call("POST", f"/api/imports/{import_['id']}/apply", json={}, expect=202)
    runner_of(app).run_pending()
    (server,) = objects(admin, "servers")
    assert of(server, "memory_gb", "disk_gb", "cpu_cores") == (16, 200, 4)
    assert 50 < len(server["attributes"]) <= 64
    assert sum(sheet["unchanged"] for sheet in plan(upload, admin, content)["sheets"]) == 1


def test_netbox_with_half_units(admin: Client, upload: Upload) -> None:
    content = NETBOX.replace(",12.0,", ",12.5,")
    import_ = plan(upload, admin, content)
    assert import_["status"] == "ready"
    (warning,) = [group for group in import_["sheets"][-1]["messages"] if group["rule"] == "guess"]
    assert (warning["rule"], warning["field"], warning["values"]) == (
        "guess",
        "rack_unit",
        [{"value": "12.5", "count": 1}],
    )
    assert warning["message"] == "12.5 is read as 12: the number is whole here."
    planned = admin.call("GET", f"/api/imports/{import_['id']}/rows?status=create")["data"]
    assert [row["changes"].get("rack_unit", {}).get("new") for row in planned if row["sheet"] == "export"] == [12, 3]


def test_a_fraction_is_no_constant_of_a_whole_number(admin: Client, app: Flask, upload: Upload) -> None:
    import_ = plan(upload, admin, "Name,Rack\ns-1,R1\n", "servers.csv", resource="servers")
    patch = {"sheets": {"servers": {"constants": {"rack_unit": 1.5}}}}
    refused = admin.call("PATCH", f"/api/imports/{import_['id']}", json=patch, expect=(202, 422))
    if refused["code"] == 422:
        shown = str(refused)
    else:
        runner_of(app).run_pending()
        shown = str(admin.call("GET", f"/api/imports/{import_['id']}"))
    assert "1.5 is read as 1" in shown


@pytest.mark.parametrize("content", [DELL, HPE])
def test_titles_in_capitals_are_known(content: str, user: Client, upload: Upload) -> None:
    titles, row = content.splitlines()
    import_ = plan(upload, user, f"{titles.upper()}\n{row}\n")
    assert import_["sheets"][0]["format"] == plan(upload, user, content)["sheets"][0]["format"] is not None
    assert {column["certainty"] for column in import_["sheets"][0]["columns"]} == {"set"}


def test_a_whole_workbook_of_rvtools_goes_in_with_one_upload(admin: Client, app: Flask, upload: Upload) -> None:
    def sheet(text: str) -> list[tuple[str, ...]]:
        return [tuple(line.split(",")) for line in text.splitlines()]

    sheets = {
        "vInfo": sheet(RVTOOLS.replace('"16,384"', "16384").replace('"4,096"', "4096").replace('"206,057"', "206057")
                       .replace('"65,536"', "65536")),
        "vDisk": sheet("VM,Powerstate,Disk,Capacity MiB,Datacenter,Host\napp59,poweredOff,Hard disk 1,100,DC 1,esx01"),
        "vHost": sheet(
            "Host,Datacenter,in Maintenance Mode,# CPU,# Cores,# Memory,ESX Version,Vendor,Model,Serial number\n"
            "esx01,DC 1,True,2,32,524288,ESXi 8.0,Dell,R640,ES-1"
        ),
        "vHealth": sheet("Name,Message\napp59,Zombie"),
    }  # fmt: skip
    import_ = upload(admin, form={"apply": "true"}, **sheets)
    assert import_["status"] == "applied", import_["problem"]
    assert {sheet["sheet"]: sheet["create"] for sheet in import_["sheets"]} == {
        "+ Datacenters": 1, "vInfo": 2, "vHost": 1, "vDisk": 0, "vHealth": 0,
    }  # fmt: skip
    assert "left out: RVTools vInfo does not need it" in import_["sheets"][-1]["notes"][0]
    names = ("name", "status", "server_type", "memory_gb", "cpu_cores", "serial_number")
    assert of(objects(admin, "servers")[-1], *names) == ("esx01", "maintenance", "physical", 512, 32, "ES-1")
    again = upload(admin, **sheets)
    corrected = correct(app, admin, again, {"sheets": {"vHealth": {"resource": "tasks", "header_row": 1}}})
    assert [sheet["resource"] for sheet in corrected["sheets"] if sheet["sheet"] == "vHealth"] == ["tasks"]


def test_more_columns_than_attributes_are_one_warning(admin: Client, app: Flask, upload: Upload) -> None:
    titles = ["Name", *(f"Extra {number}" for number in range(1, 71))]
    rows = [tuple(titles), *[(f"s{row}", *range(70)) for row in range(2)]]
    import_ = upload(admin, Servers=rows)
    assert import_["status"] == "ready"
    (warning,) = import_["sheets"][0]["sheet_warnings"]
    assert (warning["rule"], warning["count"], warning["cells"][0]) == ("too_many_attributes", 6, "BN1")
    assert "BN (Extra 65)" in warning["message"]
    columns = {"B": "ignore", "BN": "attributes.needed"}
    corrected = correct(app, admin, import_, {"sheets": {"Servers": {"columns": columns}}, "apply": True})
    assert corrected["sheets"][0]["sheet_warnings"][0]["count"] == 5
    attributes = objects(admin, "servers")[0]["attributes"]
    assert (len(attributes), attributes["needed"]) == (64, 64)
