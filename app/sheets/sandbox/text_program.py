"""The sandboxed program that reads delimited text (.csv), and detects its encoding, delimiter and line ends.

Prints `{"sheet": <name>, "text": {"encoding", "delimiter", "line_end"}}`, then an array for each record.
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

from app.sheets.sandbox.encoding_detection import is_sure, readings, samples
from app.sheets.sandbox.process import MAX_ROWS, Options, Output, RefusedFile, Row, without_blank_rows

CHUNK_BYTES = 1 << 18
SAMPLE_BYTES = 1 << 16
SAMPLE_RECORDS = 100
MAX_LINE = 1 << 22
DELIMITERS = ",;\t|"
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

ESCAPED = re.compile(r"'+[=+\-@\t\r]")
"""Text that an export has escaped with an apostrophe, so that a spreadsheet does not read it as a formula."""


def run(options: Options, output: Output) -> None:
    """Print the records as the rows of one sheet."""
    path = Path(options["path"])
    encoding = find_encoding(path, options["encoding"])
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE_BYTES)
    declared = _declared_delimiter(sample)
    delimiter = declared or find_delimiter(sample)
    text = {"encoding": encoding, "delimiter": delimiter, "line_end": find_line_end(sample)}
    output.begin(options["sheet"], text=text)
    with path.open(encoding=encoding, newline="") as file:
        # A spreadsheet does not show the line `sep=;`, so it does not count as a row.
        for row in without_blank_rows(read_records(islice(_lines(file), 1 if declared else 0, None), delimiter)):
            output.write(row)


def find_encoding(path: Path, named: str | None) -> str:
    """The encoding that decodes the whole file.

    Raises RefusedFile if it is not text, not in the named encoding, or in one that cannot be told from another.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _readable(path, encoding)
    if named is not None and named != "utf-16":
        return _readable(path, named)
    if b"\0" in head:
        return _readable(path, _unmarked_utf_16(head))
    if _decodes(path, "utf-8"):
        return "utf-8"
    sample = _non_ascii_lines(path)
    if _is_damaged_utf_8(sample):
        raise RefusedFile("damaged_text", encoding="UTF-8")
    possible = [reading for reading in readings(sample) if _decodes(path, reading.encoding)]
    if not possible:
        raise RefusedFile("not_text", content="contains bytes that are not text")
    if not is_sure(possible):
        names = ", ".join(reading["encoding"] for reading in samples(possible))
        raise RefusedFile("ambiguous_encoding", encodings=names, candidates=samples(possible))
    return possible[0].encoding


def _readable(path: Path, encoding: str) -> str:
    if not _decodes(path, encoding):
        raise RefusedFile("damaged_text", encoding=encoding.removesuffix("-sig").upper())
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
    """The byte order of UTF-16 without a mark: ASCII characters have a zero in one of their two bytes."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) * 10 > max(even, odd) or max(even, odd) * 20 < len(head):
        raise RefusedFile("not_text", content="contains bytes that are not text")
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
    """Whether the text is UTF-8 except for a few bytes; decoded otherwise, all of it would be garbled."""
    text = sample.decode("utf-8", errors="replace")
    bad = text.count("\ufffd")
    return sum(not letter.isascii() for letter in text) > 10 * bad


def _declared_delimiter(sample: str) -> str | None:
    """The delimiter in a first line `sep=;`, as Excel writes and reads it."""
    first = sample.split("\n", 1)[0].rstrip("\r").strip('"')
    return first[4] if len(first) == 5 and first.lower().startswith("sep=") else None


def find_delimiter(sample: str) -> str:
    """The delimiter with which most records have the same number of columns; of several, the one with most columns."""
    # The last line of the sample may be cut off.
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
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise RefusedFile("too_long_line")
        if "\0" in line:
            raise RefusedFile("not_text", content="contains bytes that are not text")
        yield line


def read_records(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """Yield the cells of each record, None for an empty one, without the apostrophes that escape formulas."""
    # Without `strict`, a quotation mark that is not closed would swallow all rows after it.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for number, record in enumerate(reader):
            if number == MAX_ROWS:
                raise RefusedFile("too_many_rows")
            yield [(cell[1:] if cell[0] == "'" and ESCAPED.match(cell) else cell) if cell else None for cell in record]
    except csv.Error as error:
        raise RefusedFile("bad_quotes", line=reader.line_num) from error
