"""Settings, read from the environment and .env: checked at start, every bad value named at once."""

import ipaddress
import json
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import timedelta
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import limits
from dotenv import dotenv_values
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.resource.formats import email, username
from app.users.passwords import password_flaws

ROOT = Path(__file__).resolve().parent
MEBIBYTE = 1024 * 1024


def load(environ: Mapping[str, str] | None = None, *, root: Path = ROOT) -> "Config":
    """Return the settings that FLASK_ENV chooses, or raise ConfigError naming every problem.

    `environ` stands in for the process environment and `.env`. Relative paths are taken from
    `root`, and what the platform keeps by itself is in `root/instance`.
    """
    if environ is None:
        environ = process_environment(root)
    # A name that is none of these is a problem that the class finds, among the others.
    kind = ENVIRONMENTS.get(environ.get("FLASK_ENV", "").strip().lower(), DevelopmentConfig)
    return kind.from_environment(environ, root=root)


def process_environment(root: Path) -> Mapping[str, str]:
    """Return the process environment, completed from `root/.env`.

    Tests and checks must not depend on what a developer keeps in .env.
    """
    if os.environ.get("FLASK_ENV") == "testing":
        return os.environ
    kept = {name: value for name, value in dotenv_values(root / ".env").items() if value}
    return {**kept, **os.environ}


@dataclass(frozen=True)
class Problem:
    """What is wrong with one variable; `value` is None for a secret and for one that is unset."""

    variable: str
    value: str | None
    reason: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f"={self.value!r}"
        return f"{self.variable}{shown}: {self.reason}."


