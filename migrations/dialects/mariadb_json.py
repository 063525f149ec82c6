"""MariaDB's functions that read JSON, and the terms of changes, as app.audit_logs.change_terms has them."""

from collections.abc import Iterator

from app.core.values import PLAIN_NUMBER
from migrations.dialects.mariadb_texts import TEXT

COMMA = "',' COLLATE utf8mb4_nopad_bin"
"""JSON functions give another collation than ours, and without a word the two cannot be joined."""

PLACE = "'$.' COLLATE utf8mb4_nopad_bin"

# JSON_EXTRACT knows no difference between an absent value and a null that it is asked for; JSON_TYPE does.
_JSON_MEMBER = f"""
CREATE FUNCTION json_member(document {TEXT}, name {TEXT}) RETURNS {TEXT} DETERMINISTIC NO SQL
BEGIN
    DECLARE value {TEXT} DEFAULT JSON_EXTRACT(document, CONCAT({PLACE}, JSON_QUOTE(name)));
    RETURN IF(JSON_TYPE(value) = 'NULL', NULL, JSON_UNQUOTE(value));
END
"""
_JSON_NUMBER = f"""
CREATE FUNCTION json_number(document {TEXT}, name {TEXT}) RETURNS DOUBLE DETERMINISTIC NO SQL
BEGIN
    DECLARE value {TEXT} DEFAULT JSON_EXTRACT(document, CONCAT({PLACE}, JSON_QUOTE(name)));
    DECLARE plain {TEXT} DEFAULT JSON_UNQUOTE(value);
    RETURN IF(
        JSON_TYPE(value) IN ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL') OR JSON_TYPE(value) = 'STRING' AND plain REGEXP '^{PLAIN_NUMBER}\\z',
        CAST(plain AS DOUBLE), NULL
    );
END
"""
_JSON_ENTRIES = f"""
CREATE FUNCTION json_entries(document {TEXT}) RETURNS {TEXT} DETERMINISTIC NO SQL
BEGIN
    DECLARE names {TEXT} DEFAULT JSON_KEYS(document);
    DECLARE made {TEXT} DEFAULT '';
    DECLARE at, number INT DEFAULT 0;
    SET number = COALESCE(JSON_LENGTH(names), 0);
    WHILE at < number DO
        SET made = CONCAT(made, IF(at > 0, ',', ''), '[', JSON_EXTRACT(names, CONCAT('$[', at, ']')), ',',
            JSON_EXTRACT(document, CONCAT({PLACE}, JSON_EXTRACT(names, CONCAT('$[', at, ']')))), ']');
        SET at = at + 1;
    END WHILE;
    RETURN CONCAT('[', made, ']');
END
"""
# A scalar as it is written into a term, and null for a list or an object.
_TERM_VALUE = f"""
CREATE FUNCTION term_value(value {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE plain {TEXT};
    IF value IS NULL OR JSON_TYPE(value) = 'NULL' THEN
        RETURN '';
    END IF;
    IF JSON_TYPE(value) IN ('ARRAY', 'OBJECT') THEN
        RETURN NULL;
    END IF;
    SET plain = JSON_UNQUOTE(value);
    RETURN IF(CHAR_LENGTH(plain) > 64, MD5(fold(plain)), fold(plain));
END
"""
_TERMS_OF_VALUES = f"""
CREATE FUNCTION terms_of_values(name {TEXT}, old {TEXT}, new {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE lost {TEXT} DEFAULT CONCAT('<', term_value(old));
    DECLARE got {TEXT} DEFAULT CONCAT('>', term_value(new));
    RETURN NULLIF(CONCAT_WS({COMMA}, JSON_QUOTE(CONCAT(name, lost)), JSON_QUOTE(CONCAT(name, got)),
        JSON_QUOTE(CONCAT(name, lost, got))), '');
END
"""
_TERMS_OF_MEMBERS = f"""
CREATE FUNCTION terms_of_members(name {TEXT}, mark {TEXT}, these {TEXT}, those {TEXT}) RETURNS {TEXT}
DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE made, member {TEXT} DEFAULT NULL;
    DECLARE at, number INT DEFAULT 0;
    IF JSON_TYPE(these) = 'ARRAY' THEN
        SET number = JSON_LENGTH(these);
    END IF;
    WHILE at < number DO
        SET member = JSON_EXTRACT(these, CONCAT('$[', at, ']'));
        IF NOT (COALESCE(JSON_TYPE(those), '') = 'ARRAY' AND JSON_CONTAINS(those, member)) THEN
            SET made = CONCAT_WS({COMMA}, made, JSON_QUOTE(CONCAT(name, mark, term_value(member))));
        END IF;
        SET at = at + 1;
    END WHILE;
    RETURN made;
END
"""
_TERMS_OF_ENTRIES = f"""
CREATE FUNCTION terms_of_entries(name {TEXT}, old {TEXT}, new {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE was {TEXT} DEFAULT IF(JSON_TYPE(old) = 'OBJECT', old, '{{}}');
    DECLARE became {TEXT} DEFAULT IF(JSON_TYPE(new) = 'OBJECT', new, '{{}}');
    DECLARE names {TEXT} DEFAULT JSON_MERGE_PRESERVE(JSON_KEYS(was), JSON_KEYS(became));
    DECLARE made, place, earlier, later {TEXT} DEFAULT NULL;
    DECLARE at INT DEFAULT 0;
    WHILE at < JSON_LENGTH(names) DO
        SET place = CONCAT({PLACE}, JSON_EXTRACT(names, CONCAT('$[', at, ']')));
        SET earlier = JSON_EXTRACT(was, place), later = JSON_EXTRACT(became, place);
        -- A name that both have is listed twice; the second time, terms are only repeated.
        IF NOT (earlier <=> later) THEN
            SET place = CONCAT(name, '.', JSON_UNQUOTE(JSON_EXTRACT(names, CONCAT('$[', at, ']'))));
            SET made = CONCAT_WS({COMMA}, made, JSON_QUOTE(place), terms_of_values(place, earlier, later),
                terms_of_values(name, earlier, later));
        END IF;
        SET at = at + 1;
    END WHILE;
    RETURN made;
END
"""
_AUDIT_TERMS = f"""
CREATE FUNCTION audit_terms(changes {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE names {TEXT} DEFAULT JSON_KEYS(changes);
    DECLARE made, name, facts, old, new {TEXT} DEFAULT NULL;
    DECLARE at INT DEFAULT 0;
    WHILE at < COALESCE(JSON_LENGTH(names), 0) DO
        SET name = JSON_UNQUOTE(JSON_EXTRACT(names, CONCAT('$[', at, ']')));
        SET facts = JSON_EXTRACT(changes, CONCAT({PLACE}, JSON_QUOTE(name)));
        SET old = JSON_EXTRACT(facts, '$.old'), new = JSON_EXTRACT(facts, '$.new');
        SET made = CONCAT_WS({COMMA}, made, JSON_QUOTE(name), terms_of_values(name, old, new),
            terms_of_members(name, '<', old, new), terms_of_members(name, '>', new, old));
        IF JSON_TYPE(old) = 'OBJECT' OR JSON_TYPE(new) = 'OBJECT' THEN
            SET made = CONCAT_WS({COMMA}, made, terms_of_entries(name, old, new));
        END IF;
        SET at = at + 1;
    END WHILE;
    RETURN CONCAT('[', COALESCE(made, ''), ']');
END
"""


def functions() -> Iterator[str]:
    """What creates the functions, after those of texts."""
    for statement in (
        *(
            _JSON_MEMBER,
            _JSON_NUMBER,
            _JSON_ENTRIES,
            _TERM_VALUE,
            _TERMS_OF_VALUES,
            _TERMS_OF_MEMBERS,
            _TERMS_OF_ENTRIES,
        ),
        _AUDIT_TERMS,
    ):
        yield statement.replace(":", "\\:")


def drop_functions() -> Iterator[str]:
    for name in ("audit_terms", "terms_of_entries", "terms_of_members", "terms_of_values", "term_value"):
        yield f"DROP FUNCTION {name}"
    for name in ("json_entries", "json_number", "json_member"):
        yield f"DROP FUNCTION {name}"
