"""Responses with files: written to a temporary file before they are sent, or streamed while they are made."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import quote

from flask import Response, request, stream_with_context
from werkzeug.http import dump_options_header
from werkzeug.wsgi import wrap_file

T = TypeVar("T")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def file_answer(write: Callable[[Path], T], name: str, content_type: str) -> tuple[Response, T]:
    """Write a temporary file and send it; also returns the result of `write`."""
    with TemporaryDirectory(prefix="export-") as directory:
        path = Path(directory, "file")
        written = write(path)
        # The open file can still be read after the directory is deleted.
        file = path.open("rb")
        size = path.stat().st_size
    response = Response(wrap_file(request.environ, file), mimetype=content_type)
    response.call_on_close(file.close)
    response.content_length = size
    return _named(response, name), written


def stream_answer(parts: Iterable[bytes], name: str, content_type: str) -> Response:
    """Stream a file while it is made; an error breaks the connection, so that no client takes a part for the whole."""
    return _named(Response(stream_with_context(parts), mimetype=content_type), name)  # type: ignore[call-overload]


def _named(response: Response, name: str) -> Response:
    names = {"filename": name}
    if not name.isascii():
        # RFC 6266: the name itself, and beside it one for clients that read only ASCII.
        ascii_name = "".join(character if character.isascii() else "_" for character in name)
        names = {"filename": ascii_name, "filename*": f"UTF-8''{quote(name, safe='')}"}
    response.headers["Content-Disposition"] = dump_options_header("attachment", names)
    return response
