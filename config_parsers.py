"""An environs reader over a mapping of variables, with the parsers that our settings need and environs lacks."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from email.utils import parseaddr
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import limits
from environs import Env, ValidationError, validate
from environs.exceptions import EnvValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

MARIADB_DRIVER = "mariadb+pymysql"
MARIADB_SCHEMES = frozenset({"mysql", "mariadb", "mysql+pymysql", MARIADB_DRIVER})
"""How a URL of MariaDB may begin; all mean the one driver."""

Default = str | Callable[[Path], str]
"""A default, written as in .env, or a function of the project's root that returns it."""


class Environment(Env):
    """environs with our parsers, on a mapping instead of os.environ; parsers read defaults too."""

    def __init__(self, environ: Mapping[str, str], root: Path, defaults: Mapping[str, Default]) -> None:
        super().__init__(eager=False)
        # `NAME=` in .env and an empty value passed on by compose.yaml mean "not set".
        self.given = {name: value for name, value in environ.items() if value.strip()}
        self._root, self._defaults = root, defaults
        for name, parser in PARSERS.items():
            self.add_parser(name, partial(self._parse, parser))
        for name, path_parser in PATH_PARSERS.items():
            self.add_parser(name, partial(self._parse, partial(path_parser, root)))

    def _get_value(self, env_key: str, default: Any) -> Any:
        # environs' own FileAwareEnv overrides this method, too.
        return self.given.get(env_key, self._defaults.get(env_key, default))

    def _parse(self, parser: Callable[..., Any], value: str | Default | None, **options: Any) -> Any:
        if value is None:
            return None
        value = value(self._root) if callable(value) else value
        return parser(value if parser is key else value.strip(), **options)

    def errors(self) -> Iterator[tuple[str, str]]:
        try:
            self.seal()
        except EnvValidationError as error:
            messages: Any = error.error_messages
            for variable, reasons in messages.items():
                yield from ((variable, reason) for reason in reasons)


# The parsers return the value of a setting, or raise ValidationError with the end of a sentence that begins with the
# variable. Except for keys, spaces around a text are removed first.

text = validate.Predicate("isprintable", error="must not contain line breaks or control characters")
header = validate.Regexp(r"[!-~]+\Z", error="must be ASCII without spaces, because it is sent in a header")
utf_8 = validate.Regexp(r"[^\ud800-\udfff]*\Z", error="must be UTF-8")
redis_prefix = validate.Regexp(r"[A-Za-z0-9_.-]{1,40}\Z", error="must be 1 to 40 letters, digits, and . _ - only")


def flag(value: str) -> bool:
    meanings = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
    if value.lower() not in meanings:
        raise ValidationError("must be true or false")
    return meanings[value.lower()]


def number(value: str, *, low: int, high: int) -> int:
    # int() alone takes "1_0", "+1" and the digits of every script; the length keeps it cheap.
    if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
        raise ValidationError(f"must be a whole number from {low} to {high}")
    return int(value)


def duration(value: str, *, unit: str, high: int) -> timedelta:
    return timedelta(**{unit: number(value, low=1, high=high)})


def choice(value: str, *, among: Sequence[str]) -> str:
    matches = [name for name in among if name.lower() == value.lower()]
    if not matches:
        raise ValidationError(f"must be one of {', '.join(among)}")
    return matches[0]


def rate(value: str) -> str:
    try:
        limits.parse(text(value))
    except ValueError:
        raise ValidationError('must be a rate such as "300 per minute"') from None
    return value


def key(value: str) -> str:
    # os.environ has surrogates for bytes that are not UTF-8.
    if len(value.encode("utf-8", "surrogateescape")) < 32:
        raise ValidationError("must be at least 32 bytes long")
    return value


def items(value: str, *, item: Callable[[str], str]) -> tuple[str, ...]:
    """Return the parts of a list with commas, each once."""
    return tuple(dict.fromkeys(item(part) for part in map(str.strip, value.split(",")) if part))


def origin(value: str) -> str:
    if not re.fullmatch(r"\*|https?://(\[[0-9a-f:.]+\]|[^][\s/?#@:]+)(:[0-9]{1,5})?", value, re.IGNORECASE):
        form = "http(s)://host or http(s)://host:port with nothing after it"
        raise ValidationError(f"contains {value!r}, but an origin is {form}")
    # Browsers send lower case, and origins are compared exactly.
    return value.lower()


def network_or_host(value: str) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_network(value))
    with suppress(ValueError):
        network = ipaddress.ip_network(value, strict=False)
        raise ValidationError(f"contains {value!r}, which is an address within the network {network}")
    # A name whose last label is a number is a mistyped address.
    if not re.fullmatch(r"(?!(.*\.)?[0-9]+\Z)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63})*", value.lower()):
        form = "a network such as 10.0.0.0/8, an address or a host name"
        raise ValidationError(f"contains {value!r}, but an entry is {form}")
    return value.lower()


def mailbox(value: str) -> str:
    local, _, domain = parseaddr(text(value))[1].rpartition("@")
    # Flask-Mail cannot send from an address that is not ASCII.
    if not (local and domain and (local + domain).isascii()) or " " in local + domain:
        raise ValidationError("must be an e-mail address")
    return value


