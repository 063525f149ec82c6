"""The requests of `bench limits`, and what the bare function writes instead of the two that write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

RECORDED_SERVERS = 1_000
"""Servers that the platform creates itself, with records: the log's, and those that are changed."""


@dataclass(frozen=True)
class Request:
    """A row of the table. Placeholders in path and body are those of `load.py`; with a body it is a write.

    The bare function runs what the platform runs for the same path, or for `recorded` where the answer to that is
    cached; or `limit`, one transaction.
    """

    name: str
    path: str
    body: str = ""
    method: str = "PATCH"
    limit: str = ""
    recorded: str = ""


class Writes(NamedTuple):
    """A new server with a name of its own, and a change of one of the servers that the platform does not change."""

    create: str
    change: str


_INSERT = (
    "INSERT INTO servers (name, server_type, status, datacenter_id, memory_gb, owner, tags, attributes, version,"
    " created_at, updated_at) VALUES ('bare-' || {text}, 'physical', 'active', 1, 512, 'team-atlas', '[]', '{{}}', 1,"
    " {now}, {now}) RETURNING id"
)
_SET = "SET owner = 'team ' || {text}, version = version + 1, updated_at = {now}"
_POSTGRESQL = {"text": "gen_random_uuid()", "now": "now()"}
_MARIADB = {"text": "uuid()", "now": "now(6)"}
# In a subquery, because random() would be computed for every row.
WRITES: Mapping[str, Writes] = {
    "postgresql": Writes(
        _INSERT.format(**_POSTGRESQL),
        f"UPDATE servers {_SET.format(**_POSTGRESQL)}"
        f" WHERE id = (SELECT 1 + floor(random() * {RECORDED_SERVERS})::bigint)",
    ),
    "mariadb": Writes(
        _INSERT.format(**_MARIADB),
        f"UPDATE servers JOIN (SELECT CAST(1 + floor(rand() * {RECORDED_SERVERS}) AS SIGNED) AS chosen) AS one"
        f" ON servers.id = one.chosen {_SET.format(**_MARIADB)}",
    ),
}


def all_requests(first: int, cursor: str, database: str) -> list[Request]:
    """The rows of the table; `first` is the id of the first recorded server, `cursor` one shortly before the end."""
    writes = WRITES[database]
    page = "/api/servers?page_size=20"
    uncached = f"{page}&sort={{blank}}"
    return [
        Request("page of a list, cached", page, recorded=uncached),
        Request("page, not cached, total cached", uncached),
        Request("status filter, not cached, total cached", f"{page}&status=retired&sort={{blank}}"),
        Request(
            "datacenter and memory filter, with count",
            f"{page}&datacenter=oslo-7&memory_gb__gte=512&memory_gb__lte={{number}}",
        ),
        Request("common keyword, with count", f"{page}&q=example&memory_gb__lte={{number}}"),
        Request("single object", f"/api/servers/{{{first}}}"),
        Request("tree, level 3", "/api/servers/tree?level=3&page_size=20&sort={blank}"),
        Request("audit page", "/api/audit-logs?page_size=20"),
        Request("change feed", f"/api/events?after={cursor}"),
        Request(
            "create",
            "/api/servers",
            '{"name": "new-{turn}", "datacenter_id": 1, "memory_gb": 512, "owner": "team-atlas"}',
            "POST",
            writes.create,
        ),
        Request(
            "PATCH",
            f"/api/servers/{{{first}}}",
            '{"owner": "team {turn}"}',
            "PATCH",
            writes.change,
        ),
    ]
