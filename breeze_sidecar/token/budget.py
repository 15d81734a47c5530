"""How many token requests left within the last hour (pure; `now` is an argument)."""

from collections import deque

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
        self._moments: deque[float] = deque()

    def spend(self, now: float) -> None:
        """Count a request that leaves now."""
        self._forget(now)
        self._moments.append(now)

    def spent(self, now: float) -> int:
        """How many left within the window."""
        self._forget(now)
        return len(self._moments)

    def free_at(self, now: float, *, keep: int = 0) -> float:
        """When the next request may leave, at the earliest now, so that this many more could still follow."""
        excess = self.spent(now) - (self._limit - keep)
        return now if excess < 0 else self._moments[excess] + WINDOW

    def _forget(self, now: float) -> None:
        while self._moments and now - self._moments[0] >= WINDOW:
            self._moments.popleft()
