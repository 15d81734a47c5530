"""What is deployed: the files of deploy/, held against the schemas, the metrics and the documents."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml

from breeze_sidecar.errors import SidecarError
from breeze_sidecar.settings import Settings
from breeze_sidecar.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
VERSION = "1.29"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")


def built(directory: Path) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pod(document: dict[str, Any]) -> dict[str, Any] | None:
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return found


def restricted(spec: dict[str, Any]) -> None:
    """The restricted Pod Security profile."""
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "requests" in container["resources"]
        assert "readinessProbe" not in container


@needs_kubectl
@pytest.mark.parametrize("name", ["example", "demo", "monitoring", "without-native-sidecars"])
def test_kubernetes_manifests_are_valid_and_restricted(name: str) -> None:
    for document in built(KUBERNETES / name):
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue  # the operator's own kinds, whose schemas no package carries
        kubernetes_validate.validate(document, VERSION, strict=True)
        if (spec := pod(document)) is not None:
            restricted(spec)
            sidecar = next(
                each
                for each in [*spec.get("initContainers", []), *spec["containers"]]
                if each["name"] == "breeze-sidecar"
            )
            known = {f"BREEZE_{field.upper()}" for field in Settings.model_fields}
            assert {variable["name"] for variable in sidecar["env"]} <= known
            assert not any("subPath" in mount for mount in sidecar["volumeMounts"])


@needs_kubectl
def test_a_fleet_takes_its_token_from_redis(tmp_path: Path) -> None:
    # Kustomize takes relative paths only.
    work = KUBERNETES / "example"
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [_relative(tmp_path, work)],
                "components": [_relative(tmp_path, KUBERNETES / "fleet")],
            }
        )
    )
    (deployment,) = [document for document in built(tmp_path) if document["kind"] == "Deployment"]
    kubernetes_validate.validate(deployment, VERSION, strict=True)
    spec = pod(deployment)
    assert spec is not None
    (sidecar,) = [each for each in spec["initContainers"] if each["name"] == "breeze-sidecar"]
    (cache,) = [variable for variable in sidecar["env"] if variable["name"] == "BREEZE_TOKEN_CACHE"]
    assert cache == {
        "name": "BREEZE_TOKEN_CACHE",
        "valueFrom": {"secretKeyRef": {"name": "breeze-redis", "key": "url"}},
    }


def _relative(base: Path, target: Path) -> str:
    return "/".join([".."] * (len(base.resolve().parts) - 1)) + str(target.resolve())


def metric_names() -> set[str]:
    body, _ = Metrics("1.0", "test").render()
    names = set(re.findall(r"^# TYPE (\S+)", body.decode(), re.MULTILINE))
    return names | {f"{name}_bucket" for name in names if name.endswith("_seconds")}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((KUBERNETES / "monitoring" / "prometheusrule.yaml").read_text())
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_asks_for_metrics_that_there_are_and_has_a_runbook_entry(rule: dict[str, Any]) -> None:
    asked = set(re.findall(r"breeze_sidecar_\w+", rule["expr"]))
    assert asked
    assert asked <= metric_names()
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((KUBERNETES / "monitoring" / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert {name for text in expressions for name in re.findall(r"breeze_sidecar_\w+", text)} <= metric_names()


def test_the_example_of_an_env_file_has_every_variable() -> None:
    named = set(re.findall(r"^#?(BREEZE_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == {f"BREEZE_{field.upper()}" for field in Settings.model_fields}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_the_locks_have_a_hash_for_each_package_and_name_no_host(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()
    assert "://" not in text
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in block, block


def test_the_lock_has_all_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["redis"]]
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy" / "requirements.lock").read_text(), re.MULTILINE)
    assert {re.split(r"[><=\[]", each)[0] for each in wanted} <= set(locked)


def test_the_operators_guide_holds_each_code_and_exit_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for error in SidecarError.__subclasses__():
        assert f"`{error.code}`" in text
    for code in (0, 1, 2):
        assert f"| {code} |" in text
