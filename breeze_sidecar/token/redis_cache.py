"""The token in Redis or Valkey: one for all replicas of a client.

Keys, all under `breeze-sidecar:{client}:`, where {client} is a digest of base URL and client_id:

token:SECRET   hash: `sealed`, and `fence`, which grows with each turn; ends with the token
pause:SECRET   the last failure, sealed; ends with its wait
requests       sorted set: the token requests of the last hour, by Unix time
turn           who may ask; ends by itself when its holder dies
news           a channel: something of the above has changed
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from breeze_sidecar.clock import Clock
from breeze_sidecar.tasks import Tasks
from breeze_sidecar.token.caches import HOUR, Entry, Health, Kept, Pause, Witness
from breeze_sidecar.token.sealing import Sealer

#: Seconds for a connection and for an answer; far below what a call may take.
TIMEOUT = 1.0
#: Milliseconds that a turn lasts without renewal.
LEASE = 2500
#: Seconds: how often a turn is renewed, and how often who waits looks again.
RENEWAL, LOOK = 0.8, 0.7

_TAKE_TURN = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local time = redis.call('TIME')
local fence = time[1] * 1000000 + time[2]
local held = tonumber(redis.call('HGET', KEYS[2], 'fence') or '0')
if fence <= held then fence = held + 1 end
return fence
"""
_RENEW_TURN = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_END_TURN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[2], '')
return 1
"""
# A holder that comes late bears a lower fence than the token of the one that replaced it.
_STORE = """
if tonumber(ARGV[2]) < tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') then return 0 end
redis.call('HSET', KEYS[1], 'sealed', ARGV[1], 'fence', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return 1
"""

_T = TypeVar("_T")


class _Trouble(Exception):
    """Redis could not do it; the sentence says why."""


class RedisCache:
    """One client's token in Redis.

    Connections are made for a turn and closed after it, so that a thousand replicas that ask once an hour hold none.

    Args:
        redis: the client.
        sealer: seals the token.
        clock: the time.
        tasks: runs the renewal of a turn.
        witness: hears of troubles.
    """

    def __init__(self, redis: Redis, sealer: Sealer, clock: Clock, tasks: Tasks, witness: Witness) -> None:
        self._redis = redis
        self._sealer = sealer
        self._clock = clock
        self._tasks = tasks
        self._health = Health(witness)
        self._holder = secrets.token_hex(8)
        self._own: dict[str, float] = {}
        self._fence = 0
        self._behind = False
        prefix = f"breeze-sidecar:{{{sealer.client}}}:"
        self._prefix, self._turn, self._requests = prefix, f"{prefix}turn", f"{prefix}requests"
        self._news = f"{prefix}news"

    @property
    def behind(self) -> bool:
        """Whether the last token could not be stored."""
        return self._behind

    @asynccontextmanager
    async def turn(self, take: Callable[[Kept], bool]) -> AsyncIterator[bool]:
        """See Cache."""
        try:
            ours = await self._win(take)
        except (_Trouble, RedisError, OSError):  # the latter two from closing a broken subscription
            self._fence = 0  # a turn that was won meanwhile ends by itself
            yield True  # as the memory cache
            return
        if not ours:
            self._health.worked()
            await self._disconnect()
            yield False
            return
        renewal = self._tasks.start("token.turn", self._renew())
        try:
            yield True
        finally:
            renewal.cancel()
            self._fence = 0
            await self._tried(lambda: self._redis.eval(_END_TURN, 1, self._turn, self._holder, self._news))
            await self._disconnect()

    async def look(self, take: Callable[[Kept], bool]) -> bool:
        """See Cache."""
        try:
            kept = await self._load()
        except _Trouble:
            return False
        await self._disconnect()
        return take(kept)

    async def spend(self, moment: float) -> None:
        """See Cache."""
        self._own[f"{self._holder}:{len(self._own)}:{moment}"] = moment
        since = self._clock.wall() - HOUR
        self._own = {member: score for member, score in self._own.items() if score > since}

        async def work() -> None:
            async with self._redis.pipeline(transaction=False) as pipe:
                commands: Any = pipe  # whose methods queue, and return the pipeline
                # All of its own, so that what was spent while Redis was away is made up for.
                commands.zadd(self._requests, self._own)
                commands.zremrangebyscore(self._requests, "-inf", since)
                commands.expire(self._requests, int(HOUR) + 60)
                await pipe.execute()

        await self._tried(work)

    async def store(self, entry: Entry) -> None:
        """See Cache. Without a turn, only where there is no token."""

        async def work() -> None:
            sealed, end = self._sealer.seal(entry), int(entry.expires_at * 1000)
            await self._redis.eval(_STORE, 1, self._key("token"), sealed, self._fence or 1, end, self._news)

        self._behind = not await self._tried(work)
        if not self._behind:
            self._health.worked()

    async def hold_off(self, pause: Pause) -> None:
        """See Cache."""
        left = int((pause.until - self._clock.wall()) * 1000)
        if left > 0:
            await self._tried(lambda: self._redis.set(self._key("pause"), self._sealer.seal(pause), px=left))

    async def _win(self, take: Callable[[Kept], bool]) -> bool:
        """Wait for the turn, or for something that `take` takes."""
        async with AsyncExitStack() as stack:
            subscribed: Any = None
            while True:
                if take(await self._load()):
                    return False
                self._fence = await self._do(self._take_turn)
                if self._fence:
                    # Another one may have asked between the look and the turn.
                    return not take(await self._load()) or await self._give_up()
                if subscribed is None:
                    news = self._redis.pubsub(ignore_subscribe_messages=True)
                    subscribed = await stack.enter_async_context(news)
                    await self._do(partial(subscribed.subscribe, self._news))
                else:  # what happened before it was subscribed is no news
                    await self._do(partial(subscribed.get_message, timeout=self._clock.jitter(LOOK / 2, LOOK)))

    async def _take_turn(self) -> int:
        keys = self._turn, self._key("token")
        fence: int = await self._redis.eval(_TAKE_TURN, 2, *keys, self._holder, LEASE)
        return fence

    async def _give_up(self) -> bool:
        self._fence = 0
        await self._tried(lambda: self._redis.eval(_END_TURN, 1, self._turn, self._holder, self._news))
        return False

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(RENEWAL)
            await self._tried(lambda: self._redis.eval(_RENEW_TURN, 1, self._turn, self._holder, LEASE))

    async def _load(self) -> Kept:
        async def work() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                commands: Any = pipe  # as above
                commands.hget(self._key("token"), "sealed")
                commands.get(self._key("pause"))
                commands.zrangebyscore(self._requests, self._clock.wall() - HOUR, "+inf", withscores=True)
                found: list[Any] = await pipe.execute()
                return found

        sealed, paused, requests = await self._do(work)
        entry = None if sealed is None else self._sealer.open_entry(sealed)
        if sealed is not None and entry is None:
            self._health.ignored("the token in Redis is damaged")
        own = self._holder.encode()
        others = tuple(float(moment) for member, moment in requests if not member.startswith(own))
        return Kept(entry, others, None if paused is None else self._sealer.open_pause(paused))

    def _key(self, what: str) -> str:
        return f"{self._prefix}{what}:{self._sealer.name}"

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Whether it worked; what went wrong is told. Outside of a turn, the connection is closed."""
        try:
            await self._do(work)
        except _Trouble:
            return False
        if not self._fence:
            await self._disconnect()
        return True

    async def _do(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do it in time.

        Raises:
            _Trouble: anything went wrong; it has been told.
        """
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                return await work()
        except (RedisError, OSError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            # Redis's own words can quote a command, and so a password; the kind of error says enough.
            self._health.failed(f"Redis: {_reason(error)}")
            await self._disconnect()
            raise _Trouble from None

    async def _disconnect(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._redis.connection_pool.disconnect()
        except (RedisError, OSError, TimeoutError):
            pass


def connect(parts: SplitResult, ca_file: Path | None) -> Redis:
    """The client for a redis:// or rediss:// URL; nothing is sent yet."""
    return Redis(
        host=parts.hostname or "",
        port=parts.port or 6379,
        db=int(parts.path.strip("/") or 0),
        username=None if not parts.username else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        client_name="breeze-sidecar",
        ssl=parts.scheme == "rediss",
        ssl_ca_certs=None if ca_file is None else str(ca_file),
    )


def _reason(error: BaseException) -> str:
    """What went wrong, in Redis's first word (READONLY, NOAUTH, WRONGTYPE) or the error's kind."""
    word = str(error).partition(" ")[0]
    kind = type(error).__name__
    return f"{kind} {word}" if word.isascii() and word.isupper() and word.isalpha() else kind
