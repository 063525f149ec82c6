"""The program that prints delimited text (.csv), whose encoding, delimiter and line ends it finds out.

It prints `{"sheet": <name>, "text": {"encoding", "delimiter", "line_end"}}`, then an array for each record.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TextIO

from charset_normalizer import from_bytes

from app.sheets.sandbox.process import MOST_ROWS, Options, Output, Refused, Row, without_blank_ends

CHUNK_BYTES = 1 << 18
SAMPLE_BYTES = 1 << 16
SAMPLE_RECORDS = 100
LONGEST_LINE = 1 << 22
DELIMITERS = ",;\t|"
# Longer ones begin like shorter ones, and what comes first wins.
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
LEGACY = ("gb18030", "cp932", "big5", "cp1252")
"""What spreadsheets save as where they do not save Unicode; the last resort, Latin-1, has a letter for every byte."""

ESCAPED = re.compile(r"'+[=+\-@\t\r]")
"""How an export writes a text that a spreadsheet would take for a formula."""


def run(options: Options, output: Output) -> None:
    """Print the records as the rows of one sheet."""
    path = Path(options["path"])
    encoding = find_encoding(path)
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE_BYTES)
    declared = _declared_delimiter(sample)
    delimiter = declared or find_delimiter(sample)
    found = {"encoding": encoding, "delimiter": delimiter, "line_end": find_line_end(sample)}
    output.begin(options["sheet"], text=found)
    with path.open(encoding=encoding, newline="") as file:
        # The rows keep the numbers that the spreadsheet shows, and it does not show this line.
        for row in without_blank_ends(read_records(islice(_lines(file), 1 if declared else 0, None), delimiter)):
            output.write(row)


def find_encoding(path: Path) -> str:
    """The name of the encoding in which the whole file can be read; raises `Refused` where it is no text."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return _readable(path, encoding)
    if b"\0" in head:
        return _readable(path, _unmarked_utf_16(head))
    if _decodes(path, "utf-8"):
        return "utf-8"
    sample = _non_ascii_lines(path)
    if _is_damaged_utf_8(sample):
        raise Refused("damaged_text", encoding="UTF-8")
    best = from_bytes(sample, cp_isolation=list(LEGACY)).best()
    likely = [best.encoding] if best else []
    return next((name for name in (*likely, *LEGACY) if _decodes(path, name)), "latin-1")


def _readable(path: Path, encoding: str) -> str:
    if not _decodes(path, encoding):
        raise Refused("damaged_text", encoding=encoding.removesuffix("-sig").upper())
    return encoding


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _unmarked_utf_16(head: bytes) -> str:
    """Tell the byte order by the zeros, which delimiters and digits have in one half of theirs."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) * 10 > max(even, odd) or max(even, odd) * 20 < len(head):
        raise Refused("not_text")
    return "utf-16-le" if odd > even else "utf-16-be"


def _non_ascii_lines(path: Path) -> bytes:
    lines: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        while size < SAMPLE_BYTES and (line := file.readline(SAMPLE_BYTES)):
            if not line.isascii():
                lines.append(line)
                size += len(line)
    return b"".join(lines)


def _is_damaged_utf_8(sample: bytes) -> bool:
    """Whether it is UTF-8 but for a few bytes: another encoding would make nonsense of all the rest."""
    text = sample.decode("utf-8", errors="replace")
    bad = text.count("\ufffd")
    return sum(not letter.isascii() for letter in text) > 10 * bad


def _declared_delimiter(sample: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as Excel writes and reads it."""
    first = sample.split("\n", 1)[0].rstrip("\r").strip('"')
    return first[4] if len(first) == 5 and first.lower().startswith("sep=") else None


def find_delimiter(sample: str) -> str:
    """The delimiter that gives the most records one width, and of several the one that gives the most columns."""
    # The last line may have been cut.
    lines = sample.splitlines(keepends=True)
    text = "".join(lines[:-1] if len(lines) > 1 else lines)

    def regularity(delimiter: str) -> tuple[float, int]:
        widths: Counter[int] = Counter()
        try:
            for record in islice(csv.reader(StringIO(text, newline=""), delimiter=delimiter), SAMPLE_RECORDS):
                widths[len(record)] += bool(record)
        except csv.Error:
            return 0.0, 0
        width, records = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return (records / widths.total(), width) if width > 1 else (0.0, 0)

    return max(DELIMITERS, key=regularity)


def find_line_end(sample: str) -> str:
    return next((name for end, name in (("\r\n", "CRLF"), ("\n", "LF"), ("\r", "CR")) if end in sample), "none")


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise Refused("too_long_line")
        if "\0" in line:
            raise Refused("not_text")
        yield line


def read_records(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Yield the cells of each record, None for an empty one, without what only kept them from being formulas."""
    # A quotation mark that is never closed would swallow all the rows after it: strictly, it is a mistake.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for number, record in enumerate(reader):
            if number == MOST_ROWS:
                raise Refused("too_many_rows")
            yield [(cell[1:] if cell[0] == "'" and ESCAPED.match(cell) else cell) if cell else None for cell in record]
    except csv.Error as error:
        raise Refused("bad_quotes", line=reader.line_num) from error
