"""A route that will go away announces it in its answers and in the OpenAPI document."""

from datetime import date

import pytest
from flask import Flask, abort

from app import create_app
from app.core.http import api
from app.core.http.access import public
from app.core.http.deprecation import deprecated
from tests.backends import Backend, on_sqlite
from tests.spread import any_database

pytestmark = any_database

blueprint = api.Blueprint("relics", __name__, url_prefix="/api/relics")


@blueprint.get("/<int:number>")
@deprecated(since=date(2027, 1, 1), sunset=date(2027, 7, 1))
@public
@blueprint.response(200)
def show_relic(number: int) -> None:
    """Show a relic."""
    if number != 1:
        abort(404)


@blueprint.post("")
@deprecated(since=date(2027, 1, 1), sunset=date(2027, 7, 1))
@public
@blueprint.response(201)
def make_relic() -> None:
    """Make a relic."""


@blueprint.get("")
@public
@blueprint.response(200)
def list_relics() -> None:
    """List relics."""


@pytest.fixture(scope="module")
def relics(backend: Backend, migrated_app: Flask) -> Flask:
    app = create_app(backend.settings())
    app.extensions["api"].register_blueprint(blueprint)
    return app


@on_sqlite
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/relics/1"), ("POST", "/api/relics"), ("GET", "/api/v1/relics/1")]
)
def test_an_answer_says_since_when_and_until_when(relics: Flask, method: str, path: str) -> None:
    headers = relics.test_client().open(path, method=method).headers
    assert headers["Deprecation"] == "@1798761600"
    assert headers["Sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"


@on_sqlite
@pytest.mark.parametrize("path", ["/api/relics", "/api/relics/2", "/api/health"])
def test_other_answers_say_nothing(relics: Flask, path: str) -> None:
    assert {"Deprecation", "Sunset"}.isdisjoint(relics.test_client().get(path).headers.keys())


@on_sqlite
def test_the_document_says_it(relics: Flask) -> None:
    paths = api.document(relics)["paths"]
    for operation, status in ((paths["/api/relics/{number}"]["get"], "200"), (paths["/api/relics"]["post"], "201")):
        assert operation["deprecated"] is True
        assert {"Deprecation", "Sunset"} <= operation["responses"][status]["headers"].keys()
    assert "deprecated" not in paths["/api/relics"]["get"]


def test_a_route_is_announced_before_it_goes_away() -> None:
    with pytest.raises(ValueError, match="after it is announced"):
        deprecated(since=date(2027, 1, 1), sunset=date(2027, 1, 1))
