"""token/file_cache.py: survives restarts, and no state of the disk keeps a token from being asked for."""

import asyncio
import fcntl
import json
import os
from pathlib import Path

import pytest
from support.clock import FakeClock
from support.fleet import CacheHeard, offered

from breeze_sidecar.token import file_cache
from breeze_sidecar.token.caches import HOUR, Entry, Kept, Pause
from breeze_sidecar.token.file_cache import PATIENCE, FileCache
from breeze_sidecar.token.sealing import Sealer


class Process:
    """One process that uses the file."""

    def __init__(self, path: Path, clock: FakeClock, *, secret: str = "the-secret", client: str = "oauth_a") -> None:
        self.heard = CacheHeard()
        self.clock = clock
        self.cache = FileCache(path, Sealer("https://breeze", client, lambda: secret), clock, self.heard)

    async def sees(self) -> Kept:
        return await offered(self.cache)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def entry(clock: FakeClock, value: str = "a-token", left: float = 3600) -> Entry:
    return Entry(value, clock.wall() + left)


async def test_another_process_finds_the_token_and_the_requests(path: Path, clock: FakeClock) -> None:
    first = Process(path, clock)
    await first.cache.spend(clock.wall())
    await first.cache.store(entry(clock))
    assert (await first.sees()).requests == (), "its own are counted by the source"
    kept = await Process(path, clock).sees()
    assert kept == Kept(entry(clock), (clock.wall(),), None)
    await clock.advance(HOUR + 1)
    assert (await Process(path, clock).sees()).requests == ()


async def test_the_file_is_for_its_user_only_and_shows_no_token(path: Path, clock: FakeClock) -> None:
    before = os.umask(0)
    try:
        await Process(path, clock).cache.store(entry(clock, "eyJthe.secret.token"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in path.read_bytes()
    assert sorted(each.name for each in path.parent.iterdir()) == ["token"], "nothing is left behind"


async def test_a_pause_is_kept_until_it_is_over_and_a_token_ends_it(path: Path, clock: FakeClock) -> None:
    process = Process(path, clock)
    pause = Pause(clock.wall() + 30, "failed", "it failed", 2)
    await process.cache.hold_off(pause)
    assert (await process.sees()).pause == pause
    await process.cache.store(entry(clock))
    assert (await process.sees()).pause is None
    await process.cache.hold_off(pause)
    await clock.advance(31)
    assert (await process.sees()).pause is None


async def test_one_process_asks_at_a_time_and_the_next_one_finds_what_it_got(path: Path, clock: FakeClock) -> None:
    first, second = Process(path, clock), Process(path, clock)
    offered: list[Kept] = []

    def take(kept: Kept) -> bool:
        offered.append(kept)
        return kept.entry is not None

    async def wait() -> bool:
        async with second.cache.turn(take) as ours:
            return ours

    async with first.cache.turn(lambda _: False) as ours:
        assert ours
        waiting = asyncio.get_running_loop().create_task(wait())
        while len(offered) < 2:
            await asyncio.to_thread(os.sched_yield)
            await clock.advance(0.2)
        assert not waiting.done()
        await first.cache.store(entry(clock))
    while not waiting.done():
        await asyncio.to_thread(os.sched_yield)
        await clock.advance(0.2)
    assert await waiting is False


async def test_a_process_that_hangs_with_the_lock_is_waited_for_no_longer_than_a_request_takes(
    path: Path, clock: FakeClock
) -> None:
    process = Process(path, clock)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    async def wait() -> bool:
        async with process.cache.turn(lambda _: False) as ours:
            return ours

    waiting = asyncio.get_running_loop().create_task(wait())
    began = clock.now()
    while not waiting.done():
        await asyncio.to_thread(os.sched_yield)
        await clock.advance(1)
    assert await waiting is True
    assert clock.now() - began >= PATIENCE
    assert process.heard.said[0] == f"failed: {path}.lock is held by a process that hangs"
    os.close(descriptor)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is damaged", id="empty"),
        pytest.param(b'{"version": 1, "cli', "is damaged", id="cut"),
        pytest.param(b"[" * 100_000, "is damaged", id="deep"),
        pytest.param(b"\xff\x00", "is damaged", id="not text"),
        pytest.param(b"[]", "is damaged", id="an array"),
        pytest.param(b'{"version": 0}', "was written by another version", id="another version"),
        pytest.param(b'{"version": 1, "client": "x"}', "belongs to another client or environment", id="another client"),
    ],
)
async def test_a_file_that_cannot_be_used_counts_as_absent_with_one_warning(
    path: Path, clock: FakeClock, content: bytes, says: str
) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    process = Process(path, clock)
    assert await process.sees() == Kept()
    await process.cache.spend(clock.wall())
    assert process.heard.said == [f"ignored: {path} {says}"]
    await process.cache.store(entry(clock))
    assert (await Process(path, clock).sees()).entry == entry(clock)