def service_url(value: str, *, schemes: Sequence[str] = ("http", "https"), plain: bool = False) -> str:
    """Return a URL; a plain one has no user, query and fragment, so that a path can be appended."""
    try:
        parts = urlsplit(text(value).rstrip("/"))
        # Reading `port` raises ValueError where it is not a number.
        target = parts.path if parts.scheme == "unix" else (parts.port, parts.hostname)[1]
    except ValueError:
        target = None
    if not target or parts.scheme not in schemes or " " in value:
        raise ValidationError(f"must be a URL, {' or '.join(f'{scheme}://…' for scheme in schemes)}")
    if plain and (parts.username is not None or parts.query or parts.fragment):
        raise ValidationError("must be a URL without user, password, query and fragment")
    return value.rstrip("/")


def bucket(value: str) -> str:
    """Return the URL of a bucket, with the prefix of its objects."""
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?", value):
        raise ValidationError("must be s3://bucket or s3://bucket/prefix")
    if find_spec("obstore") is None:
        raise ValidationError("needs obstore: run `pip install -r requirements-s3.txt`")
    return value.rstrip("/")


def host(value: str) -> str:
    """Return an IP address: the server does not take names."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(value))
    try:
        return socket.gethostbyname(value)
    except (OSError, UnicodeError):
        raise ValidationError("must be an IP address of this machine, or a name for one") from None


def database(root: Path, value: str, *, password: str | None = None) -> str:
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in {"sqlite", "postgresql", "postgresql+psycopg", *MARIADB_SCHEMES}:
        forms = "postgresql://user:password@host/name, mysql://user:password@host/name or sqlite:///path"
        raise ValidationError(f"must be a URL, {forms}")
    if url.drivername in MARIADB_SCHEMES:
        url = mariadb(root, url)
        return (url if password is None else url.set(password=password)).render_as_string(hide_password=False)
    name = url.database or ":memory:"
    if url.drivername != "sqlite" and password is not None:
        return url.set(password=password).render_as_string(hide_password=False)
    if url.drivername != "sqlite" or name == ":memory:" or name.startswith("file:"):
        return value
    parent = (root / name).parent
    # Only below the project: a mistyped path elsewhere must create nothing.
    if not parent.is_relative_to(root) and not parent.is_dir():
        raise ValidationError(f"must be in a directory that exists, but there is no {parent}")
    path = directory(root, str(parent)) / Path(name).name
    if path.is_dir():
        raise ValidationError(f"must name a file, but {path} is a directory")
    return url.set(database=str(path)).render_as_string(hide_password=False)


def mariadb(root: Path, url: URL) -> URL:
    """Return the URL with the driver that is used, and the absolute paths of the certificates that it names."""
    if not url.database:
        raise ValidationError("must name the database, as in mysql://user:password@host/name")
    options: dict[str, str] = {}
    for name, values in url.query.items():
        if not isinstance(values, str):
            raise ValidationError(f"must have {name} once")
        if name == "charset" and values.lower() != "utf8mb4":
            raise ValidationError("must have the charset utf8mb4, or name none")
        if name in {"ssl_ca", "ssl_cert", "ssl_key"}:
            options[name] = str(file(root, values))
        elif name == "ssl_check_hostname":
            options[name] = str(flag(values)).lower()
        elif name in {"unix_socket", "ssl_cipher"}:
            options[name] = text(values)
        elif name != "charset":
            known = "charset, ssl_ca, ssl_cert, ssl_check_hostname, ssl_cipher, ssl_key and unix_socket"
            raise ValidationError(f"must have none but these options: {known}; it has {name}")
    return url.set(drivername=MARIADB_DRIVER, query=options)


def file(root: Path, value: str) -> Path:
    path = root / text(value)
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValidationError(f"must name a readable file, but {path} is not one")
    return path


def folder(root: Path, value: str) -> Path:
    path = root / text(value)
    if not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        raise ValidationError(f"must name a readable directory, but {path} is not one")
    return path


def directory(root: Path, value: str) -> Path:
    """Return the path of a directory, which is created closed to other users."""
    path = root / text(value)
    try:
        make_private(path)
    except OSError as error:
        raise ValidationError(f"cannot be created: {error}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValidationError(f"must be in a writable directory, but {path} is not writable")
    return path


def directory_or_bucket(root: Path, value: str) -> Path | str:
    return bucket(value) if "://" in value else directory(root, value)


def make_private(path: Path) -> None:
    for part in (*reversed(path.parents), path):
        # Path.mkdir(parents=True) would create the parents with the default mode.
        part.mkdir(mode=0o700, exist_ok=True)


PARSERS: Mapping[str, Callable[..., Any]] = {
    "text": text,
    "header": header,
    "redis_prefix": redis_prefix,
    "flag": flag,
    "number": number,
    "duration": duration,
    "choice": choice,
    "rate": rate,
    "key": key,
    "items": items,
    "mailbox": mailbox,
    "service_url": service_url,
    "bucket": bucket,
    "host": host,
}
PATH_PARSERS: Mapping[str, Callable[..., Any]] = {
    "database": database,
    "file": file,
    "folder": folder,
    "directory": directory,
    "directory_or_bucket": directory_or_bucket,
}
