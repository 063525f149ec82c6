"""The documentation pages: whole, from us alone, and under a policy that lets it load nothing else."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.backends import on_sqlite

pytestmark = on_sqlite


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def loaded(page: str) -> Iterator[str]:
    """What a browser fetches for a page at /api/docs."""
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert "://" not in link
        assert not link.startswith("/")
        yield f"/api/{link}"


def test_all_that_the_page_needs_is_served(browser: FlaskClient) -> None:
    page = browser.get("/api/docs")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    links = list(loaded(page.text))
    assert len(links) == 5
    for link in links:
        assert browser.get(link, buffered=True).status_code == 200, link
    assert browser.get("/api/docs/swagger-ui-bundle.js", buffered=True).mimetype == "text/javascript"
    assert "openapi.json" in browser.get("/api/docs/start.js", buffered=True).text
    # Its relative address, seen from the page.
    assert browser.get("/api/openapi.json").status_code == 200


def test_the_policy_allows_what_comes_from_us_only(browser: FlaskClient) -> None:
    page = browser.get("/api/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script>" not in page.text
    assert " on" not in re.sub(r"<meta[^>]*>", "", page.text)
    # Everything else keeps the policy of data.
    assert browser.get("/api/health").headers["Content-Security-Policy"].startswith("default-src 'none'; frame")


def test_files_are_kept_by_browsers(browser: FlaskClient) -> None:
    first = browser.get("/api/docs/swagger-ui.css", buffered=True)
    assert first.cache_control.max_age == 86_400
    again = browser.get("/api/docs/swagger-ui.css", headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["LICENSE", "..%2FREADME.md", "swagger-ui.js", ".", "x" * 5000, "%00"])
def test_nothing_else_is(browser: FlaskClient, name: str) -> None:
    assert browser.get(f"/api/docs/{name}").status_code == 404


def test_redoc_is_whole_and_from_us_alone(browser: FlaskClient) -> None:
    page = browser.get("/api/redoc")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    links = list(loaded(page.text))
    assert len(links) == 3
    for link in links:
        assert browser.get(link, buffered=True).status_code == 200, link
    assert "openapi.json" in browser.get("/api/redoc/start.js", buffered=True).text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "worker-src blob:" in policy
    assert "https:" not in policy
    assert "<script>" not in page.text


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "..%2Fdocs.py", "%00"])
def test_no_other_file_of_redoc_is_served(browser: FlaskClient, name: str) -> None:
    assert browser.get(f"/api/redoc/{name}").status_code == 404
