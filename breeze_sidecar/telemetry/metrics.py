"""What Prometheus may know. Children are bound once, because labels() costs more than counting."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

#: Names of operations that get a label of their own; then "other".
NAMES = 50
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no type for it


class Metrics:
    """The sidecar's metrics, on a registry of their own.

    Args:
        version: for build_info.
        environment: for build_info.
    """

    def __init__(self, version: str, environment: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._names: set[str] = set()
        self._bound: dict[tuple[str, int, str], Counter] = {}
        self._requests = Counter(
            "breeze_sidecar_requests",
            "Calls, by operation, HTTP status and outcome.",
            ["operation", "status", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "breeze_sidecar_request_duration_seconds", "From a call to its answer.", buckets=_SECONDS, registry=registry
        )
        self._upstream = Histogram(
            "breeze_sidecar_upstream_duration_seconds",
            "From sending a request to the fields of Breeze's response.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge("breeze_sidecar_requests_in_flight", "Calls in flight.", registry=registry)
        self._token_requests = Counter(
            "breeze_sidecar_token_requests", "Token requests, by outcome.", ["outcome"], registry=registry
        )
        self._token_expiry = Gauge(
            "breeze_sidecar_token_expiry_timestamp_seconds", "When the held token expires.", registry=registry
        )
        self._token_requests_last_hour = Gauge(
            "breeze_sidecar_token_requests_last_hour",
            "Token requests within the last hour, of all who share the cache.",
            registry=registry,
        )
        self._cache_up = Gauge(
            "breeze_sidecar_token_cache_up", "Whether the token cache works; 0: memory only.", registry=registry
        )
        self._cache_up.set(1)
        self._replays = Counter(
            "breeze_sidecar_replays",
            "Calls refused for their token, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._limits = [
            Gauge(f"breeze_sidecar_rate_limit_{name}", f"Breeze's GraphQL rate limit: {what}.", registry=registry)
            for name, what in (
                ("limit", "calls an hour"),
                ("remaining", "calls left"),
                ("reset_timestamp_seconds", "when it resets"),
            )
        ]
        build = Gauge("breeze_sidecar_build_info", "What runs.", ["version", "environment"], registry=registry)
        build.labels(version, environment).set(1)
        self.call_started = self._in_flight.inc
        self.upstream_answered = self._upstream.observe
        for outcome in ("granted", "rejected", "rate_limited", "malformed", "failed", "unreachable"):
            self._token_requests.labels(outcome)
        for outcome in ("accepted", "rejected", "unsafe", "withheld"):
            self._replays.labels(outcome)

    def operation(self, name: str) -> str:
        """The label of an operation's name: callers choose names, so their number is bounded."""
        if name in self._names:
            return name
        if len(self._names) >= NAMES:
            return "other"
        self._names.add(name)
        return name

    def call_completed(self, operation: str, status: int, outcome: str, seconds: float) -> None:
        """A call has ended."""
        key = (operation, status, outcome)
        child = self._bound.get(key)
        if child is None:
            child = self._bound[key] = self._requests.labels(operation, str(status), outcome)
        child.inc()
        self._duration.observe(seconds)
        self._in_flight.dec()

    def token_requested(self, outcome: str) -> None:
        """A token request has ended."""
        self._token_requests.labels(outcome).inc()

    def token_expires(self, at: float | None) -> None:
        """The held token's end, Unix time; None for no token."""
        self._token_expiry.set(0 if at is None else at)

    def token_requests_of_last_hour(self, count: Callable[[], int]) -> None:
        """What to ask for the token requests of the last hour."""
        self._token_requests_last_hour.set_function(count)

    def cache_up(self, *, up: bool) -> None:
        """Whether the token cache works."""
        self._cache_up.set(up)

    def replayed(self, outcome: str) -> None:
        """A call was refused for its token, and replayed or not."""
        self._replays.labels(outcome).inc()

    def rate_limit(self, *values: float | None) -> None:
        """The limit, what is left of it, and when it resets (Unix time); None leaves what was known."""
        for gauge, value in zip(self._limits, values, strict=True):
            if value is not None:
                gauge.set(value)

    def render(self) -> tuple[bytes, str]:
        """The exposition, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
