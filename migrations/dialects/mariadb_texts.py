"""MariaDB's functions that compare, order and search texts, as app.core.values has them.

MariaDB has no Unicode normalization. So `fold` looks at three kinds of characters:
- most texts consist of those for which LOWER gives what `fold` gives, alone and beside each other: they take LOWER;
- one that has another form is replaced by it, from the table `text_letters`;
- where one of them may join with the one before it, as a mark does, the text is decomposed letter by letter, ordered
  and composed, by `text_letters` and `text_pairs`.
"""

# ruff: noqa: S608 - the statements consist of names of ours

import unicodedata
from collections.abc import Collection, Iterator

import sqlalchemy as sa

from app.core.values import CJK, DIGITS, MAX_SORT_KEY, fold

TABLES = ("text_letters", "text_pairs")
"""The tables that the functions read."""
TEXT = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
ROWS_AN_INSERT = 2000
QUICK_RANGE = 40
"""To compile a regular expression of all special letters takes 300 µs a text; of the ranges that have none, 20."""

_HANGUL_VOWELS = range(0x1161, 0x1176)
_HANGUL_ENDS = range(0x11A8, 0x11C3)


def text_functions(connection: sa.Connection) -> Iterator[str]:
    """What creates the functions and their tables, before the tables that index what they give."""
    letters = _letters()
    pairs = _pairs(letters)
    second = {pair[1] for pair in pairs}
    joins = {letter for letter in letters if unicodedata.combining(letter)} | second
    # A letter whose form has a mark in it, or may join with its neighbours.
    joins |= {each for each in letters if joins.intersection(unicodedata.normalize("NFKD", each)[:1])}
    simple = {each: fold(each) for each in letters if each not in joins}
    # LOWER of MySQL loses what follows a letter whose lower case has more bytes.
    longer = {each for each, folded in simple.items() if len(folded.encode()) > len(each.encode())}
    lowered = _lowered(connection, simple.keys() - longer)
    replaced = longer | {each for each in lowered if lowered[each] != simple[each]}
    yield (
        "CREATE TABLE text_letters (letter CHAR(1) NOT NULL PRIMARY KEY, folded VARCHAR(32) NOT NULL, "
        "decomposed VARCHAR(64) NOT NULL, class TINYINT UNSIGNED NOT NULL) "
        "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin"
    )
    yield (
        "CREATE TABLE text_pairs (pair CHAR(2) NOT NULL PRIMARY KEY, composed CHAR(1) NOT NULL) "
        "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin"
    )
    yield from _insertions(
        "text_letters",
        [(each, fold(each), _decomposed(each), unicodedata.combining(each)) for each in sorted(letters)],
    )
    yield from _insertions("text_pairs", sorted(pairs.items()))
    yield _fold_marks()
    yield _fold_unicode(_range(joins), _range(replaced), _range(_long_stretches(joins | replaced)))
    yield (
        f"CREATE FUNCTION fold(t {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA "
        # NULL takes LOWER: as the other argument, it took 100 µs of regular expressions.
        "RETURN IF(LENGTH(t) > CHAR_LENGTH(t), fold_unicode(t), LOWER(t))"
    )
    yield (
        f"CREATE FUNCTION natural_key(t {TEXT}) RETURNS VARCHAR({MAX_SORT_KEY}) CHARACTER SET utf8mb4 "
        "COLLATE utf8mb4_nopad_bin DETERMINISTIC READS SQL DATA "
        f"BEGIN DECLARE folded {TEXT} DEFAULT fold(t); RETURN LEFT({fill_numbers('folded')}, {MAX_SORT_KEY}); END"
    )
    yield (
        f"CREATE FUNCTION search_text(t {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA "
        f"RETURN IF(LENGTH(t) > CHAR_LENGTH(t), REGEXP_REPLACE(fold_unicode(t), '([{CJK}])', ' \\1 '), LOWER(t))"
    )
    yield _ADDRESS_KEY


def drop_text_functions() -> Iterator[str]:
    for name in ("address_key", "search_text", "natural_key", "fold", "fold_unicode", "fold_marks"):
        yield f"DROP FUNCTION {name}"
    for name in TABLES:
        yield f"DROP TABLE {name}"


def fill_numbers(text: str) -> str:
    """The SQL of a folded text with each of its numbers filled to DIGITS digits.

    Each number gets as many zeros as it may have digits, and then loses those from its front that are too many.
    """
    filled = f"REGEXP_REPLACE({text}, '([0-9]+)', '{'0' * DIGITS}\\1')"
    return f"IF({text} REGEXP '[0-9]', REGEXP_REPLACE({filled}, '(?<![0-9])0+(?=[0-9]{{{DIGITS}}})', ''), {text})"


