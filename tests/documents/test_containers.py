"""The commands for Docker and Kubernetes, which are only noted: what they name exists, and what they write is read."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import config
from tests.documents.blocks import ALL, Block

KINDS = {"docker", "kubernetes"}
BLOCKS = [block for block in ALL if block.not_run in KINDS]
NOTED = """
set -Eeuo pipefail
docker() { printf '%q ' docker "$@" >> noted; echo >> noted; }
kubectl() { printf '%q ' kubectl "$@" >> noted; echo >> noted; }
grep() { cat > /dev/null; }
"""
VALUED = {"-f", "--file", "--profile", "--tag", "--filename", "--for", "--timeout"}
"""Options whose value is the next word."""
COMPOSE_COMMANDS = {"up", "build", "logs", "run"}
OURS = "registry.example.com/itam:"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_what_the_commands_name_exists(block: Block, tmp_path: Path) -> None:
    subprocess.run(["bash", "-c", NOTED + block.text], cwd=tmp_path, check=True)
    noted = [shlex.split(line) for line in (tmp_path / "noted").read_text().splitlines()]
    for words in noted:
        match words:
            case "docker", "compose", *rest:
                assert_compose_has_it(rest)
            case "docker", "build", "--tag", image, ".":
                assert image.startswith(OURS)
                assert (config.ROOT / "Dockerfile").exists()
            case "docker", "push", image:
                assert ["docker", "build", "--tag", image, "."] in noted
            case "kubectl", *rest:
                assert_manifests_have_it(rest)
            case _:
                pytest.fail(f"Nobody knows {words}.")


def test_settings_that_the_commands_write_are_read(tmp_path: Path) -> None:
    """All blocks of Docker append to one .env: with it, and with secrets of compose.yaml, the platform would start."""
    text = "\n".join(block.text for block in BLOCKS if "cat >> .env" in block.text)
    subprocess.run(["bash", "-c", NOTED + text], cwd=tmp_path, check=True)
    written = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    environ = compose()["services"]["app"]["environment"] | written
    for name in [name for name in environ if name.endswith("_FILE")]:
        (tmp_path / name).write_text("5f" * 32)
        environ[name] = str(tmp_path / name)
    loaded = config.load(environ)
    assert {"STORAGE_URL", "MAIL_SERVER", "PUBLIC_URL"} <= written.keys()
    assert [name for name, value in written.items() if str(getattr(loaded, name)).lower() != value.lower()] == []


def compose(name: str = "compose.yaml") -> Any:
    """A file of Compose, with the defaults of its variables."""
    text = (config.ROOT / name).read_text()
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


def assert_compose_has_it(words: list[str]) -> None:
    """`[-f FILE] [--profile NAME] up|build|logs|run [OPTIONS] [SERVICE …]`; test_blocks.py checks what `run` runs."""
    end = next(number for number, word in enumerate(words) if word in COMPOSE_COMMANDS)
    options, (command, *rest) = split_options(words[:end])[0], words[end:]
    file = compose(options.pop("-f", "compose.yaml"))
    profiles = {name for service in file["services"].values() for name in service.get("profiles", ())}
    assert set(options.values()) <= profiles
    _, names = split_options(rest)
    assert set(names[:1] if command == "run" else names) <= file["services"].keys()


def assert_manifests_have_it(words: list[str]) -> None:
    manifests = list(yaml.safe_load_all((config.ROOT / "deploy/kubernetes/itam.yaml").read_text()))
    names = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in manifests}
    options, rest = split_options(words)
    match rest:
        case ["create", "secret", "generic", secret]:
            assert f"secretName: {secret}," in (config.ROOT / "deploy/kubernetes/itam.yaml").read_text()
        case ["apply"]:
            assert (config.ROOT / options["--filename"]).exists()
        case ["delete", kind, name]:
            assert f"{kind}/{name}" in names
        case ["wait" | "logs", name]:
            assert name in names
        case _:
            pytest.fail(f"Nobody knows kubectl {words}.")


def split_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options with their values, and the other words."""
    options: dict[str, str] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            rest.append(word)
        elif "=" in word:
            name, _, value = word.partition("=")
            options[name] = value
        else:
            options[word] = next(left) if word in VALUED else ""
    return options, rest
