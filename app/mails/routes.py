"""`GET /api/mails`: whom the platform wrote, and which mails failed."""

from typing import Any

import sqlalchemy as sa

from app.core.http.access import Role, requires
from app.core.http.api import Blueprint
from app.core.http.envelope import Page
from app.core.http.paging import fetch_page
from app.core.mail.outbox import outbox
from app.mails.schemas import MailQuerySchema, MailSchema

blueprint = Blueprint("mails", __name__, url_prefix="/api/mails", description="Mails and why they failed")

_SHOWN = tuple(outbox.c[name] for name in MailSchema._declared_fields)


@blueprint.get("")
@requires(Role.ADMIN)
@blueprint.arguments(MailQuerySchema, location="query")
@blueprint.response(200, MailSchema, many=True)
def list_mails(query: dict[str, Any]) -> Page:
    """List mails, the latest first; `state=failed` those that were given up."""
    mails = sa.select(*_SHOWN).order_by(outbox.c.id.desc())
    if "state" in query:
        mails = mails.where(outbox.c.state.in_(query["state"]))
    return fetch_page(mails, query["page"], query["page_size"])
