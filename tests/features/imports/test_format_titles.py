"""Known formats with all the titles that the documents of their programs name, each column filled."""

import pytest
from flask import Flask

from app.core.jobs.runner import runner_of
from app.servers.models import Server
from tests.client import Client
from tests.factories import Make
from tests.features.conftest import Upload
from tests.spread import any_database

pytestmark = any_database

NETBOX = """ID,Name,Status,Tenant,Tenant Group,Role,Manufacturer,Type,Platform,Serial number,Asset tag,Region,
Site Group,Site,Location,Rack,Parent Device,Position (Device Bay),Position (U),Rack face,Latitude,Longitude,Airflow,
IP Address,IPv4 Address,IPv6 Address,OOB IP,Cluster,Virtual Chassis,VC Position,VC Priority,Description,Config Template,
Comments,Contacts,Tags,Created,Last updated"""
"""DeviceTable in netbox/dcim/tables/devices.py of netbox-community/netbox."""
SNIPE_IT = """ID,Company,Asset Name,Device Image,Asset Tag,Serial,Model,Model No.,Category,Status,Checked Out To,
Employee No.,Title,Location,Default Location,Manufacturer,Supplier,Purchase Date,Age,Purchase Cost,Current Value,
Order Number,EOL Rate,EOL Date,Warranty,Warranty Expires,Created At,Updated at,Last Audit,Next Audit Date,Checkout Date,
Expected Checkin Date,Checkins,Checkouts,Requests,Notes"""
"""app/Presenters/AssetPresenter.php of grokability/snipe-it."""
SNIPE_IT_CUSTOM = """Company,Asset Name,Asset Tag,Model,Model No.,Category,Manufacturer,Serial,Purchased,Cost,EOL,
Order Number,Supplier,Location,Default Location,Checked Out,Type,Username,Employee No.,Manager,Department,Title,Status,
Warranty,Warranty Expires,Value,Diff,Fully Depreciated,Checkout Date,Expected Checkin Date,Created At,Updated at,
Deleted,Last Audit,Next Audit Date,Notes"""
"""postCustom in app/Http/Controllers/ReportsController.php of the same."""
GLPI = """Name,Entity,Status,Manufacturer,Serial number,Type,Model,Operating System - Name,Location,Last update,ID,UUID,
Inventory number,Last inventory date,Last boot date,Comments,Alternate username,Alternate username number,User,Group,
Creation date,Network,Technician in charge,Group in charge,Update Source"""
"""rawSearchOptions in src/Computer.php of glpi-project/glpi."""
DOCKER = """CONTAINER ID,IMAGE,COMMAND,CREATED AT,CREATED,STATE,STATUS,PORTS,NAMES,SIZE,LABELS,MOUNTS,LOCAL VOLUMES,
NETWORKS,PLATFORM,HEALTH STATUS,IP ADDRESSES"""
"""cli/command/formatter/container.go of docker/cli."""
DELL = """STATUS,SERVICE TAG,DEVICE MODEL,DEVICE TYPE,WARRANTY TYPE,SERVICE LEVEL DESCRIPTION,DAYS REMAINING,START DATE,
END DATE"""
"""Manage the device warranty, in the user's guide of OpenManage Enterprise."""

ADDRESS, DAY = "10.4.9.7/24", "2027-02-03"
CELLS = {
    "NetBox devices": {
        "Status": "Planned", "Position (U)": "12.0", "IP Address": ADDRESS, "OOB IP": "10.5.0.7/24", "Site": "North",
    },
    "Snipe-IT assets": {
        "Status": "Ready to Deploy (deployed)", "Category": "Laptops", "Purchase Date": DAY, "Purchased": DAY,
        "Purchase Cost": "1,299.50", "Cost": "1,299.50", "Warranty Expires": DAY, "Type": "user",
    },
    "GLPI computers": {"Status": "In use", "Type": "Notebook"},
    "docker ps": {"STATUS": "Up 3 weeks (unhealthy)"},
    "Dell warranties": {"STATUS": "Critical", "SERVICE TAG": "ABC1234", "END DATE": DAY},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("NetBox devices", NETBOX),
        ("Snipe-IT assets", SNIPE_IT),
        ("Snipe-IT assets", SNIPE_IT_CUSTOM),
        ("GLPI computers", GLPI),
        ("docker ps", DOCKER),
        ("Dell warranties", DELL),
    ],
)
def test_a_format_with_all_its_titles_goes_in_with_one_upload(
    name: str, titles: str, admin: Client, app: Flask, make: Make, upload: Upload
) -> None:
    make(Server, name="s-1", serial_number="ABC1234")
    named = titles.replace("\n", "").split(",")
    cells = [CELLS[name].get(title, f"some {title}") for title in named]
    content = "\n".join([",".join(named), ",".join(f'"{cell}"' for cell in cells)]).encode()
    import_ = upload(admin, content=content, filename="export.csv")
    sheet = import_["sheets"][-1]
    assert (import_["status"], import_["problem"], sheet["format"]) == ("ready", None, name), sheet["messages"]
    guessed = [
        column["title"] for column in sheet["columns"] if column["use"] == "field" and column["certainty"] != "set"
    ]
    assert guessed == []
    admin.call("POST", f"/api/imports/{import_['id']}/apply", json={}, expect=202)
    runner_of(app).run_pending()
    again = upload(admin, content=content, filename="export.csv")
    assert [sheet["unchanged"] for sheet in again["sheets"]] == [1]
