"""telemetry/metrics.py, and that docs/telemetry.md knows every metric and event."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from breeze_sidecar.telemetry.metrics import NAMES, Metrics

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "telemetry.md").read_text()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    body, media_type = metrics.render()
    assert media_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {
        (each.name, tuple(value for _, value in sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


def test_calls_are_counted_by_operation_status_and_outcome() -> None:
    metrics = Metrics("1.0", "test")
    for _ in range(2):
        metrics.call_started()
        metrics.call_completed("Who", 200, "passed", 0.02)
    metrics.call_started()
    seen = samples(metrics)
    assert seen["breeze_sidecar_requests_total", ("Who", "passed", "200")] == 2
    assert seen["breeze_sidecar_requests_in_flight", ()] == 1
    assert seen["breeze_sidecar_request_duration_seconds_count", ()] == 2
    assert seen["breeze_sidecar_build_info", ("test", "1.0")] == 1


def test_names_of_operations_are_capped() -> None:
    metrics = Metrics("1.0", "test")
    names = [metrics.operation(f"Name{n}") for n in range(NAMES + 3)]
    assert names[NAMES:] == ["other"] * 3
    assert metrics.operation("Name0") == "Name0"


def test_outcomes_are_there_before_they_happen() -> None:
    seen = samples(Metrics("1.0", "test"))
    assert seen["breeze_sidecar_token_requests_total", ("rejected",)] == 0
    assert seen["breeze_sidecar_replays_total", ("unsafe",)] == 0


def test_the_token_and_the_limits_are_gauges() -> None:
    metrics = Metrics("1.0", "test")
    metrics.token_expires(99.0)
    metrics.rate_limit(3600, None, 7)
    metrics.rate_limit(None, 5, None)
    seen = samples(metrics)
    assert seen["breeze_sidecar_token_expiry_timestamp_seconds", ()] == 99
    assert seen["breeze_sidecar_rate_limit_limit", ()] == 3600
    assert seen["breeze_sidecar_rate_limit_remaining", ()] == 5
    assert seen["breeze_sidecar_rate_limit_reset_timestamp_seconds", ()] == 7
    metrics.token_expires(None)
    assert samples(metrics)["breeze_sidecar_token_expiry_timestamp_seconds", ()] == 0


def names() -> list[str]:
    body, _ = Metrics("1.0", "test").render()
    return re.findall(r"^# TYPE (\S+)", body.decode(), re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_the_documentation_holds_each_metric(name: str) -> None:
    assert f"`{name}" in DOCS


def events() -> set[str]:
    sources = [path.read_text() for path in (ROOT / "breeze_sidecar").rglob("*.py") if "emulator" not in path.parts]
    pattern = re.compile(r"(?:log\.|tell\()\w*\(?\s*\"([a-z_]+\.[a-z_]+)\"")
    return {event for source in sources for event in pattern.findall(source)}


def test_there_are_events() -> None:
    assert {"call.completed", "token.refreshed", "sidecar.listening", "library.logged"} <= events()


@pytest.mark.parametrize("event", sorted(events()))
def test_the_documentation_holds_each_event(event: str) -> None:
    assert f"| `{event}` |" in DOCS
