"""Responses with files: written to a temporary file before they are sent, or streamed while they are made."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import quote

from flask import Response, request, stream_with_context
from werkzeug.datastructures import MultiDict
from werkzeug.http import dump_options_header
from werkzeug.wsgi import wrap_file

from app.core.errors import BadParameter
from app.core.messages import tr

T = TypeVar("T")

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def read_format(content_types: Mapping[str, str]) -> tuple[str, MultiDict[str, str]]:
    """Which of these kinds of file a request asks for, and its other parameters; the first kind if it names none.

    Raises BadParameter.
    """
    kinds = request.args.getlist("format") or [next(iter(content_types))]
    if len(kinds) > 1 or kinds[0] not in content_types:
        choices = ", ".join(content_types)
        message = tr("{parameter} must be one of {choices}.", rule="choice", parameter="format", choices=choices)
        raise BadParameter(message, parameter="format")
    return kinds[0], MultiDict(each for each in request.args.items(multi=True) if each[0] != "format")


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