def ipv4_key(address: str) -> str:
    """The SQL of the `address_key` of an IPv4 address."""
    dotted = (address, *(f"SUBSTRING_INDEX({address}, '.', {count})" for count in (2, -2, -1)))
    first, second, third, fourth = (
        f"SUBSTRING_INDEX({part}, '.', {side})" for part, side in zip(dotted, (1, -1, 1, 1), strict=True)
    )
    return f"CONCAT('4', {', '.join(f'LPAD({part}, 3, 0)' for part in (first, second, third, fourth))})"


def _letters() -> set[str]:
    """All letters but those of ASCII that have another form alone, or that join with others."""
    every = (chr(point) for point in range(0x80, 0x110000) if not 0xD800 <= point < 0xE000)
    return {
        each
        for each in every
        if unicodedata.combining(each)
        or fold(each) != each
        or (unicodedata.decomposition(each) and not "\uac00" <= each <= "\ud7a3")
    }


def _decomposed(letter: str) -> str:
    """The letters of one, each in its lower case; but an I, which may yet get a dot."""
    return "".join(_lower(each) for each in unicodedata.normalize("NFKD", letter))


def _lower(letter: str) -> str:
    if letter == "I":
        return letter
    lower = fold(letter)
    return lower if len(lower) == 1 else unicodedata.normalize("NFD", lower)


def _pairs(letters: set[str]) -> dict[str, str]:
    """What two letters are composed to, in lower case."""
    composed = {}
    for letter in letters:
        parts = unicodedata.normalize("NFD", letter)
        if len(parts) > 1 and unicodedata.normalize("NFC", letter) == letter:
            first = unicodedata.normalize("NFC", parts[:-1])
            if len(first) == 1 and unicodedata.normalize("NFC", first + parts[-1]) == letter:
                composed[first + parts[-1]] = letter
    for vowel in _HANGUL_VOWELS:
        for start in range(0x1100, 0x1113):
            pair = chr(start) + chr(vowel)
            composed[pair] = unicodedata.normalize("NFC", pair)
    for syllable in range(0xAC00, 0xD7A4, 28):
        for end in _HANGUL_ENDS:
            pair = chr(syllable) + chr(end)
            composed[pair] = unicodedata.normalize("NFC", pair)
    return {pair: fold(letter) for pair, letter in composed.items() if fold(pair[0]) == pair[0] or pair[0] == "I"}


def _lowered(connection: sa.Connection, letters: Collection[str]) -> dict[str, str]:
    """The lower case of letters as the server has it."""
    text = "\n".join(letters)
    lowered: str = connection.scalar(sa.select(sa.func.lower(sa.literal(text, sa.Text()))))
    return dict(zip(letters, lowered.split("\n"), strict=True))


def _range(letters: set[str]) -> str:
    """A range of a regular expression that has these letters."""
    parts: list[list[int]] = []
    for point in sorted(map(ord, letters)):
        if parts and parts[-1][1] == point - 1:
            parts[-1][1] = point
        else:
            parts.append([point, point])
    return "".join(
        f"\\x{{{first:x}}}-\\x{{{last:x}}}" if first < last else f"\\x{{{first:x}}}" for first, last in parts
    )


def _long_stretches(special: set[str]) -> set[str]:
    """Letters that none of these is near, so that few ranges have most letters that people write."""
    stretches, start = set[str](), 0
    for end in [*sorted(map(ord, special)), 0xD800]:
        if end - start >= QUICK_RANGE and start < 0xD800:
            stretches.update(map(chr, range(start, min(end, 0xD800))))
        start = end + 1
    return stretches


def _insertions(table: str, rows: list[tuple[object, ...]] | list[tuple[str, str]]) -> Iterator[str]:
    for start in range(0, len(rows), ROWS_AN_INSERT):
        values = ", ".join(
            "(" + ", ".join(str(value) if isinstance(value, int) else _literal(str(value)) for value in row) + ")"
            for row in rows[start : start + ROWS_AN_INSERT]
        )
        yield f"INSERT INTO {table} VALUES {values}"


def _literal(text: str) -> str:
    return f"_utf8mb4 X'{text.encode().hex()}'"