async def test_a_damaged_token_is_ignored_and_the_requests_still_count(path: Path, clock: FakeClock) -> None:
    process = Process(path, clock)
    await process.cache.spend(clock.wall())
    await process.cache.store(entry(clock))
    content = json.loads(path.read_text())
    for token in ("AAAA", "not base64!", 7):
        path.write_text(json.dumps({**content, "token": token}))
        other = Process(path, clock)
        kept = await other.sees()
        assert kept.entry is None
        assert kept.requests == (clock.wall(),)


async def test_a_rotated_secret_finds_no_token_but_the_requests(path: Path, clock: FakeClock) -> None:
    process = Process(path, clock)
    await process.cache.spend(clock.wall())
    await process.cache.store(entry(clock))
    rotated = Process(path, clock, secret="rotated")
    kept = await rotated.sees()
    assert kept.entry is None
    assert kept.requests == (clock.wall(),)
    assert "sealed with another secret" in rotated.heard.said[0]
    await rotated.cache.spend(clock.wall())
    assert (await process.sees()).entry == entry(clock), "what it could not open it left as it was"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
async def test_a_file_that_others_may_read_is_not_believed(path: Path, clock: FakeClock, mode: int) -> None:
    process = Process(path, clock)
    await process.cache.store(entry(clock))
    path.chmod(mode)
    other = Process(path, clock)
    assert (await other.sees()).entry is None
    assert "its mode must be 0600" in other.heard.said[0]
    await other.cache.store(entry(clock))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_of_another_user_a_link_and_a_directory_are_not_believed(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path, clock)
    await process.cache.store(entry(clock))
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 4242)
        other = Process(path, clock)
        assert (await other.sees()).entry is None
        assert "belongs to uid" in other.heard.said[0]
    target = path.rename(path.with_name("elsewhere"))
    path.symlink_to(target)
    other = Process(path, clock)
    assert (await other.sees()).entry is None
    await other.cache.store(entry(clock, "another"))
    assert not path.is_symlink(), "the link was replaced, its target not touched"
    path.unlink()
    path.mkdir()
    other = Process(path, clock)
    assert (await other.sees()).entry is None
    await other.cache.store(entry(clock))
    assert other.cache.behind
    assert sorted(each.name for each in path.parent.iterdir()) == ["elsewhere", "token"]


async def test_a_vanished_directory_is_told_once_and_made_up_for(path: Path, clock: FakeClock) -> None:
    process = Process(path / "gone" / "token", clock)
    async with process.cache.turn(lambda _: False) as ours:
        assert ours
        await process.cache.spend(clock.wall())
        await process.cache.store(entry(clock))
    assert len(process.heard.said) == 1
    behind = [process.cache.behind]
    (path / "gone").mkdir(parents=True)
    await process.cache.store(entry(clock))
    assert process.heard.said[1:] == ["recovered"]
    behind.append(process.cache.behind)
    assert behind == [True, False]
    kept = await Process(path / "gone" / "token", clock).sees()
    assert kept.requests == (clock.wall(),), "what was spent meanwhile is counted"


async def test_a_full_disk_leaves_the_old_file_whole(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path, clock)
    await process.cache.store(entry(clock))

    def full(_: Path, __: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(file_cache, "_write", full)
        await process.cache.store(entry(clock, "newer"))
    assert process.heard.said == [f"failed: {path} cannot be written: No space left on device"]
    assert (await Process(path, clock).sees()).entry == entry(clock)


async def test_a_write_that_fails_midway_leaves_nothing_behind(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path, clock)

    def fail(self: Path, _: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", fail)
    await process.cache.store(entry(clock))
    assert list(path.parent.iterdir()) == []


async def test_an_unreadable_secret_keeps_nothing_and_fails_nothing(path: Path, clock: FakeClock) -> None:
    def fail() -> str:
        raise ValueError("gone")

    await Process(path, clock).cache.store(entry(clock))
    heard = CacheHeard()
    cache = FileCache(path, Sealer("https://breeze", "oauth_a", fail), clock, heard)
    async with cache.turn(lambda kept: kept.entry is not None) as ours:
        assert ours
        await cache.store(entry(clock))
