"""Workbooks made on the spot, uploaded and carried out at once."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from openpyxl import Workbook

from app.core.jobs.runner import runner
from tests.client import Body, Client

Rows = Sequence[Sequence[Any]]
Upload = Callable[..., Body]


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
    """Upload a workbook and carry out what it queues: `upload(client, Servers=[…], apply="true")`."""

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
        runner.run_pending()
        return client.call("GET", f"/api/imports/{started['data']['id']}")["data"]  # type: ignore[no-any-return]

    return upload


def rows_of(client: Client, job: Body, status: str = "") -> list[Body]:
    query = f"?page_size=100{f'&status={status}' if status else ''}"
    found: list[Body] = client.call("GET", f"/api/imports/{job['id']}/rows{query}")["data"]
    return found


def mistakes(client: Client, job: Body) -> list[tuple[str, int, str | None, str]]:
    """(sheet, row, cell, rule) of everything that is wrong."""
    return [
        (row["sheet"], row["row"], error["cell"], error["rule"])
        for row in rows_of(client, job, "error")
        for error in row["errors"]
    ]


def apply(client: Client, job: Body, *, expect: int = 202, **body: str) -> Body:
    """Ask for the application, carry it out, and answer the import (or the refusal)."""
    answer = client.call("POST", f"/api/imports/{job['id']}/apply", expect=expect, json=body)
    if expect >= 400:
        return answer
    runner.run_pending()
    return client.call("GET", f"/api/imports/{job['id']}")["data"]  # type: ignore[no-any-return]
