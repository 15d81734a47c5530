"""Tells logs and metrics what happens to the token."""

from typing import Protocol

from structlog.typing import FilteringBoundLogger

from breeze_sidecar.telemetry.metrics import Metrics


class _Kind(Protocol):
    @property
    def value(self) -> str: ...


class _Failure(Protocol):
    """A failed token request, as token.backoff.TokenRequestFailed."""

    @property
    def kind(self) -> _Kind: ...
    @property
    def message(self) -> str: ...
    @property
    def __cause__(self) -> BaseException | None: ...


class TokenWitness:
    """The token source's witness.

    Args:
        log: gets an event each.
        metrics: counts.
    """

    def __init__(self, log: FilteringBoundLogger, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def granted(self, lifetime: float, *, again: bool) -> None:
        """A token came; `again` if it is the one that was held."""
        self._metrics.token_requested("granted")
        self._log.info("token.refreshed", expires_in=round(lifetime), same_token=again)

    def failed(self, failure: _Failure, retry_in: float) -> None:
        """No token came."""
        self._metrics.token_requested(failure.kind.value)
        facts: dict[str, object] = {"reason": failure.kind.value, "message": failure.message}
        if failure.__cause__ is not None:
            facts["exc_info"] = failure.__cause__
        self._log.warning("token.refresh_failed", retry_in=round(retry_in, 1), **facts)

    def rejected(self, row: int, cool_down: float) -> None:
        """Breeze rejected the held token, the row-th in a row; it is kept for this many seconds."""
        self._log.warning("token.rejected", row=row, cool_down=cool_down)

    def holds(self, expires_at: float | None) -> None:
        """A token is held until then, Unix time."""
        self._metrics.token_expires(expires_at)

    def adopted(self, lifetime: float) -> None:
        """A token came from the cache, with this many seconds left."""
        self._log.info("token.adopted", expires_in=round(lifetime))

    def budget_low(self, spent: int) -> None:
        """So many token requests of all left within the last hour."""
        self._log.warning("token.budget_low", requests_last_hour=spent, limit=100)

    def cache_failed(self, reason: str) -> None:
        """The cache is in trouble; the token is kept in memory meanwhile."""
        self._metrics.cache_up(up=False)
        self._log.warning("cache.failed", reason=reason)

    def cache_recovered(self) -> None:
        """The cache works again."""
        self._metrics.cache_up(up=True)
        self._log.info("cache.recovered")

    def cache_ignored(self, reason: str) -> None:
        """What the cache holds cannot be used, and counts as absent."""
        self._log.warning("cache.ignored", reason=reason)
