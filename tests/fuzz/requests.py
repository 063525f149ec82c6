"""Requests that are generated from the OpenAPI document, and changed by hostile values."""

import itertools
import string
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NotSet

import config
from tests.client import PASSWORD
from tests.fuzz import hostile
from tests.fuzz.known import Known
from tests.images import encoded_image
from tests.openapi import JSON, Document, Operation

OBJECTS = 6
"""Ids from 1 to here are those of objects that existed at first."""
OWNERS = {"to": "users", "created_by_id": "users", "assigned_to_id": "users", "ids": "", "items": "", "id": ""}
"""Of which collection a member names an object, where its name does not say so; empty: that of the operation."""
EVERYWHERE = ("lang", "reason", "X-Audit-Reason", "If-Match", "If-None-Match", "Idempotency-Key")
"""Parameters of many operations, which need not be tried with each of them."""
CALLERS = ("admin",) * 7 + ("user",) * 2 + ("anonymous",)
FORM_DATA = "multipart/form-data"


class Request(NamedTuple):
    operation: Operation
    caller: str
    """`admin`, `user`, `anonymous`, or `refresh`: with a refresh token in the headers."""
    target: str
    """Path and query, percent-encoded."""
    parameters: tuple[str, ...]
    """The names in the query."""
    headers: Mapping[str, bytes]
    body: bytes

    def __str__(self) -> str:
        headers = "".join(f" -H {name!r}: {value!r}" for name, value in self.headers.items())
        return f"{self.caller}: {self.operation.method.upper()} {self.target}{headers} {self.body[:2000]!r}"


def generate(document: Document, known: Known, number: int, *, cases: int) -> Iterator[Request]:
    """An endless sequence of requests, some to each operation in turn; the same number and answers give the same one.

    Of an operation's `cases`, the first is a minimal one. Each is sent as it is, and with hostile values.
    """
    for turn, strategy in _turns(document, known, number):
        yield from itertools.chain.from_iterable(_drawn(strategy, turn, cases))


def generate_few(document: Document, known: Known, number: int) -> Iterator[Request]:
    """Two requests to each operation: a minimal one, and one with hostile values."""
    for turn, strategy in itertools.islice(_turns(document, known, number), len(document.operations)):
        (minimal, _), (_, changed) = _drawn(strategy, turn, 2)
        yield from (minimal, changed)


def _turns(document: Document, known: Known, number: int) -> Iterator[tuple[int, st.SearchStrategy[list[Request]]]]:
    loaded = schemathesis.openapi.from_dict(dict(document.spec))
    strategies = [_requests_to(document, known, operation.ok()) for operation in loaded.get_all_operations()]
    for turn in itertools.count(number * 1_000_000):
        order = list(strategies)
        Random(turn).shuffle(order)
        yield from ((turn, strategy) for strategy in order)


def _drawn(strategy: st.SearchStrategy[list[Request]], number: int, count: int) -> list[list[Request]]:
    drawn: list[list[Request]] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(requests: list[Request]) -> None:
        drawn.append(requests)

    draw()
    return drawn


