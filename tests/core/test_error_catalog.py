"""Every reason of an error is in one catalogue, which the document and the documentation show."""

from app.cli import ERRORS
from app.core.error_catalog import as_page, catalog
from app.core.errors import Taken
from tests.client import Client
from tests.openapi import Document


def test_the_document_has_an_enumeration_of_all_reasons(document: Document) -> None:
    reasons = document.spec["components"]["schemas"]["Reason"]["enum"]

    assert reasons == list(catalog())
    assert {"taken", "gpu_not_available", "old_excel", "unknown_sort_column"} <= set(reasons)


def test_a_failure_of_the_document_lists_the_reasons_of_its_status(document: Document) -> None:
    conflict = document.spec["components"]["responses"]["Conflict"]

    assert Taken.reason in conflict["x-reasons"]
    assert "wrong_credentials" not in conflict["x-reasons"]


def test_an_answer_with_another_reason_would_contradict_the_document(user: Client, document: Document) -> None:
    body = user.call("GET", "/api/servers?sort=nam", expect=400)

    assert body["data"]["reason"] in document.spec["components"]["responses"]["BadRequest"]["x-reasons"]


def test_the_page_of_errors_is_current(document: Document) -> None:
    assert ERRORS.read_text() == as_page(), "Run `flask openapi`."
