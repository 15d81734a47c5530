"""How many token requests left within the last hour (pure; `now` is an argument)."""

from collections.abc import Iterable

#: Breeze gives out 100 tokens an hour; ten are left to the client's other users and to clocks that disagree.
LIMIT = 90
#: Seconds. One more than an hour: the request reaches Breeze a little after it was counted here.
WINDOW = 3601.0


class Budget:
    """A sliding window over the moments at which requests left.

    Args:
        limit: requests allowed in any window.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._own: list[float] = []
        self._others: list[float] = []

    def spend(self, now: float) -> None:
        """Count a request that leaves now."""
        self._own = [*_within(self._own, now), now]

    def share(self, others: Iterable[float]) -> None:
        """Take over what a shared cache knows of the requests of others, in place of what it knew before."""
        self._others = list(others)

    def spent(self, now: float) -> int:
        """How many left within the window."""
        return len(_within(self._own, now)) + len(_within(self._others, now))

    def free_at(self, now: float, *, keep: int = 0) -> float:
        """When the next request may leave, at the earliest now, so that this many more could still follow."""
        moments = sorted(_within(self._own, now) + _within(self._others, now))
        excess = len(moments) - (self._limit - keep)
        return now if excess < 0 else moments[excess] + WINDOW


def _within(moments: list[float], now: float) -> list[float]:
    return [moment for moment in moments if now - moment < WINDOW]
