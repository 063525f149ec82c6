"""The addresses that a user signs in from: a new one leaves a record and a mail."""

import ipaddress

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from app.auth.models import KnownAddress
from app.core.audit import recorder
from app.core.db.unit_of_work import current_context, db
from app.core.mail import outbox
from app.core.net.geoip import kind_of_network, place_of, unmapped
from app.core.values import utcnow

known = KnownAddress.__table__


def note_login(user_id: int, username: str, email: str) -> None:
    """Remember where a login came from; tell the user of a new address, unless it is their very first one."""
    context = current_context()
    if context.ip_address is None:
        return
    network = _network_of(context.ip_address)
    now = utcnow()
    of_user = known.c.user_id == user_id
    seen = sa.update(known).where(of_user, known.c.network == network).values(last_seen_at=now)
    if db.session.execute(seen).rowcount:  # type: ignore[attr-defined]
        return
    has_others = db.session.scalar(sa.select(sa.exists().where(of_user, known.c.network != network)))
    # Of two logins at once the database chooses which one is the first.
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    new = insert(known).values(user_id=user_id, network=network, first_seen_at=now, last_seen_at=now)
    is_new = db.session.execute(new.on_conflict_do_nothing()).rowcount  # type: ignore[attr-defined]
    if not (is_new and has_others):
        return
    place = place_of(context.ip_address)
    facts = {"address": context.ip_address, "network": kind_of_network(context.ip_address), "place": place}
    changes = {name: {"old": None, "new": value} for name, value in facts.items() if value is not None}
    recorder.record("login_new_address", "users", user_id, username, changes)
    outbox.post(
        email,
        "A login from a new address",
        "login_new_address",
        username=username,
        time=now,
        device=context.user_agent,
        **facts,
    )


def _network_of(address: str) -> str:
    parsed = unmapped(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
