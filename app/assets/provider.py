"""Asking an AI provider what a picture shows, by the protocol that OpenAI has made common (chat completions)."""

from base64 import b64encode
from urllib.parse import urlsplit

import orjson
from flask import current_app

from app.assets.pictures import NotAPicture, thumbnail
from app.core.net.http_client import NoAnswer, allowed, fetch, read_url

SECONDS = 20.0
LIMIT = 1024 * 1024
"""Bytes of an answer."""
SIZE = 1024
"""Pixels in each direction that a provider gets to see: more makes it slower, and does not make it see more."""
MAX_DESCRIPTION = 2000
PROMPT = (
    "Describe the piece of equipment in this picture for an inventory, in at most three plain sentences: what it is, "
    "its manufacturer and model, labels and serial numbers where they can be read, and its condition. "
    "Answer with the description only."
)


class NoDescription(Exception):
    """The provider gave none; one sentence, safe to show, says why."""


def is_configured() -> bool:
    return current_app.config["AI_BASE_URL"] is not None


def describe(picture: bytes) -> str:
    """What a picture shows, in a few sentences; takes SECONDS at most. Raises NoDescription."""
    config = current_app.config
    url = _completions(config["AI_BASE_URL"])
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if config["AI_API_KEY"]:
        headers["Authorization"] = f"Bearer {config['AI_API_KEY']}"
    try:
        body = _question(config["AI_MODEL"], thumbnail(picture, SIZE))
        # The operator has named this host by its URL: a model that runs on this machine is admitted too.
        admitted = allowed().with_host(read_url(url).host)
        answer = fetch(url, admitted=admitted, seconds=SECONDS, limit=LIMIT, method="POST", headers=headers, body=body)
    except NotAPicture as problem:
        raise NoDescription(str(problem)) from None
    except NoAnswer as failure:
        raise NoDescription(f"The AI provider did not answer: {failure}") from None
    if answer.status != 200:
        raise NoDescription(f"The AI provider answered {answer.status}.")
    return _read(answer.content)


def _completions(base_url: str) -> str:
    """Where completions are asked for; a base URL without a path is one of a server that has `/v1`, as most do."""
    version = "" if urlsplit(base_url).path else "/v1"
    return f"{base_url}{version}/chat/completions"


def _question(model: str, jpeg: bytes) -> bytes:
    picture = {"url": f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"}
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": picture}]
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": content}], "stream": False})


def _read(content: bytes) -> str:
    """The text of an answer, as it may be stored; raises NoDescription."""
    try:
        text = orjson.loads(content)["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (orjson.JSONDecodeError, LookupError, TypeError):
        raise NoDescription("The AI provider answered with something that is no description.") from None
    printable = "".join(character if character.isprintable() or character == "\n" else " " for character in text)
    description = printable.strip()[:MAX_DESCRIPTION].rstrip()
    if not description:
        raise NoDescription("The AI provider answered with an empty description.")
    return description
