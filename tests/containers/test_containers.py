"""The image, the compose file and a pod, on a real engine: `make test-containers`.

Needs Docker with compose. POD_RUNNER may name a command that plays a pod's manifest from standard input on this engine.
"""

import concurrent.futures
import json
import os
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GRAPHQL, READY, BREEZE = (
    "http://127.0.0.1:4747/graphql",
    "http://127.0.0.1:4748/readyz",
    "http://127.0.0.1:4780/_emulator",
)
SECRET = "sample-secret-for-the-emulator"
pytestmark = pytest.mark.timeout(300)


def run(*command: str, check: bool = True, given: str = "") -> str:
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def compose(*command: str) -> str:
    return run("docker", "compose", *command)


def call(document: str = "query Who { Me { email } }") -> tuple[int, str]:
    body = json.dumps({"query": document}).encode()
    request = urllib.request.Request(GRAPHQL, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def breeze(path: str = "", body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(BREEZE + path, data), timeout=10) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def until(works: Callable[[], bool], seconds: float = 60) -> None:
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not works():
        assert time.monotonic() < end, "it did not come to pass"
        pause.wait(0.2)


def container(name: str) -> str:
    return f"breeze-sidecar-{name}-1"


def inspected(name: str, what: str) -> str:
    return run("docker", "inspect", "-f", what, container(name)).strip()


@pytest.fixture(scope="module", autouse=True)
def _up() -> Iterator[None]:
    run("docker", "build", *shlex.split(os.environ.get("DOCKER_BUILD_FLAGS", "")), "-t", "breeze-sidecar:dev", ".")
    compose("up", "-d", "--wait")
    yield
    logs = compose("logs", "--no-color", "sidecar", "application")
    compose("down", "-v", "--timeout", "10")
    assert SECRET not in logs
    assert "eyJ" not in logs, "a token"


def test_the_application_and_the_host_are_served() -> None:
    status, text = call()
    assert (status, json.loads(text)["data"]["Me"]["email"]) == (200, "user@example.com")
    until(lambda: "user@example.com" in compose("logs", "application"))


def test_a_revoked_token_goes_unnoticed() -> None:
    breeze("/revoke", {})
    assert json.loads(call()[1])["data"]["Me"]


def test_an_outage_of_breeze_is_told_and_ends_by_itself() -> None:
    compose("stop", "--timeout", "5", "emulator")
    status, text = call()
    assert status in {502, 503, 504}
    assert "SIDECAR_" in text
    compose("start", "emulator")
    until(lambda: call()[0] == 200 and "errors" not in call()[1])


def test_it_runs_as_nobody_on_a_file_system_that_cannot_be_written() -> None:
    assert inspected("sidecar", "{{.Config.User}}") == "65532:65532"
    assert inspected("sidecar", "{{.HostConfig.ReadonlyRootfs}}") == "true"
    assert inspected("sidecar", "{{.State.Health.Status}}") == "healthy"
    write = "open('/tmp/x', 'w')"
    assert "Read-only file system" in run("docker", "exec", container("sidecar"), "python", "-c", write, check=False)
    assert run("docker", "run", "--rm", "--user", "1000870000:0", "--read-only", "breeze-sidecar:dev", "--version")
    assert "No module named pip" in run(
        "docker", "run", "--rm", "--entrypoint", "python", "breeze-sidecar:dev", "-m", "pip", check=False
    )


def test_the_image_holds_no_secret_and_says_what_it_is() -> None:
    history = run("docker", "history", "--no-trunc", "breeze-sidecar:dev")
    assert SECRET not in history
    labels = json.loads(run("docker", "inspect", "-f", "{{json .Config.Labels}}", "breeze-sidecar:dev"))
    assert labels["org.opencontainers.image.title"] == "breeze-sidecar"


def test_ports_are_published_on_loopback_only() -> None:
    for name in ("sidecar", "emulator"):
        ports = json.loads(inspected(name, "{{json .HostConfig.PortBindings}}"))
        assert {binding["HostIp"] for bindings in ports.values() for binding in bindings} == {"127.0.0.1"}


def test_a_secret_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "client_secret"
    file.write_text("a-secret")
    file.chmod(0o600)
    text = run(
        *("docker", "run", "--rm", "-e", "BREEZE_CLIENT_ID=x", "-e", "BREEZE_CLIENT_SECRET_FILE=/run/secrets/s"),
        *("-v", f"{file}:/run/secrets/s:ro", "breeze-sidecar:dev"),
        check=False,
    )
    assert text.strip() == (
        "BREEZE_CLIENT_SECRET_FILE: /run/secrets/s may not be read by uid 65532; change its owner or mode"
    )


def test_stopping_under_load_loses_no_call() -> None:
    until(lambda: call()[0] == 200)
    breeze("/faults", {"kind": "slow", "delay": 3, "times": 4})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        until(lambda: breeze()["waiting"] == 4)
        compose("stop", "sidecar")
        answers = [each.result() for each in calls]
    assert [status for status, _ in answers] == [200] * 4
    assert inspected("sidecar", "{{.State.ExitCode}}") == "0"
    compose("up", "-d", "--wait")
    assert call()[0] == 200


@pytest.mark.skipif("POD_RUNNER" not in os.environ, reason="POD_RUNNER names nothing that plays a pod")
def test_a_pod_with_the_sidecar_runs_and_stops_in_order() -> None:
    manifests = run("kubectl", "kustomize", "deploy/kubernetes/demo")
    text = run(*shlex.split(os.environ["POD_RUNNER"]), "--name", "application", given=manifests)
    for line in ("breeze-sidecar: startupProbe passed", "user@example.com", "stopped breeze-sidecar: exit 0"):
        assert line in text
