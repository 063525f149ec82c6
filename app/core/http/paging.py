"""Numbered pages of lists that are not resources, such as a user's sessions."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields, validate

from app.core.db.statements import read_rows
from app.core.http.envelope import Page, Pagination

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
MAX_PAGE = 2**31
MAX_TOTAL = 10_000
"""Where counting a list ends: an exact total of a large table costs more than its page, and every write undoes it."""


class PageSchema(Schema):
    page = fields.Integer(load_default=1, validate=validate.Range(1, MAX_PAGE))
    page_size = fields.Integer(load_default=DEFAULT_PAGE_SIZE, validate=validate.Range(1, MAX_PAGE_SIZE))


def fetch_page(
    query: sa.Select[Any], page: int, page_size: int, render: Callable[[dict[str, Any]], dict[str, Any]] = dict
) -> Page:
    """One page of the rows of an ordered query, each rendered from a dictionary, with their total number."""
    total = read_rows(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    rows = read_rows(query.limit(page_size).offset((page - 1) * page_size)).mappings()
    return Page([render(dict(row)) for row in rows], Pagination(page, page_size, total))
