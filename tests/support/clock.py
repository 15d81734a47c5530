"""Time that passes only when a test says so."""

import asyncio
import heapq
from itertools import count


class FakeClock:
    """A Clock whose `advance` wakes the sleepers one by one, each at its own time."""

    def __init__(self, *, chance: float = 0.5) -> None:
        self.chance = chance
        self._now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + 1_800_000_000

    def jitter(self, low: float, high: float) -> float:
        return low + (high - low) * self.chance

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        until = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            when, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = max(self._now, when)
            woken.set_result(None)
            await settle()
        self._now = until


async def settle() -> None:
    """Let all that can run now run."""
    loop = asyncio.get_running_loop()
    while True:
        turn: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
        if not loop._ready:  # type: ignore[attr-defined] # nothing but timers and sockets is left
            return
