"""token/caches.py: the cache that a URL names."""

from pathlib import Path

from support.clock import FakeClock
from support.fleet import CacheHeard

from breeze_sidecar.tasks import Tasks
from breeze_sidecar.token.caches import Cache, Entry, Health, Kept, MemoryCache, Pause, open_cache
from breeze_sidecar.token.file_cache import FileCache
from breeze_sidecar.token.redis_cache import RedisCache


def opened(url: str) -> Cache:
    return open_cache(
        url,
        base_url="https://breeze",
        client_id="oauth_a",
        read_secret=lambda: "the-secret",
        ca_file=None,
        clock=FakeClock(),
        tasks=Tasks(lambda *_: None),
        witness=CacheHeard(),
    )


async def test_each_scheme_opens_its_cache() -> None:
    assert isinstance(opened("memory://"), MemoryCache)
    file = opened("file:///var/lib/with%20space/token")
    assert isinstance(file, FileCache)
    assert file._path == Path("/var/lib/with space/token")
    redis = opened("redis://us%40er:p%2Fass@host:6380/2")
    assert isinstance(redis, RedisCache)
    options = redis._redis.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("host", 6380, 2)
    assert (options["username"], options["password"]) == ("us@er", "p/ass")
    assert opened("rediss://host")._redis.connection_pool.connection_class.__name__ == "SSLConnection"  # type: ignore[attr-defined] # of RedisCache


async def test_the_memory_cache_keeps_nothing_and_gives_every_turn() -> None:
    cache = MemoryCache()
    await cache.spend(1.0)
    await cache.store(Entry("a-token", 2.0))
    await cache.hold_off(Pause(1.0, "failed", "x", 1))
    async with cache.turn(lambda _: True) as ours:
        assert ours
    assert await cache.look(lambda _: True) is False
    assert "a-token" not in repr(Kept(Entry("a-token", 2.0)))


def test_trouble_is_told_when_it_begins_and_when_it_ends() -> None:
    heard = CacheHeard()
    health = Health(heard)
    health.worked()
    health.failed("first")
    health.failed("second")
    health.worked()
    health.ignored("damaged")
    health.ignored("damaged")
    assert heard.said == ["failed: first", "recovered", "ignored: damaged"]
