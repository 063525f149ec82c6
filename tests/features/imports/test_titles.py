"""Titles of columns and values of cells."""

from datetime import date

import pytest

from app.assets.routes import resource as assets
from app.containers.routes import resource as containers
from app.gpus.routes import resource as gpus
from app.imports.map.misspellings import edit_distance
from app.imports.map.titles import attribute_key, match_title, misspelt_field
from app.imports.parse.cells import reader_of
from app.resource import Resource
from app.servers.routes import resource as servers
from app.sheets.cells import CellError, column_index, letters, unit_factor
from tests.spread import any_database

pytestmark = any_database


@pytest.mark.parametrize(
    ("resource", "title", "name", "scale"),
    [
        (servers, "Memory (GB)", "memory_gb", 1),
        (servers, "memory_gb", "memory_gb", 1),
        (servers, "Memory (MB)", "memory_gb", 1 / 1024),
        (servers, "MEMORY GB", "memory_gb", 1),
        (servers, "内存（TB）", "memory_gb", 1024),
        (servers, "Memory [MiB]", "memory_gb", 1 / 1024),
        (servers, "Data-Center", "datacenter_id", 1),
        (servers, "datacenter_id", "datacenter_id", 1),
        (servers, "Serial Number *", "serial_number", 1),
        (servers, "Name (required)", "name", 1),
        (servers, "ＩＰ地址", "internal_ip", 1),
        (servers, "Device Name", "name", 1),
        (servers, "Service Tag", "serial_number", 1),
        (assets, "设备名称", "name", 1),
        (assets, "购置日期", "purchase_date", 1),
        (gpus, "Memory (GB)", "memory_mb", 1024),
        (containers, "Memory Limit (MiB)", "memory_limit_mb", 1),
        (containers, "CPU Limit (milli)", "cpu_limit", 0.001),
    ],
)
def test_a_title_names_a_field_and_its_unit(resource: Resource, title: str, name: str, scale: float) -> None:
    match = match_title(title, resource)
    assert match is not None
    assert (match.field.name, match.scale) == (name, scale)


def test_any_unit_is_one_of_itself() -> None:
    """A field of one's own, such as a height in U, is found by the title under which it is exported."""
    assert unit_factor("U", "U") == unit_factor(" u ", "U") == 1
    assert unit_factor("s", "ms") is unit_factor("U", None) is None


@pytest.mark.parametrize("title", ["GPU Count", "GPU Model", "QoS", "Created (s)", "Memory (s)", "ID", "Version"])
def test_an_unknown_title_is_neither_a_field_nor_a_misspelling(title: str) -> None:
    assert match_title(title, servers) is None
    assert misspelt_field(title, servers, ()) is None


@pytest.mark.parametrize(
    ("title", "label"),
    [("Datacentre", "Datacenter"), ("Hostnmae", "Hostname"), ("Serial Numbr", "Serial number"), ("Staus", "Status")],
)
def test_a_misspelling_is_recognised(title: str, label: str) -> None:
    misspelt = misspelt_field(title, servers, ())
    assert misspelt is not None
    assert misspelt.field.title == label


def test_a_field_that_another_column_fills_is_not_suggested() -> None:
    assert misspelt_field("Hostnmae", servers, [servers.fields["hostname"]]) is None


@pytest.mark.parametrize(
    ("one", "other", "count"), [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abcd", 1), ("abc", "xyz", 3)]
)
def test_the_edit_distance_is_counted_up_to_a_limit(one: str, other: str, count: int) -> None:
    assert edit_distance(one, other, 2) == count


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("serial_number", "007", "007"),
        ("serial_number", 7, "7"),
        ("serial_number", 7.0, "7"),
        ("cpu_cores", "1,024", 1024),
        ("cpu_cores", 8.0, 8),
        ("cpu_cores", "8核", 8),
        ("memory_gb", "120g", 120),
        ("memory_gb", "512 MiB", 0.5),
        ("memory_gb", "1.5TB", 1536),
        ("memory_gb", "２５６", 256),
        ("purchase_date", "2027-10-24", date(2027, 10, 24)),
        ("purchase_date", "2027-10-24T00:00:00", date(2027, 10, 24)),
        ("purchase_date", "2027/1/4", date(2027, 1, 4)),
        ("purchase_date", "2027年1月4日", date(2027, 1, 4)),
        ("internal_ip", "10.0.0.1/32", "10.0.0.1"),
        ("internal_ip", "::ffff:10.0.0.1", "10.0.0.1"),
        ("mac_address", "00-1B-44-11-3A-B7", "00:1b:44:11:3a:b7"),
        ("tags", "web, 生产；gpu", ["web", "生产", "gpu"]),
    ],
)
def test_a_cell_is_read_as_the_value_of_its_field(field: str, cell: object, value: object) -> None:
    assert reader_of(servers.fields[field])(cell) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [("asset_type", "主机", "desktop"), ("status", "备用", "in_stock"), ("status", "Spare", "in_stock")],
)
def test_the_words_of_office_lists_are_choices(field: str, cell: str, value: str) -> None:
    guess = reader_of(assets.fields[field])(cell)
    assert (guess.rule, guess.meaning, guess.value.value) == ("inexact", value, value)


@pytest.mark.parametrize(
    ("field", "cell", "rule"),
    [
        ("cpu_cores", "eight", "number"),
        ("cpu_cores", 2.5, "integer"),
        ("cpu_cores", True, "number"),
        ("cpu_cores", -1, "range"),
        ("cpu_cores", 2**31, "range"),
        ("cpu_cores", "8kg", "unit"),
        ("memory_gb", "{{ mem_size }}", "template"),
        ("internal_ip", "TODO", "format"),
        ("purchase_date", "2027-13-01", "date"),
        ("purchase_date", "soon", "date"),
        ("status", "Runing", "choice"),
        ("rack", "x" * 65, "length"),
        ("rack", "a\x00b", "text"),
        ("os", "#N/A", "excel_error"),
    ],
)
def test_an_invalid_cell_names_the_rule(field: str, cell: object, rule: str) -> None:
    with pytest.raises(CellError) as raised:
        reader_of(servers.fields[field])(cell)  # type: ignore[arg-type]
    assert raised.value.rule == rule


def test_columns_are_named_as_the_spreadsheet_does() -> None:
    names = ["A", "Z", "AA", "ZZ", "AAA"]
    assert [letters(index) for index in (0, 25, 26, 701, 702)] == names
    assert [column_index(name) for name in names] == [0, 25, 26, 701, 702]
    assert attribute_key("GPU Share (milli)") == "gpu_share_milli"
    assert attribute_key("实例名(必填)") == "实例名"
