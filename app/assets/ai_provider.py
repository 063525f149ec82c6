"""Client of an AI provider that describes an image (OpenAI's chat completions, which Ollama and others speak too)."""

import re
from base64 import b64encode
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import orjson
from flask import current_app

from app.assets.image_processing import InvalidImage, thumbnail
from app.core.net.http_client import RequestFailed, configured_policy, fetch
from app.core.net.urls import InvalidUrl, host_of
from app.core.values import utcnow

TIMEOUT_SECONDS = 20.0
MAX_RESPONSE_BYTES = 1024 * 1024
IMAGE_PIXELS = 1024
"""Width and height at most of the image that is sent: larger ones take longer and are not described better."""
MAX_DESCRIPTION_CHARS = 2000
PROMPT = (
    "Describe the piece of equipment in this picture for an inventory, in at most three plain sentences: what it is, "
    "its manufacturer and model, labels and serial numbers where they can be read, and its condition. "
    "Answer with the description only."
)


class DescriptionFailed(Exception):
    """There is no description; the message is one sentence that may be shown to the user."""


class ProviderBusy(DescriptionFailed):
    """The provider cannot answer now (429, 5xx) and may be asked again, after as long as it says, if it does."""

    def __init__(self, status: int, retry_after: timedelta | None) -> None:
        super().__init__(f"The AI provider answered {status}.")
        self.retry_after = retry_after


def is_configured() -> bool:
    return current_app.config["AI_BASE_URL"] is not None


def describe_image(content: bytes) -> str:
    """A description of an image in a few sentences; takes TIMEOUT_SECONDS at most.

    Raises DescriptionFailed; its subclass ProviderBusy says that it may be asked again.
    """
    config = current_app.config
    url = _completions_url(config["AI_BASE_URL"])
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if config["AI_API_KEY"]:
        headers["Authorization"] = f"Bearer {config['AI_API_KEY']}"
    try:
        body = _request_body(config["AI_MODEL"], thumbnail(content, IMAGE_PIXELS))
        # The operator has configured this host, so it is allowed even if it is private, such as a local model.
        policy = configured_policy().with_host(host_of(url))
        response = fetch(
            url,
            policy=policy,
            timeout_seconds=TIMEOUT_SECONDS,
            max_bytes=MAX_RESPONSE_BYTES,
            method="POST",
            headers=headers,
            body=body,
        )
    except InvalidImage as error:
        raise DescriptionFailed(str(error)) from None
    except (RequestFailed, InvalidUrl) as failure:
        raise DescriptionFailed(f"The AI provider did not answer: {failure}") from None
    if response.status == 429 or response.status >= 500:
        raise ProviderBusy(response.status, read_retry_after(response.headers.get("Retry-After")))
    if response.status != 200:
        raise DescriptionFailed(f"The AI provider answered {response.status}.")
    return _parse(response.content)


def read_retry_after(text: str | None) -> timedelta | None:
    """How long a Retry-After header asks to wait (RFC 9110, 10.2.3): seconds or a date; None if it cannot be read."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return timedelta(seconds=int(text))
    try:
        return max(parsedate_to_datetime(text) - utcnow(), timedelta(0))
    except (ValueError, TypeError, OverflowError):
        return None


def _completions_url(base_url: str) -> str:
    """The endpoint below a base URL; one without a path gets `/v1`, as most servers have it."""
    version = "" if urlsplit(base_url).path else "/v1"
    return f"{base_url}{version}/chat/completions"


def _request_body(model: str, jpeg: bytes) -> bytes:
    image = {"url": f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"}
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": image}]
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": content}], "stream": False})


def _parse(content: bytes) -> str:
    """The description in a response, without control characters; raises DescriptionFailed."""
    try:
        text = orjson.loads(content)["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (orjson.JSONDecodeError, LookupError, TypeError):
        raise DescriptionFailed("The AI provider's response contains no description.") from None
    printable = "".join(character if character.isprintable() or character == "\n" else " " for character in text)
    description = printable.strip()[:MAX_DESCRIPTION_CHARS].rstrip()
    if not description:
        raise DescriptionFailed("The AI provider's response contains an empty description.")
    return description
