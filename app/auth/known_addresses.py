"""The known addresses of a user: a login from a new one is audited and mailed to the user."""

import sqlalchemy as sa

from app.auth.models import KnownAddress
from app.core.addresses import client_network
from app.core.audit import recorder
from app.core.audit.mac import row_mac
from app.core.db.statements import insert_missing
from app.core.db.unit_of_work import current_context, db
from app.core.mail import outbox
from app.core.messages import tr
from app.core.net.geoip import kind_of_network, place_of
from app.core.values import Choice, utcnow

known_addresses = KnownAddress.__table__


def register_login(user_id: int, username: str, email: str, language: Choice | None) -> None:
    """Remember the address of a login; audit and mail it if it is new, unless it is the user's first."""
    context = current_context()
    if context.ip_address is None:
        return
    network = client_network(context.ip_address)
    now = utcnow()
    of_user = known_addresses.c.user_id == user_id
    renewal = sa.update(known_addresses).where(of_user, known_addresses.c.network == network).values(last_seen_at=now)
    if db.session.execute(renewal).rowcount:  # type: ignore[attr-defined]
        return
    has_others = db.session.scalar(sa.select(sa.exists().where(of_user, known_addresses.c.network != network)))
    # Of two concurrent logins, only the one whose row is inserted sends the mail.
    row = {"user_id": user_id, "network": network, "first_seen_at": now, "last_seen_at": now}
    new = insert_missing(known_addresses).values({**row, "mac": row_mac(KnownAddress, row)})
    is_new = db.session.execute(new).rowcount  # type: ignore[attr-defined]
    if not (is_new and has_others):
        return
    place = place_of(context.ip_address)
    facts = {"address": context.ip_address, "network": kind_of_network(context.ip_address), "place": place}
    changes = {name: {"old": None, "new": value} for name, value in facts.items() if value is not None}
    recorder.record("login_new_address", "users", user_id, username, changes)
    outbox.post(
        email,
        language,
        tr("A login from a new address"),
        "login_new_address",
        username=username,
        time=now,
        device=context.user_agent,
        **facts,
    )
