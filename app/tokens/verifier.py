"""Verification of personal access tokens: their rows are those of their newest events, and only they were used."""

from typing import NamedTuple

import sqlalchemy as sa

from app.core.audit.models import STORED
from app.proof.live_rows import is_mac_of
from app.proof.report import FindingKind, Report
from app.tokens.models import PersonalToken
from app.users.models import User

PREFIX = "token-"
"""The prefix of `token_id` in records of a personal access token; its id follows."""

tokens = PersonalToken.__table__
logs = STORED.c


class IssuedToken(NamedTuple):
    """What the events of a token say: its owner, who created it, and the MAC of its row."""

    owner_id: int | None
    mac: str | None


def compare_tokens(connection: sa.Connection, report: Report) -> None:
    """Report tokens that were inserted, changed or deleted past the application."""
    recorded = _read_events(connection)
    _report_unknown_use(connection, {f"{PREFIX}{token_id}" for token_id in recorded}, report)
    for row in connection.execute(sa.select(tokens)).mappings().all():
        of_token = recorded.pop(row["id"], None)
        kind, message = FindingKind.ROW_INSERTED, "This token has no record."
        if of_token is not None:
            kind, message = FindingKind.ROW_CHANGED, "The row differs from the log."
            if is_mac_of(of_token.mac, tokens.name, row, PersonalToken.guarded_columns, report):
                continue
        report.add(kind, message, resource_type=tokens.name, resource_id=row["id"])
    deletions = sa.select(logs.resource_id).where(logs.resource_type == User.__tablename__, logs.action == "delete")
    deleted_users = set(connection.scalars(deletions)) if recorded else set()
    for token_id, of_token in recorded.items():
        # The tokens of a deleted user are deleted with them.
        if of_token.owner_id not in deleted_users:
            message = "According to the log this token exists, but its row is missing."
            report.add(FindingKind.ROW_MISSING, message, resource_type=tokens.name, resource_id=token_id)


def _read_events(connection: sa.Connection) -> dict[int, IssuedToken]:
    recorded: dict[int, IssuedToken] = {}
    events = sa.select(logs.resource_id, logs.action, logs.user_id, logs.state_mac).where(
        logs.resource_type == tokens.name, logs.action.in_(("token_create", "token_revoke"))
    )
    for token_id, action, user_id, mac in connection.execute(events.order_by(logs.id)):
        if action == "token_create":
            recorded[token_id] = IssuedToken(user_id, mac)
        elif token_id in recorded:
            recorded[token_id] = IssuedToken(recorded[token_id].owner_id, mac)
    return recorded


def _report_unknown_use(connection: sa.Connection, token_ids: set[str], report: Report) -> None:
    """Report tokens that acted and were never created: inserted, and perhaps removed again after their use."""
    used = connection.scalars(sa.select(logs.token_id).where(logs.token_id.startswith(PREFIX)).distinct())
    for token_id in sorted(token_id for token_id in used if token_id not in token_ids):
        record_id = connection.scalar(sa.select(sa.func.min(logs.id)).where(logs.token_id == token_id))
        message = f"It was done with the personal access token {token_id}, whose creation has no record."
        report.add(FindingKind.ROW_INSERTED, message, record_id=record_id, resource_type=tokens.name)