def _requests_to(document: Document, known: Known, operation: Any) -> st.SearchStrategy[list[Request]]:
    """The variants of a request to an operation; two of three requests are generated as documented."""
    modes = (GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
    target = Operation(operation.path, operation.method.lower())
    parameters = map(document.resolve, document.operations[target].get("parameters", ()))
    required = {parameter["name"] for parameter in parameters if parameter.get("required")}
    names = sorted(document.query_parameters(target)) + list(hostile.PARAMETERS)
    members = frozenset(document.required_members(target))

    def variants(case: Any, chance: Random) -> list[Request]:
        mutation = _Mutation(chance, target, names, required, members, known)
        return [mutation.of(case, is_hostile) for is_hostile in (False, True)]

    return st.builds(variants, cases, st.randoms(use_true_random=True))


class _Mutation:
    def __init__(
        self,
        chance: Random,
        operation: Operation,
        names: list[str],
        required: set[str],
        members: frozenset[str],
        known: Known,
    ) -> None:
        self.chance = chance
        self.operation = operation
        self.names = names
        self.required = required
        self.members = members
        self.known = known

    def of(self, case: Any, is_hostile: bool) -> Request:
        query = self._query(case.query, is_hostile)
        headers = {
            name: _header(value)
            for name, value in (case.headers or {}).items()
            if name in hostile.HEADERS and self._is_kept(name)
        }
        if is_hostile and self._in(3):
            headers[self.chance.choice(hostile.HEADERS)] = _header(self.chance.choice(hostile.TEXTS))
        body = b""
        caller = self.chance.choice(CALLERS)
        if self.operation.path == "/api/auth/refresh" and self.known.refresh_token:
            caller = "refresh"
            headers["Authorization"] = f"Bearer {self.known.refresh_token}".encode()
        if "/browser/" in self.operation.path and not self._in(4):
            headers["Sec-Fetch-Site"] = b"same-origin"
        if not isinstance(case.body, NotSet):
            content_type, body = self._body(case.media_type, case.body, is_hostile)
            headers.setdefault("Content-Type", content_type.encode())
        target = self._path(case.path_parameters or {}, is_hostile)
        if query:
            target += "?" + "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in query)
        parameters = tuple(name for name, _ in query)
        return Request(self.operation, caller, target, parameters, headers, body)

    def _in(self, count: int) -> bool:
        """True once in `count` times."""
        return self.chance.randrange(count) == 0

    def _is_kept(self, name: str) -> bool:
        """Whether a generated parameter is sent: most are wrong often enough to hide all that comes after them."""
        return name in self.required or self._in(8 if name in EVERYWHERE else 2)

    def _path(self, parameters: Mapping[str, Any], is_hostile: bool) -> str:
        path = self.operation.path
        if not self._in(8):
            path = self.known.path(path, self.chance)
        for _, name, _, _ in list(string.Formatter().parse(path)):
            if name is None:
                continue
            value = str(parameters[name])
            if name.endswith("_id") and not self._in(8):
                value = str(self.chance.randint(1, OBJECTS))
            elif is_hostile and self._in(2):
                value = self.chance.choice(hostile.TEXTS)
            path = path.replace(f"{{{name}}}", _quoted(value))
        return path

    def _query(self, generated: Mapping[str, Any] | None, is_hostile: bool) -> list[tuple[str, str]]:
        query = [
            (str(name), str(one if is_hostile else self._useful(str(name), one)))
            for name, value in (generated or {}).items()
            if self._is_kept(str(name))
            for one in (value if isinstance(value, list) else [value])
        ]
        if is_hostile and (self.operation.method == "get" or self._in(4)):
            names = self.chance.sample(self.names, self.chance.randint(1, 2))
            query += [(name, self.chance.choice(hostile.TEXTS)) for name in names]
        return query

    def _body(self, media_type: str, generated: Any, is_hostile: bool) -> tuple[str, bytes]:
        if media_type == FORM_DATA:
            return self._form(generated if isinstance(generated, dict) else {}, is_hostile)
        if is_hostile and self._in(10):
            return JSON, self.chance.choice(hostile.BODIES)
        if isinstance(generated, dict):
            generated = self._in_part(generated)
            if not is_hostile and not self._in(4):
                generated = self._completed(generated)
        return JSON, hostile.as_json(self._changed(generated, is_hostile))

    def _completed(self, generated: dict[str, Any]) -> dict[str, Any]:
        """A body with the members that an operation needs and its schema does not say."""
        path = self.operation.path
        if path.endswith("/login") and self.known.username:
            return {"username": self.known.username, "password": PASSWORD}
        if path.endswith("/bulk"):
            items = generated.get("items") or ([1] if self.operation.method == "delete" else [{"id": 1}])
            return {"mode": "partial", "items": items}
        if path == "/api/services" and not generated.get("container_id"):
            return {**generated, "container_id": None, "server_id": 1}
        return generated

    def _in_part(self, generated: Mapping[str, Any]) -> dict[str, Any]:
        """A body without some of its optional members: one that is wrong hides what the others do."""
        is_kept = {name: name in self.members or self._in(3) for name in generated}
        if self._in(3) or not any(is_kept.values()):
            return dict(generated)
        return {name: value for name, value in generated.items() if is_kept[name]}

    def _form(self, generated: Mapping[str, Any], is_hostile: bool) -> tuple[str, bytes]:
        files = (
            ("fleet.xlsx", (config.ROOT / "samples" / "fleet.xlsx").read_bytes()),
            ("mistakes.xlsx", (config.ROOT / "samples" / "mistakes.xlsx").read_bytes()),
            ("servers.csv", b"name,rack,attributes\nfuzz-1,R1,\xff\xfe\nfuzz-2,=1+1,\0\n"),
            ("picture.png", encoded_image("PNG")),
            (self.chance.choice(hostile.TEXTS), self.chance.choice(hostile.BODIES)),
        )
        form: dict[str, Any] = {}
        for name, value in generated.items():
            if isinstance(value, bytes) or name in ("file", "image"):
                form[name] = self.chance.choice(files)
            else:
                form[name] = self.chance.choice(hostile.TEXTS) if is_hostile and self._in(3) else str(value)
        encoded = {
            name: tuple(map(_bytes, value)) if isinstance(value, tuple) else _bytes(value)
            for name, value in form.items()
        }
        fields = [
            urllib3.fields.RequestField(
                _printable(name),
                value[1] if isinstance(value, tuple) else value,
                _printable(value[0].decode(errors="replace")) if isinstance(value, tuple) else None,
            )
            for name, value in encoded.items()
        ]
        for field in fields:
            field.make_multipart()
        body, content_type = urllib3.encode_multipart_formdata(fields, boundary="a-boundary-that-no-value-contains")
        return content_type, body

    def _changed(self, value: Any, is_hostile: bool, name: str = "") -> Any:
        """The value with its members: all are plausible, or some are hostile."""
        if not is_hostile and isinstance(value, dict | list) and name in hostile.KNOWN:
            return self._useful(name, value)
        if isinstance(value, dict):
            members = {key: self._changed(member, is_hostile, str(key)) for key, member in value.items()}
            if is_hostile and self._in(6):
                key = self.chance.choice(list(hostile.FIELDS))
                members[key] = hostile.FIELDS[key]
            return members
        if isinstance(value, list):
            return [self._changed(member, is_hostile, name) for member in value[:50]]
        if is_hostile and self._in(4):
            return self.chance.choice(hostile.VALUES)
        return self._useful(name, value)

    def _useful(self, name: str, value: Any) -> Any:
        """A generated value, or one with which the request has a better chance."""
        is_reference = name in OWNERS or name.endswith("_id")
        if is_reference and isinstance(value, int) and not self._in(6):
            collection = OWNERS.get(name, f"{name.removesuffix('_id')}s") or self.operation.path.split("/")[2]
            return self.known.id_of(collection, self.chance) or self.chance.randint(1, OBJECTS)
        if self.operation.path.endswith("/login"):
            return value
        if name in hostile.KNOWN and value is not None and not self._in(4):
            return self.chance.choice(hostile.KNOWN[name])
        if isinstance(value, str):
            return _printable(value)
        return value


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


def _quoted(text: str) -> str:
    return quote(_bytes(text), safe="")


def _header(value: Any) -> bytes:
    """As a header value can be sent at all: the server itself refuses control characters, without an envelope."""
    return bytes(byte for byte in _bytes(value) if byte >= 32 and byte != 127)[:4000]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
