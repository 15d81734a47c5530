"""Time and chance, in the one module that may read them."""

import asyncio
import random
import sys
import time
from typing import Protocol

# A clock that keeps running while a laptop sleeps: a token that expired meanwhile must not look valid. Linux calls it
# boot time; elsewhere (macOS) CLOCK_MONOTONIC counts sleep, which Python's own time.monotonic there does not.
_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


class Clock(Protocol):
    """What the sidecar knows of time. Seconds everywhere."""

    def now(self) -> float:
        """Seconds since some fixed point, never set back, running through sleep."""
        ...

    def wall(self) -> float:
        """Unix time; only for what others read: shared caches, Date fields, metrics."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        ...

    def jitter(self, low: float, high: float) -> float:
        """A uniformly random number between the two."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds of boot time."""
        return time.clock_gettime(_CLOCK)

    def wall(self) -> float:
        """Unix time."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds of the event loop's time, which may stand still while a laptop sleeps."""
        await asyncio.sleep(seconds)

    def jitter(self, low: float, high: float) -> float:
        """A uniformly random number between the two; spreads load, protects nothing."""
        return random.uniform(low, high)  # noqa: S311 # no secret depends on it


async def wait(clock: Clock, future: "asyncio.Future[object]", seconds: float) -> bool:
    """Wait for the future, without cancelling it, at most this long; true if it is done."""
    if future.done():
        return True
    if seconds <= 0:
        return False
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((future, timer), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return future.done()
