"""Workbooks of tests, and their upload."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from openpyxl import Workbook

from app.core.jobs.runner import runner_of
from tests.client import Body, Client

Rows = Sequence[Sequence[Any]]
Upload = Callable[..., Body]


Examples = Callable[[int], settings]


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> Examples:
    """The settings of a property: the same few examples in each run, or as many random ones as `--examples` says.

    `--hypothesis-seed` repeats random ones. The database keeps what an example stores, so that none is made smaller.
    """
    many = request.config.getoption("--examples")

    def of(few: int) -> settings:
        return settings(
            max_examples=many or few,
            derandomize=not many,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )

    return of


def workbook(**sheets: Rows) -> bytes:
    """The bytes of an .xlsx with these sheets, each a list of rows."""
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    content = BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.fixture
def upload(app: Flask) -> Upload:
    """Upload a workbook and run the jobs that it queues: `upload(client, Servers=[…], form={"apply": "true"})`."""

    def upload(
        client: Client,
        *,
        form: dict[str, str] | None = None,
        content: bytes | None = None,
        filename: str = "fleet.xlsx",
        **sheets: Rows,
    ) -> Body:
        file = (BytesIO(content or workbook(**sheets)), filename)
        started = client.call("POST", "/api/imports", expect=202, data={**(form or {}), "file": file})
        runner_of(app).run_pending()
        return client.call("GET", f"/api/imports/{started['data']['id']}")["data"]  # type: ignore[no-any-return]

    return upload


def rows_of(client: Client, import_: Body, status: str = "") -> list[Body]:
    query = f"?page_size=100{f'&status={status}' if status else ''}"
    rows: list[Body] = client.call("GET", f"/api/imports/{import_['id']}/rows{query}")["data"]
    return rows


def errors_of(client: Client, import_: Body) -> list[tuple[str, int, str | None, str]]:
    """(sheet, row, cell, rule) of every error of an import."""
    return [
        (row["sheet"], row["row"], error["cell"], error["rule"])
        for row in rows_of(client, import_, "error")
        for error in row["errors"]
    ]


def apply(client: Client, import_: Body, *, expect: int = 202, **body: str) -> Body:
    """Apply a plan and run its job; returns the import, or the refusal."""
    answer = client.call("POST", f"/api/imports/{import_['id']}/apply", expect=expect, json=body)
    if expect >= 400:
        return answer
    runner_of(client.app).run_pending()
    return client.call("GET", f"/api/imports/{import_['id']}")["data"]  # type: ignore[no-any-return]
