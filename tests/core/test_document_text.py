"""How openapi.json is written: a change of the API is a change of few lines."""

import orjson

from app.core.http.openapi.viewers import as_lines


def test_what_fits_on_a_line_stands_on_one() -> None:
    value = {"short": {"$ref": "#/a"}, "long": ["x" * 70, "y" * 70], "empty": {}}
    assert as_lines(value).splitlines() == [
        "{",
        ' "short": {"$ref": "#/a"},',
        ' "long": [',
        f'  "{"x" * 70}",',
        f'  "{"y" * 70}"',
        " ],",
        ' "empty": {}',
        "}",
    ]
    assert orjson.loads(as_lines(value)) == value