class ConfigError(Exception):
    """The settings cannot be used; `problems` says why, all of it at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"The configuration cannot be used:{lines}")


@dataclass(frozen=True)
class Source:
    """Where settings come from: the variables that are set and not blank, and the project root."""

    given: Mapping[str, str]
    root: Path


# Parsers take a text and the project root, and raise ValueError with the end of a sentence that
# begins with the variable. A default is written as it would be in .env, or computed so.
Parse = Callable[[str, Path], Any]
Default = str | Callable[[Source], str] | None


@dataclass(frozen=True)
class Variable:
    """How a setting is read from the environment."""

    name: str | None
    parse: Parse
    default: Default
    secret: bool
    needs: tuple[str, ...]


def variable(
    parse: Parse,
    default: Default = None,
    *,
    name: str | None = None,
    secret: bool = False,
    needs: tuple[str, ...] = (),
) -> Any:
    """Declare a setting; `name` where Flask calls it otherwise, `needs` what must be set with it.

    A secret is neither shown in a problem nor in a repr.
    """
    return field(repr=not secret, metadata={"variable": Variable(name, parse, default, secret, needs)})


def make_private(directory: Path) -> None:
    """Make a directory and those above it that are missing, closed to other users."""
    for path in (*reversed(directory.parents), directory):
        # Path.mkdir(parents=True) would make those above with the default mode.
        path.mkdir(mode=0o700, exist_ok=True)


def text(value: str, _: Path) -> str:
    value = value.strip()
    if not value.isprintable():
        raise ValueError("must not contain line breaks or control characters")
    return value


def flag(value: str, _: Path) -> bool:
    meanings = {"true": True, "yes": True, "on": True, "1": True}
    meanings |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return meanings[value.strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def whole(low: int, high: int) -> Parse:
    def parse(value: str, _: Path) -> int:
        value = value.strip()
        # int() alone would take "1_0", "+1" and digits of every script; the length keeps it cheap.
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise ValueError(f"must be a whole number from {low} to {high}")
        if not low <= int(value) <= high:
            raise ValueError(f"must be from {low} to {high}")
        return int(value)

    return parse


def span(unit: timedelta, most: int) -> Parse:
    count = whole(1, most)
    return lambda value, root: count(value, root) * unit


def rate(value: str, root: Path) -> str:
    value = text(value, root)
    try:
        limits.parse(value)
    except ValueError:
        raise ValueError('must be a rate such as "300 per minute"') from None
    return value


def choice(*allowed: str) -> Parse:
    spelt = {name.lower(): name for name in allowed}

    def parse(value: str, _: Path) -> str:
        try:
            return spelt[value.strip().lower()]
        except KeyError:
            raise ValueError(f"must be one of {', '.join(allowed)}") from None

    return parse


def octets(value: str) -> int:
    # The environment may hold bytes that are no UTF-8; os.environ carries them as surrogates.
    return len(value.encode("utf-8", "surrogateescape"))


def secret(value: str, _: Path) -> str:
    if octets(value) < 32:
        raise ValueError("must be at least 32 bytes long")
    return value


def secret_list(value: str, root: Path) -> tuple[str, ...]:
    return tuple(secret(part, root) for part in value.split(",") if part)


def password(value: str, _: Path) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    if flaws := password_flaws(value, None):
        raise ValueError(" and ".join(map(as_reason, flaws)))
    return value


def account(check: Callable[[str], str]) -> Parse:
    """Return the parser of what an account must have, whose own rules `check` knows."""

    def parse(value: str, root: Path) -> str:
        try:
            return check(text(value, root))
        except ValueError as error:
            raise ValueError(as_reason(str(error))) from None

    return parse


def as_reason(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def mailbox(value: str, root: Path) -> str:
    value = text(value, root)
    local, at, domain = parseaddr(value)[1].rpartition("@")
    if not (local and at and domain) or " " in local + domain:
        raise ValueError("must be an e-mail address")
    return value


def url(*schemes: str) -> Parse:
    wanted = " or ".join(f"{scheme}://…" for scheme in schemes)

    def parse(value: str, root: Path) -> str:
        value = text(value, root).rstrip("/")
        problem = ValueError(f"must be a URL, {wanted}")
        try:
            parts = urlsplit(value)
            # `port` is where urlsplit notices a port that is none.
            place = parts.path if parts.scheme == "unix" else (parts.port, parts.hostname)[1]
        except ValueError:
            raise problem from None
        if parts.scheme not in schemes or not place or " " in value:
            raise problem
        return value

    return parse


def origins(value: str, root: Path) -> tuple[str, ...]:
    web = url("http", "https")
    found = tuple(item for item in (part.strip() for part in value.split(",")) if item)
    for origin in found:
        try:
            parts = urlsplit(web(origin, root))
            exact = origin.lower() == f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            exact = origin == "*"
        if not exact:
            raise ValueError(
                f"holds {origin!r}, but an origin is http(s)://host or http(s)://host:port with nothing behind it"
            )
    # Browsers send them in lower case, and they are compared exactly.
    return tuple(origin.lower() for origin in found)


def provider(value: str, root: Path) -> str:
    """Return a URL whose path can be continued; what is secret has a variable of its own."""
    value = url("http", "https")(value, root)
    parts = urlsplit(value)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must be a URL without user, password, query and fragment")
    return value


def token(value: str, root: Path) -> str:
    value = text(value, root)
    if not value.isascii() or " " in value:
        raise ValueError("must be ASCII without spaces, because it travels in a header")
    return value


# One whose last part is a number would be an address that is misspelt.
HOST_NAME = re.compile(r"(?!(.*\.)?[0-9]+\Z)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63})*")


def destinations(value: str, _: Path) -> tuple[str, ...]:
    """Return networks and names of hosts, each once and in its canonical form."""
    found: dict[str, None] = {}
    for entry in (part.strip().lower() for part in value.split(",")):
        if not entry:
            continue
        try:
            found[str(ipaddress.ip_network(entry))] = None
        except ValueError as error:
            if HOST_NAME.fullmatch(entry):
                found[entry] = None
            elif "host bits" in str(error):
                network = ipaddress.ip_network(entry, strict=False)
                raise ValueError(f"holds {entry!r}, which is an address within the network {network}") from None
            else:
                raise ValueError(
                    f"holds {entry!r}, but an entry is a network such as 10.0.0.0/8, an address or the name of a host"
                ) from None
    return tuple(found)


def key_prefix(value: str, _: Path) -> str:
    """Return the part of a Redis key that tells one installation from another."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", value):
        raise ValueError("must be 1 to 40 letters, digits, and . _ - only")
    return value


