"""Section 4, rule 9 of the contract: the Redis cache, on a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from support.fleet import CacheHeard, offered
from support.redis_server import SERVERS, Server, free_port, serving
from support.relay import tls

from breeze_sidecar.clock import SystemClock
from breeze_sidecar.tasks import Tasks
from breeze_sidecar.token.caches import Entry, Kept, Pause
from breeze_sidecar.token.redis_cache import RedisCache, connect
from breeze_sidecar.token.sealing import Sealer


class Replica:
    """One sidecar's cache."""

    def __init__(self, url: str, *, secret: str = "the-secret", ca_file: Path | None = None) -> None:
        self.heard = CacheHeard()
        self.clock = SystemClock()
        self.tasks = Tasks(lambda *_: None)
        sealer = Sealer("https://breeze", "oauth_a", lambda: secret)
        redis = connect(urlsplit(url), ca_file)
        self.cache = RedisCache(redis, sealer, self.clock, self.tasks, self.heard)

    def entry(self, value: str = "a-token", left: float = 3600) -> Entry:
        return Entry(value, self.clock.wall() + left)

    async def sees(self) -> Kept:
        return await offered(self.cache)


@pytest.fixture(params=list(SERVERS))
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(request.param, tmp_path) as running:
        yield running


def never(_: Kept) -> bool:
    return False


def if_there_is_one(kept: Kept) -> bool:
    return kept.entry is not None


@asynccontextmanager
async def waiting(replica: Replica, take: Callable[[Kept], bool]) -> AsyncIterator["asyncio.Task[bool]"]:
    async def wait() -> bool:
        async with replica.cache.turn(take) as ours:
            return ours

    task = asyncio.get_running_loop().create_task(wait())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_others_find_the_token_the_requests_and_the_pause(server: Server) -> None:
    first, second = Replica(server.url), Replica(server.url)
    moment = first.clock.wall()
    entry = first.entry()
    async with first.cache.turn(never) as ours:
        assert ours
        await first.cache.spend(moment)
        await first.cache.store(entry)
        pause = Pause(moment + 60, "failed", "it failed", 1)
        await first.cache.hold_off(pause)
    kept = await second.sees()
    assert (kept.entry, kept.pause) == (entry, pause)
    assert kept.requests == pytest.approx((moment,))
    assert (await first.sees()).requests == ()
    assert first.heard.said == second.heard.said == []


async def test_the_store_shows_no_token_and_forgets_it_when_it_expires(server: Server) -> None:
    replica = Replica(server.url)
    await replica.cache.store(replica.entry("eyJthe.secret.token", left=100))
    async with server.client() as client:
        (key,) = [key async for key in client.scan_iter("*token*")]
        assert b"secret" not in (await client.hget(key, "sealed") or b"")
        assert 90 < await client.ttl(key) <= 100


async def test_another_secret_finds_nothing_but_the_requests(server: Server) -> None:
    replica = Replica(server.url)
    await replica.cache.spend(replica.clock.wall())
    await replica.cache.store(replica.entry())
    kept = await Replica(server.url, secret="rotated").sees()
    assert kept.entry is None
    assert len(kept.requests) == 1


async def test_who_waits_is_told_of_the_result_at_once(server: Server) -> None:
    first, second = Replica(server.url), Replica(server.url)
    async with first.cache.turn(never) as ours, waiting(second, if_there_is_one) as other:
        assert ours
        async with server.client() as client:
            while not (await client.pubsub_numsub(second.cache._news))[0][1]:
                assert not other.done()
        await first.cache.store(first.entry())
        assert await other is False


async def test_a_holder_that_dies_is_replaced_within_seconds_and_comes_late(server: Server) -> None:
    first, second = Replica(server.url), Replica(server.url)
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(first.cache.turn(never))
        late = first.cache._fence
        await first.tasks.close()  # it renews no more, as if it were stopped
        async with second.cache.turn(if_there_is_one) as ours:
            assert ours
            await second.cache.store(second.entry("newer"))
            assert second.cache._fence > late
        await first.cache.store(first.entry("late"))
        kept = await Replica(server.url).sees()
        assert kept.entry is not None
        assert kept.entry.value == "newer"


