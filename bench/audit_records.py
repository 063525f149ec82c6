"""Generated records of an audit log, which SQL makes: 5 % logins, 40 % changes of one field or two, 20 % creations."""

from collections.abc import Callable, Mapping

import psycopg
import pymysql.connections

from bench.scratch import Scratch

SPAN_SECONDS = 100_000_000
"""The time between the first and the last record, from 2023 on; ten million are one every ten seconds."""
BATCH_RECORDS = 100_000
"""Records of one transaction on MariaDB."""

_POSTGRESQL = """
INSERT INTO audit_logs (
    created_at, user_id, username, action, resource_type, resource_id, resource_name, version, changes, ip_address,
    user_agent, token_id, request_id, reason, mac
)
SELECT timestamptz '2023-01-01Z' + i * %(seconds)s * interval '1 second', person, 'user-' || person, action, kind,
    object,
    CASE WHEN action LIKE 'login%%' THEN 'user-' || person ELSE kind || '-' || lpad(object::text, 6, '0') END,
    CASE WHEN action IN ('create', 'update', 'delete', 'assign', 'release') THEN i::int END,
    CASE action
        WHEN 'update' THEN CASE i %% 5
            WHEN 0 THEN format('{"status":{"old":"%%s","new":"%%s"}}',
                (ARRAY['active', 'maintenance', 'offline'])[1 + i %% 3],
                CASE WHEN i %% 9973 = 0 THEN 'retired'
                ELSE (ARRAY['maintenance', 'offline', 'active', 'active'])[1 + (i / 7) %% 4] END)
            WHEN 1 THEN format('{"memory_gb":{"old":%%s,"new":%%s}}', i %% 512, i %% 511)
            WHEN 2 THEN format('{"owner":{"old":"team-%%s","new":"team-%%s"},"rack":{"old":null,"new":"R%%s"}}',
                i %% 40, i %% 37, i %% 900)
            WHEN 3 THEN format('{"internal_ip":{"old":"10.0.%%s.%%s","new":"10.1.%%s.%%s"}}',
                i %% 250, i %% 251, i %% 252, i %% 253)
            ELSE format('{"description":{"old":null,"new":"Moved to row %%s by ticket %%s"}}', i %% 100, i %% 99991) END
        WHEN 'create' THEN format('{"name":{"old":null,"new":"%%s-%%s"},"status":{"old":null,"new":"active"},'
            '"datacenter_id":{"old":null,"new":%%s},"internal_ip":{"old":null,"new":"10.2.%%s.%%s"},'
            '"memory_gb":{"old":null,"new":%%s},"owner":{"old":null,"new":"team-%%s"},'
            '"created_by_id":{"old":null,"new":%%s},"tags":{"old":null,"new":[]}}',
            kind, object, i %% 9, i %% 250, i %% 251, 2 ^ (i %% 9), i %% 40, person)
        WHEN 'assign' THEN format('{"status":{"old":"available","new":"assigned"},'
            '"assigned_to_id":{"old":null,"new":%%s}}', person)
        ELSE '{}' END,
    '10.' || person %% 3 || '.' || person %% 17 || '.' || i %% 40, 'Mozilla/5.0 (X11; Linux x86_64)',
    md5((person / 3)::text), md5(i::text), CASE WHEN i %% 12 = 0 THEN 'Ticket ' || i %% 99991 END,
    'generated'
FROM (
    SELECT i,
        1 + i * 7919 %% 200 * (i * 31 %% 200) / 200 AS person,
        (ARRAY['update', 'update', 'update', 'update', 'update', 'update', 'update', 'update', 'create', 'create',
            'create', 'create', 'delete', 'login', 'login', 'login_failed', 'assign', 'release', 'export', 'denied'])
            [1 + (hashint8(i) & 2147483647) %% 20] AS action,
        (ARRAY['servers', 'servers', 'servers', 'servers', 'containers', 'containers', 'containers', 'gpus',
            'services', 'assets'])[1 + (hashint8(i * 3) & 2147483647) %% 10] AS kind,
        1 + (hashint8(i * 5) & 2147483647) %% 100000 AS object
    FROM generate_series(1::bigint, %(records)s) AS i
) AS made
"""