def host(value: str, _: Path) -> str:
    """Return an IP address: the server takes no names."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(value.strip()))
    try:
        return socket.gethostbyname(value.strip())
    except (OSError, UnicodeError):
        raise ValueError("must be an IP address of this machine, or a name for one") from None


def database(value: str, root: Path) -> str:
    try:
        parts = make_url(value.strip())
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise ValueError("must be a URL, postgresql://user:password@host/name or sqlite:///path")
    name = parts.database or ":memory:"
    if parts.drivername != "sqlite" or name == ":memory:" or name.startswith("file:"):
        return value.strip()
    path = root / name
    directory(str(path.parent), root)
    if path.is_dir():
        raise ValueError(f"must name a file, and {path} is a directory")
    return parts.set(database=str(path)).render_as_string(hide_password=False)


def file(value: str, root: Path) -> Path:
    path = root / text(value, root)
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError(f"must name a file that can be read, and {path} is none")
    return path


def directory(value: str, root: Path) -> Path:
    path = root / text(value, root)
    try:
        make_private(path)
    except OSError as error:
        raise ValueError(f"cannot be made: {error}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"must be in a directory that can be written to, and {path} cannot")
    return path


def required(_: Source) -> str:
    raise ValueError("must be set, to at least 32 random bytes that are kept secret")


def one_per_core(source: Source) -> str:
    # Without Redis, cache, limits and queue live in one process that no other would see.
    if "REDIS_URL" not in source.given:
        return "1"
    if hasattr(os, "sched_getaffinity"):
        return str(len(os.sched_getaffinity(0)))
    return str(os.cpu_count() or 1)


def with_mail_login(when_set: str, when_unset: str) -> Default:
    # Submission with a login against a plain relay: a password does not travel in the clear.
    return lambda source: when_set if "MAIL_USERNAME" in source.given else when_unset


SECRETS = ("SECRET_KEY", "JWT_SECRET_KEY")


def kept_secret(name: str, source: Source) -> str:
    """Return a secret that this installation made by itself, on its first run.

    Raises ValueError if the file that keeps it is damaged, OSError if it cannot be made.
    """
    path = source.root / "instance" / "secrets.json"
    if not path.exists():
        make_secrets(path)
    try:
        return secret(json.loads(path.read_text())[name], source.root)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(
            f"is not set, and {path} is damaged: delete it to have another made (this signs everybody out)"
        ) from None


def make_secrets(path: Path) -> None:
    make_private(path.parent)
    handle, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump({name: secrets.token_urlsafe(48) for name in SECRETS}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        # Unlike a rename, a link never replaces: of two processes at once both read the first's.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings that every environment has; upper-case attributes feed `app.config`."""

    TESTING: ClassVar[bool] = False
    # What an environment has by default instead, by the variable's name.
    defaults: ClassVar[Mapping[str, Default]] = {}

    FLASK_ENV: str = variable(choice("development", "production", "testing"), "development")
    SECRET_KEY: str = variable(secret, required, secret=True)
    JWT_SECRET_KEY: str = variable(secret, required, secret=True)
    # What proves the audit log: without it SECRET_KEY does, and those before it verify what they once proved.
    AUDIT_KEY: str | None = variable(secret, secret=True)
    AUDIT_KEYS_BEFORE: tuple[str, ...] = variable(secret_list, "", secret=True)
    # Outside the database, because whoever rules that can roll all of it back.
    AUDIT_CHECKPOINTS: Path = variable(directory, "instance/checkpoints")
    JWT_ACCESS_TOKEN_EXPIRES: timedelta = variable(span(timedelta(minutes=1), 1440), "30", name="JWT_ACCESS_MINUTES")
    JWT_REFRESH_TOKEN_EXPIRES: timedelta = variable(span(timedelta(days=1), 365), "30", name="JWT_REFRESH_DAYS")
    BCRYPT_ROUNDS: int = variable(whole(4, 31), "12")

    # These two usually carry a password.
    SQLALCHEMY_DATABASE_URI: str = variable(database, "sqlite:///instance/itam.db", name="DATABASE_URL", secret=True)
    REDIS_URL: str | None = variable(url("redis", "rediss", "unix"), secret=True)
    # Keys and channels begin with it. Two installations that share a Redis would read each other's cached answers.
    REDIS_PREFIX: str = variable(key_prefix, "itam")

    # Where people reach the platform: mails link to it.
    PUBLIC_URL: str = variable(url("http", "https"), "http://127.0.0.1:5000")

    HOST: str = variable(host, "127.0.0.1")
    PORT: int = variable(whole(1, 65535), "5000")
    WORKERS: int = variable(whole(1, 256), one_per_core)
    # Beside those that serve; without Redis these carry out jobs themselves.
    JOB_WORKERS: int = variable(whole(0, 64), lambda source: "1" if "REDIS_URL" in source.given else "0")

    ADMIN_USERNAME: str = variable(account(username), "admin")
    ADMIN_EMAIL: str = variable(account(email), "admin@localhost")
    ADMIN_PASSWORD: str | None = variable(password, secret=True)

    REGISTRATION_ENABLED: bool = variable(flag, "false")
    # By address, and by token: each process counts for itself where there is no Redis.
    LOGIN_LIMIT: str = variable(rate, "300 per minute")
    API_LIMIT: str = variable(rate, "30000 per minute")
    CORS_ORIGINS: tuple[str, ...] = variable(origins, "")
    TRUSTED_PROXIES: int = variable(whole(0, 10), "0")

    MAIL_SERVER: str | None = variable(text)
    MAIL_PORT: int = variable(whole(1, 65535), with_mail_login("587", "25"))
    MAIL_USERNAME: str | None = variable(text, needs=("MAIL_PASSWORD", "MAIL_SERVER"))
    MAIL_PASSWORD: str | None = variable(text, secret=True, needs=("MAIL_USERNAME",))
    MAIL_USE_TLS: bool = variable(flag, with_mail_login("true", "false"))
    MAIL_DEFAULT_SENDER: str = variable(mailbox, "itam@localhost")

    # Networks, addresses and names that are asked beside the internet: health checks of a private fleet.
    OUTGOING_ALLOWED: tuple[str, ...] = variable(destinations, "")
    # With 0, services are checked only when somebody asks for it.
    HEALTH_CHECK_SECONDS: int = variable(whole(0, 86_400), "60")
    HEALTH_CHECK_DAYS: int = variable(whole(1, 3650), "1")

    AI_BASE_URL: str | None = variable(provider, needs=("AI_MODEL",))
    AI_MODEL: str | None = variable(text, needs=("AI_BASE_URL",))
    AI_API_KEY: str | None = variable(token, secret=True)

    GEOIP_DATABASE: Path | None = variable(file)

    UPLOAD_DIR: Path = variable(directory, "instance/uploads")
    MAX_UPLOAD_MB: int = variable(whole(1, 1024), "10")
    MAX_IMPORT_MB: int = variable(whole(1, 1024), "50")
    IMPORT_FILE_DAYS: int = variable(whole(1, 36_500), "30")

    # Without one, /metrics is for callers on this machine.
    METRICS_TOKEN: str | None = variable(text, secret=True)

    LOG_LEVEL: str = variable(choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO")

    @property
    def MAX_CONTENT_LENGTH(self) -> int:  # noqa: N802 - Flask's name for it
        """The largest request body in bytes: the largest file, and the form around it."""
        return (max(self.MAX_UPLOAD_MB, self.MAX_IMPORT_MB) + 1) * MEBIBYTE

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, root: Path = ROOT) -> Self:
        """Read these settings from `environ`, or raise ConfigError naming every problem."""
        # `NAME=` in .env and an empty value passed on by compose.yaml mean "not set".
        source = Source({name: value for name, value in environ.items() if value.strip()}, root)
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for setting in fields(cls):
            declared: Variable = setting.metadata["variable"]
            name = declared.name or setting.name
            given = source.given.get(name)
            shown = None if declared.secret else given
            try:
                written = cls.default(name, declared, source) if given is None else given
                values[setting.name] = None if written is None else declared.parse(written, source.root)
            except (ValueError, OSError) as error:
                problems.append(Problem(name, shown, str(error)))
            if given is not None:
                problems.extend(
                    Problem(name, shown, f"needs {other} to be set too")
                    for other in declared.needs
                    if other not in source.given
                )
        problems.extend(contradictions(values, source))
        if problems:
            raise ConfigError(problems)
        return cls(**values)

    @classmethod
    def default(cls, name: str, declared: Variable, source: Source) -> str | None:
        """Return what a variable that is not set stands for, written as it would be in .env."""
        default = cls.defaults.get(name, declared.default)
        return default(source) if callable(default) else default