async def test_fifty_at_once_ask_one_after_the_other_and_forty_nine_need_not(server: Server) -> None:
    replicas = [Replica(server.url) for _ in range(50)]
    asked = 0

    async def one(replica: Replica) -> None:
        nonlocal asked
        async with replica.cache.turn(if_there_is_one) as ours:
            if ours:
                asked += 1
                await replica.cache.store(replica.entry())

    await asyncio.gather(*(one(replica) for replica in replicas))
    assert asked == 1


async def test_a_restart_is_told_once_and_the_token_is_stored_again(server: Server) -> None:
    replica = Replica(server.url)
    await server.stop()
    async with replica.cache.turn(never) as ours:
        assert ours, "as with the memory cache"
        await replica.cache.spend(replica.clock.wall())
        await replica.cache.store(replica.entry())
    assert len(replica.heard.said) == 1
    assert replica.heard.said[0].startswith("failed: Redis: ConnectionError")
    behind = [replica.cache.behind]
    await server.start()
    await replica.cache.spend(replica.clock.wall())
    await replica.cache.store(replica.entry())
    behind.append(replica.cache.behind)
    assert behind == [True, False]
    assert replica.heard.said[1:] == ["recovered"]
    kept = await Replica(server.url).sees()
    assert kept.entry is not None
    assert len(kept.requests) == 2, "what was spent meanwhile is made up for"


async def test_who_has_no_turn_stores_only_where_there_is_nothing(server: Server) -> None:
    first, second = Replica(server.url), Replica(server.url)
    async with first.cache.turn(never):
        await first.cache.store(first.entry("first"))
    await second.cache.store(second.entry("second"))
    kept = await second.sees()
    assert kept.entry is not None
    assert kept.entry.value == "first"


@pytest.mark.parametrize(
    "what",
    ["readonly", "full", "another type", "nonsense", "a damaged token", "wrong password"],
)
async def test_whatever_is_wrong_serving_goes_on_with_one_warning(server: Server, what: str) -> None:
    url = server.url
    async with server.client() as client, AsyncExitStack() as stack:
        replica = Replica(url)
        await replica.cache.store(replica.entry())
        key = replica.cache._key("token")
        if what == "readonly":
            await client.replicaof("127.0.0.1", str(free_port()))
        elif what == "full":
            await client.config_set("maxmemory", "1")
        elif what == "another type":
            await client.set(key, "a string")
        elif what == "a damaged token":
            await client.hset(key, "sealed", "damaged")
        elif what == "nonsense":
            url = await nonsense(stack)
        else:
            await client.config_set("requirepass", "x")
            url = url.replace("redis://", "redis://:the-password@")
        replica = Replica(url)
        async with replica.cache.turn(never) as ours:
            assert ours
            await replica.cache.spend(replica.clock.wall())
            await replica.cache.store(replica.entry())
            await replica.cache.hold_off(Pause(replica.clock.wall() + 1, "failed", "x", 1))
    assert len(replica.heard.said) == 1, replica.heard.said
    assert replica.heard.said[0].startswith("ignored" if what == "a damaged token" else "failed")
    assert "the-password" not in replica.heard.said[0]


async def nonsense(stack: AsyncExitStack) -> str:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)
        writer.close()

    listener = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
    return f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_a_server_that_hangs_costs_seconds_and_no_more(tmp_path: Path) -> None:
    held: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        replica = Replica(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        async with replica.cache.turn(never) as ours:
            assert ours
        assert "Timeout" in replica.heard.said[0]
        for writer in held:
            writer.close()


async def test_user_password_database_and_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    acl = ("--user", "breeze", "on", ">p@ss", "~breeze-sidecar:*", "&breeze-sidecar:*", "+@all")
    async with (
        serving("valkey", tmp_path, *acl) as server,
        tls(f"http://127.0.0.1:{server.port}", context) as port,
    ):
        url = f"rediss://breeze:p%40ss@localhost:{port}/3"
        replica = Replica(url, ca_file=ca_file)
        async with replica.cache.turn(never):
            await replica.cache.spend(replica.clock.wall())
            await replica.cache.store(replica.entry())
        assert replica.heard.said == []
        assert (await Replica(url, ca_file=ca_file).sees()).entry is not None
        wrong = Replica(url.replace("p%40ss", "wrong"), ca_file=ca_file)
        assert (await wrong.sees()) == Kept()
        assert wrong.heard.said == ["failed: Redis: AuthenticationError"]
        untrusted = Replica(url)
        assert (await untrusted.sees()) == Kept()
        assert untrusted.heard.said