# The same with MariaDB's functions. With the folded texts, which triggers would take ten times as long to compute.
_MARIADB = """
INSERT INTO audit_logs (
    created_at, user_id, username, username__fold, action, resource_type, resource_id, resource_name, version, changes,
    ip_address, ip_address__address, user_agent, token_id, request_id, request_id__fold, reason, mac
)
SELECT TIMESTAMP'2023-01-01 00:00:00' + INTERVAL i * %(seconds)s SECOND, person, concat('user-', person),
    concat('user-', person), action, kind, object,
    if(action LIKE 'login%%', concat('user-', person), concat(kind, '-', lpad(object, 6, '0'))),
    if(action IN ('create', 'update', 'delete', 'assign', 'release'), i, NULL),
    CASE action
        WHEN 'update' THEN CASE i %% 5
            WHEN 0 THEN concat('{"status":{"old":"', elt(1 + i %% 3, 'active', 'maintenance', 'offline'), '","new":"',
                if(i %% 9973 = 0, 'retired', elt(1 + i DIV 7 %% 4, 'maintenance', 'offline', 'active', 'active')),
                '"}}')
            WHEN 1 THEN concat('{"memory_gb":{"old":', i %% 512, ',"new":', i %% 511, '}}')
            WHEN 2 THEN concat('{"owner":{"old":"team-', i %% 40, '","new":"team-', i %% 37,
                '"},"rack":{"old":null,"new":"R', i %% 900, '"}}')
            WHEN 3 THEN concat('{"internal_ip":{"old":"10.0.', i %% 250, '.', i %% 251, '","new":"10.1.', i %% 252, '.',
                i %% 253, '"}}')
            ELSE concat('{"description":{"old":null,"new":"Moved to row ', i %% 100, ' by ticket ', i %% 99991, '"}}')
            END
        WHEN 'create' THEN concat('{"name":{"old":null,"new":"', kind, '-', object, '"},',
            '"status":{"old":null,"new":"active"},"datacenter_id":{"old":null,"new":', i %% 9,
            '},"internal_ip":{"old":null,"new":"10.2.', i %% 250, '.', i %% 251,
            '"},"memory_gb":{"old":null,"new":', 1 << i %% 9, '},"owner":{"old":null,"new":"team-', i %% 40,
            '"},"created_by_id":{"old":null,"new":', person, '},"tags":{"old":null,"new":[]}}')
        WHEN 'assign' THEN concat('{"status":{"old":"available","new":"assigned"},',
            '"assigned_to_id":{"old":null,"new":', person, '}}')
        ELSE '{}' END,
    concat_ws('.', 10, person %% 3, person %% 17, i %% 40),
    concat('4010', lpad(person %% 3, 3, 0), lpad(person %% 17, 3, 0), lpad(i %% 40, 3, 0)),
    'Mozilla/5.0 (X11; Linux x86_64)', md5(person DIV 3), md5(i), md5(i),
    if(i %% 12 = 0, concat('Ticket ', i %% 99991), NULL), 'generated'
FROM (
    SELECT seq AS i,
        1 + seq * 7919 %% 200 * (seq * 31 %% 200) DIV 200 AS person,
        elt(1 + crc32(seq) %% 20, 'update', 'update', 'update', 'update', 'update', 'update', 'update', 'update',
            'create', 'create', 'create', 'create', 'delete', 'login', 'login', 'login_failed', 'assign', 'release',
            'export', 'denied') AS action,
        elt(1 + crc32(seq * 3) %% 10, 'servers', 'servers', 'servers', 'servers', 'containers', 'containers',
            'containers', 'gpus', 'services', 'assets') AS kind,
        1 + crc32(seq * 5) %% 100000 AS object
    FROM seq_%(first)s_to_%(last)s
) AS made
"""


def fill(database: Scratch, records: int) -> None:
    """Insert the records without indexes and create these afterwards: with them it takes ten times as long."""
    with database.connect() as connection:
        _FILL[database.name](connection, records)
    database.analyze()


def _fill_postgresql(connection: psycopg.Connection, records: int) -> None:
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_logs' AND indexname <> 'pk_audit_logs'"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
    connection.execute(_POSTGRESQL, {"records": records, "seconds": SPAN_SECONDS / records})
    for _, definition in indexes:
        connection.execute(definition)


def _fill_mariadb(connection: pymysql.connections.Connection, records: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT index_name, if(non_unique, '', 'UNIQUE'), group_concat(column_name ORDER BY seq_in_index) "
            "FROM information_schema.statistics WHERE table_schema = database() AND table_name = 'audit_logs' "
            "AND index_name <> 'PRIMARY' GROUP BY index_name, non_unique"
        )
        indexes = list(cursor.fetchall())
        cursor.execute(f"ALTER TABLE audit_logs {', '.join(f'DROP INDEX {name}' for name, _, _ in indexes)}")
        for first in range(1, records + 1, BATCH_RECORDS):
            last = min(first + BATCH_RECORDS - 1, records)
            cursor.execute(_MARIADB, {"first": first, "last": last, "seconds": SPAN_SECONDS / records})
        added = [f"ADD {unique} INDEX {name} ({columns})" for name, unique, columns in indexes]
        cursor.execute(f"ALTER TABLE audit_logs {', '.join(added)}")


_FILL: Mapping[str, Callable[..., None]] = {"postgresql": _fill_postgresql, "mariadb": _fill_mariadb}