def contradictions(values: Mapping[str, Any], source: Source) -> Iterable[Problem]:
    """Yield what is wrong only in combination; a value that is itself bad is missing here."""
    workers = values.get("WORKERS", 1)
    if workers > 1 and "REDIS_URL" not in source.given:
        yield Problem(
            "WORKERS",
            str(workers),
            "needs REDIS_URL, because without Redis the cache, the rate limits and the job queue"
            " live in one process that the other workers do not see",
        )
    job_workers = values.get("JOB_WORKERS", 0)
    if job_workers and "REDIS_URL" not in source.given:
        yield Problem(
            "JOB_WORKERS",
            str(job_workers),
            "needs REDIS_URL, because without Redis the process that serves carries out the jobs itself",
        )
    chosen, username = values.get("ADMIN_PASSWORD"), values.get("ADMIN_USERNAME")
    if chosen and username and chosen.lower() == username.lower():
        yield Problem("ADMIN_PASSWORD", None, "must not be ADMIN_USERNAME")


class DevelopmentConfig(Config):
    """On a developer's machine: runs without being told anything."""

    defaults = {name: partial(kept_secret, name) for name in SECRETS}


class ProductionConfig(Config):
    """For real use: refuses to start without its own secrets."""

    defaults = {"FLASK_ENV": "production"}


class TestingConfig(Config):
    """In tests: cheap hashes, a database that is gone afterwards, nothing secret."""

    __test__ = False  # else pytest takes the name for a test's wherever it is imported

    TESTING = True
    defaults = {
        "FLASK_ENV": "testing",
        "SECRET_KEY": "only-for-tests: signs nothing real, at least 32 bytes",
        "JWT_SECRET_KEY": "only-for-tests: no real token, at least 32 bytes",
        "BCRYPT_ROUNDS": "4",
        # Tests sign in more often than anybody.
        "LOGIN_LIMIT": "1000000 per minute",
        "API_LIMIT": "1000000 per minute",
        "DATABASE_URL": "sqlite://",
    }


ENVIRONMENTS: Mapping[str, type[Config]] = {
    "development": DevelopmentConfig,
    "production": ProductionConfig,
    "testing": TestingConfig,
}
