"""The files in deploy and compose.yaml agree with the settings and the commands of the platform."""

import configparser
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import config
from app.cli import worker

ROOT = config.ROOT
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
EXAMPLE = (ROOT / ".env.example").read_text()


def settings_of(names: Any) -> set[str]:
    """Settings that are not in .env.example, not even as the file of a secret."""
    files = {f"{secret}_FILE" for secret in config.HIDDEN}
    return {name for name in names if name not in files and f"\n{name}=" not in EXAMPLE}


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "itam.yaml").read_text()))


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_manifests_are_valid(version: str) -> None:
    """Against the schemas of Kubernetes, in which every unknown field is an error."""
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_kubernetes_sets_what_the_platform_knows() -> None:
    (settings,) = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    assert settings_of(settings) == set()
    # A secret that is read from a file is in the secret that docs/installing.md makes.
    page = (ROOT / "docs" / "installing.md").read_text().partition("## Kubernetes")[2]
    for name, value in settings.items():
        if name.endswith("_FILE"):
            assert value == f"/run/secrets/itam/{name.removesuffix('_FILE')}"
            assert name.removesuffix("_FILE") in page


def test_kubernetes_has_probes_limits_and_budgets() -> None:
    documents = manifests()
    deployments = [each for each in documents if each["kind"] == "Deployment"]
    budgets = [each["spec"]["selector"]["matchLabels"] for each in documents if each["kind"] == "PodDisruptionBudget"]
    assert [each["metadata"]["name"] for each in deployments] == ["itam-web", "itam-worker"]
    for deployment in deployments:
        pod = deployment["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert pod["metadata"]["labels"] in budgets
        assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        assert {"startupProbe", "livenessProbe"} <= container.keys()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            each["name"] for each in pod["spec"]["volumes"]
        }


def test_compose_takes_secrets_from_files() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name in ("migrate", "app", "worker"):
        service = compose["services"][name]
        assert settings_of(service["environment"]) == set()
        assert service["read_only"] is True
        assert service["mem_limit"]
        assert service["logging"]["options"]["max-size"]
        given = {value.removeprefix("/run/secrets/") for value in service["environment"].values() if "/run/" in value}
        assert given == set(service["secrets"]) == compose["secrets"].keys()
        assert not [key for key in config.HIDDEN if "PASSWORD" in service["environment"].get(key, "")]
    assert "9191/health" in str(compose["services"]["worker"]["healthcheck"])


def test_compose_limits_every_service_and_names_every_image() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert service["mem_limit"]
        assert service["logging"]["options"]["max-file"]
        # A release of the image, or its digest where the variable is set.
        image = service["image"]
        assert image == "itam" or re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[\w/]+:(v|RELEASE\.)?\d[\w.-]+\}", image), image
    python = compose["services"]["app"]["build"]["args"]["PYTHON_IMAGE"]
    assert f"ARG PYTHON_IMAGE={python.partition(':-')[2].rstrip('}')}\n" in (ROOT / "Dockerfile").read_text()


def test_the_options_of_workers_exist() -> None:
    options = {option for parameter in worker.params for option in parameter.opts}
    commands = [command_of(unit).split() for unit in UNITS]
    pods = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] == "Deployment"]
    commands += [pod["containers"][0].get("command", []) for pod in pods]
    used = {word for command in commands for word in command if word.startswith("--")}
    assert used == {"--host", "--port"} <= options


def command_of(unit: Path) -> str:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text())
    assert parser["Service"]["WorkingDirectory"] == "/opt/itam"
    assert parser["Service"]["User"] == "itam"
    return parser["Service"]["ExecStart"]
