"""Many token sources on one fake clock: what they share, and a Breeze that counts."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from breeze_sidecar.token.access_token import Grant
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed
from breeze_sidecar.token.caches import HOUR, Cache, Entry, Kept, Pause
from support.clock import FakeClock


class Deaf:
    """A witness that counts what it hears."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()

    def granted(self, lifetime: float, *, again: bool) -> None:
        self.heard["granted"] += 1

    def failed(self, failure: TokenRequestFailed, retry_in: float) -> None:
        self.heard["failed"] += 1

    def rejected(self, row: int, cool_down: float) -> None:
        self.heard["rejected"] += 1

    def holds(self, expires_at: float | None) -> None: ...

    def adopted(self, lifetime: float) -> None:
        self.heard["adopted"] += 1

    def budget_low(self, spent: int) -> None:
        self.heard["budget_low"] += 1


class CacheHeard:
    """A cache's witness that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def cache_failed(self, reason: str) -> None:
        self.said.append(f"failed: {reason}")

    def cache_recovered(self) -> None:
        self.said.append("recovered")

    def cache_ignored(self, reason: str) -> None:
        self.said.append(f"ignored: {reason}")


async def offered(cache: Cache) -> Kept:
    """What a cache offers to who takes everything; nothing from one in trouble."""
    seen: list[Kept] = []

    def take(kept: Kept) -> bool:
        seen.append(kept)
        return True

    async with cache.turn(take) as ours:
        assert ours is not bool(seen)
    return seen[-1] if seen else Kept()


class Breeze:
    """The token endpoint of one client: 100 requests in a fixed window of an hour, as Breeze gives them out."""

    def __init__(self, clock: FakeClock, *, lifetime: float = 3600.0, takes: float = 0.2) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.takes = takes
        self.down = False
        self.asked: list[float] = []
        self.throttled = 0
        self._window_ends = 0.0
        self._used = 0

    async def request(self) -> Grant:
        self.asked.append(self.clock.now())
        number = len(self.asked)
        if self.takes:
            await self.clock.sleep(self.takes)
        now = self.clock.now()
        if self.down:
            raise TokenRequestFailed(Kind.FAILED, "the token endpoint answered 503")
        if now >= self._window_ends:
            self._window_ends, self._used = now + 3600, 0
        if self._used >= 100:
            self.throttled += 1
            raise TokenRequestFailed(Kind.RATE_LIMITED, "the limit is spent", wait=self._window_ends - now)
        self._used += 1
        return Grant(f"token-{number}", self.lifetime)


class Store:
    """What a shared cache holds."""

    def __init__(self) -> None:
        self.down = False
        self.entry: Entry | None = None
        self.pause: Pause | None = None
        self.requests: deque[tuple[float, int]] = deque()
        self.turn = asyncio.Lock()


class SharedCache:
    """As RedisCache and FileCache, with the store in this process; a turn waits for the one before."""

    def __init__(self, store: Store, clock: FakeClock, holder: int) -> None:
        self._store = store
        self._clock = clock
        self._holder = holder
        self.behind = False

    @asynccontextmanager
    async def turn(self, take: Callable[[Kept], bool]) -> AsyncIterator[bool]:
        if self._store.down:
            yield True
            return
        if take(self._kept()):
            yield False
            return
        async with self._store.turn:
            yield not take(self._kept())

    async def look(self, take: Callable[[Kept], bool]) -> bool:
        return not self._store.down and take(self._kept())

    def _kept(self) -> Kept:
        store, now = self._store, self._clock.wall()
        while store.requests and store.requests[0][0] <= now - HOUR:
            store.requests.popleft()
        entry = store.entry if store.entry is not None and store.entry.expires_at > now else None
        pause = store.pause if store.pause is not None and store.pause.until > now else None
        return Kept(entry, tuple(moment for moment, who in store.requests if who != self._holder), pause)

    async def spend(self, moment: float) -> None:
        if not self._store.down:
            self._store.requests.append((moment, self._holder))

    async def store(self, entry: Entry) -> None:
        self.behind = self._store.down
        if not self._store.down:
            self._store.entry, self._store.pause = entry, None

    async def hold_off(self, pause: Pause) -> None:
        if not self._store.down:
            self._store.pause = pause