def _fold_unicode(joins: str, replaced: str, quick: str) -> str:
    return f"""
CREATE FUNCTION fold_unicode(t {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE one CHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
    IF t NOT REGEXP '[^{quick}]' THEN
        RETURN LOWER(t);
    END IF;
    IF t REGEXP '[{joins}]' THEN
        RETURN fold_marks(t);
    END IF;
    SET one = REGEXP_SUBSTR(t, '[{replaced}]');
    WHILE one <> '' DO
        SET t = REPLACE(t, one, (SELECT folded FROM text_letters WHERE letter = one));
        SET one = REGEXP_SUBSTR(t, '[{replaced}]');
    END WHILE;
    RETURN LOWER(t);
END
"""


def _fold_marks() -> str:
    return f"""
CREATE FUNCTION fold_marks(t {TEXT}) RETURNS {TEXT} DETERMINISTIC READS SQL DATA
BEGIN
    DECLARE source, target, marks, classes, rest {TEXT} DEFAULT '';
    DECLARE start VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin DEFAULT '';
    DECLARE one, joined VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
    DECLARE at, place, number, last INT DEFAULT 1;
    WHILE at <= CHAR_LENGTH(t) DO
        SET one = SUBSTR(t, at, 1);
        SET source = CONCAT(source, COALESCE((SELECT decomposed FROM text_letters WHERE letter = one), IF(one = 'I', one, LOWER(one))));
        SET at = at + 1;
    END WHILE;
    SET at = 1;
    WHILE at <= CHAR_LENGTH(source) + 1 DO
        SET one = SUBSTR(source, at, 1);
        SET number = IF(LENGTH(one) < 2, 0, COALESCE((SELECT class FROM text_letters WHERE letter = one), 0));
        IF number > 0 THEN
            -- Marks in the order of their classes, of which each is one byte.
            SET place = CHAR_LENGTH(marks);
            WHILE place > 0 AND CONV(SUBSTR(classes, 2 * place - 1, 2), 16, 10) > number DO
                SET place = place - 1;
            END WHILE;
            SET marks = CONCAT(LEFT(marks, place), one, SUBSTR(marks, place + 1));
            SET classes = CONCAT(LEFT(classes, 2 * place), LPAD(HEX(number), 2, '0'), SUBSTR(classes, 2 * place + 1));
        ELSE
            SET place = 1, last = 0, rest = '';
            WHILE place <= CHAR_LENGTH(marks) DO
                SET number = CONV(SUBSTR(classes, 2 * place - 1, 2), 16, 10);
                SET joined = NULL;
                IF start <> '' AND last < number THEN
                    SET joined = (SELECT composed FROM text_pairs WHERE pair = CONCAT(start, SUBSTR(marks, place, 1)));
                END IF;
                IF start = 'i' AND rest = '' AND SUBSTR(marks, place, 1) = _utf8mb4 X'CC87' THEN
                    -- No dot above an i.
                    SET joined = start;
                END IF;
                IF joined IS NULL THEN
                    SET rest = CONCAT(rest, SUBSTR(marks, place, 1)), last = number;
                ELSE
                    SET start = joined;
                END IF;
                SET place = place + 1;
            END WHILE;
            SET joined = NULL;
            IF start <> '' AND rest = '' AND one <> '' THEN
                SET joined = (SELECT composed FROM text_pairs WHERE pair = CONCAT(start, one));
            END IF;
            IF joined IS NULL THEN
                SET target = CONCAT(target, IF(start = 'I', 'i', start), rest), start = one;
            ELSE
                SET start = joined;
            END IF;
            SET marks = '', classes = '';
        END IF;
        SET at = at + 1;
    END WHILE;
    RETURN target;
END
"""


# A column of addresses holds canonical ones only.
_ADDRESS_KEY = f"""
CREATE FUNCTION address_key(t VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin)
RETURNS VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin DETERMINISTIC NO SQL
BEGIN
    DECLARE packed VARBINARY(16);
    DECLARE made {TEXT} DEFAULT '6';
    DECLARE at INT DEFAULT 1;
    IF IS_IPV4(t) THEN
        RETURN {ipv4_key("t")};
    END IF;
    SET packed = INET6_ATON(SUBSTRING_INDEX(t, '%', 1));
    IF packed IS NULL THEN
        RETURN NULL;
    END IF;
    WHILE at <= LENGTH(packed) DO
        SET made = CONCAT(made, LPAD(ORD(SUBSTR(packed, at, 1)), 3, '0')), at = at + 1;
    END WHILE;
    RETURN made;
END
"""
