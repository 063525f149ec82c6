"""Swagger UI and ReDoc in a browser: whole operations, and nothing from anywhere else."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import config
from tests.backends import on_sqlite
from tests.console.conftest import PATIENCE_MS

pytestmark = on_sqlite
DOCUMENT = json.loads((config.ROOT / "openapi.json").read_text())


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A page whose console stays empty, and that asks nobody but our server."""
    context = browser.new_context(base_url=server, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((server, "data:", "blob:")) else faults.append(request.url),
    )
    yield page
    context.close()
    assert faults == []


def test_swagger_ui_shows_an_operation_whole(page: Page) -> None:
    """Although it resolves a part of the document only."""
    page.goto("/api/docs#/servers/getServer")
    operation = page.locator("#operations-servers-getServer")
    described = DOCUMENT["paths"]["/api/servers/{object_id}"]
    names = [parameter_name(each) for each in (*described["parameters"], *described["get"]["parameters"])]
    expect(operation.locator(".parameters .parameter__name")).to_have_count(len(names), timeout=PATIENCE_MS)
    shown = [text.split("*")[0].strip() for text in operation.locator(".parameters .parameter__name").all_inner_texts()]
    assert sorted(shown) == sorted(names)
    expect(operation.locator(".responses-table tr.response")).to_have_count(len(described["get"]["responses"]))
    # The example is made from the schema of a server, and of what that refers to.
    example = operation.locator(".response[data-code='200'] .example")
    expect(example).to_contain_text('"internal_ip"')
    expect(example).to_contain_text('"datacenter": {')
    failure = operation.locator(".response[data-code='404'] .example")
    expect(failure).to_contain_text('"reason"')


def test_swagger_ui_sends_a_request(page: Page) -> None:
    page.goto("/api/docs#/health/getHealth")
    operation = page.locator("#operations-health-getHealth")
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_have_text(
        "200", timeout=PATIENCE_MS
    )


def test_redoc_shows_an_operation(page: Page) -> None:
    page.goto("/api/redoc#/servers/listservers")
    summary = DOCUMENT["paths"]["/api/servers"]["get"]["summary"]
    expect(page.get_by_role("heading", level=2, name=summary)).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("page_size", exact=True)).to_be_visible()


def test_redoc_searches(page: Page) -> None:
    page.goto("/api/redoc")
    page.get_by_text("Search Ctrl+K").click()
    page.keyboard.type("assign")
    expect(page.get_by_text("/api/gpus/{gpu_id}/assign").first).to_be_visible(timeout=PATIENCE_MS)


def parameter_name(parameter: dict[str, str]) -> str:
    if "$ref" in parameter:
        parameter = DOCUMENT["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return parameter["name"]
