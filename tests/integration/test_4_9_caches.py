"""Section 4, rule 9 of the contract, with whole sidecars."""

import asyncio
from pathlib import Path

import pytest
from support.program import ORDER, Program, Start, fault
from support.redis_server import SERVERS, serving

from breeze_sidecar.emulator.app import Running as Emulator


async def kill(program: Program) -> None:
    program.process.kill()
    await program.ended()


async def test_4_9_a_file_survives_kills_and_restarts(sidecar: Start, emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    for _ in range(5):
        program = await sidecar(token_cache=f"file://{file}")
        assert "errors" not in (await program.call()).json
        await kill(program)
    assert len(emulator.state.token_request_times) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    held = next(iter(emulator.state.tokens))
    assert held.encode() not in file.read_bytes()
    emulator.state.revoke()
    program = await sidecar(token_cache=f"file://{file}")
    assert "errors" not in (await program.call(ORDER)).json
    assert len(emulator.state.token_request_times) == 2
    assert (await program.ask("/status")).json["token"]["requests_last_hour"] == 2


async def test_4_9_a_holder_killed_in_the_middle_of_its_request_blocks_nobody(
    sidecar: Start, emulator: Emulator, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/token"
    fault(emulator, kind="hang", endpoint="token", times=1)
    first = await sidecar(token_cache=url, warm=False)
    while not emulator.state.faults.waiting:
        await asyncio.wait([asyncio.ensure_future(first.process.wait())], timeout=0.02)
    second = await sidecar(token_cache=url, warm=False)
    calling = asyncio.get_running_loop().create_task(second.call())
    await kill(first)
    assert "errors" not in (await calling).json
    assert len(emulator.state.token_request_times) == 2


async def test_4_9_a_directory_that_cannot_be_written_is_a_warning(
    sidecar: Start, emulator: Emulator, tmp_path: Path
) -> None:
    program = await sidecar(token_cache=f"file://{tmp_path}/gone/token")
    assert "errors" not in (await program.call()).json
    assert len(program.events("cache.failed")) == 1
    assert b"breeze_sidecar_token_cache_up 0.0" in (await program.ask("/metrics")).body


@pytest.mark.parametrize("kind", list(SERVERS))
async def test_4_9_redis_is_shared_by_all_replicas(
    sidecar: Start, emulator: Emulator, tmp_path: Path, kind: str
) -> None:
    async with serving(kind, tmp_path) as server:
        replicas = await asyncio.gather(*(sidecar(token_cache=server.url, warm=False) for _ in range(4)))
        replies = await asyncio.gather(*(replica.call() for replica in replicas))
        assert all("errors" not in reply.json for reply in replies)
        assert len(emulator.state.token_request_times) == 1
        emulator.state.revoke()
        replies = await asyncio.gather(*(replica.call(ORDER) for replica in replicas))
        assert all("errors" not in reply.json for reply in replies)
        assert len(emulator.state.token_request_times) == 2
        assert len(emulator.state.orders) == 4
        await server.stop()
        emulator.state.revoke()
        assert "errors" not in (await replicas[0].call()).json
        assert len(replicas[0].events("cache.failed")) == 1
        await server.start()


async def test_4_9_an_asker_that_is_killed_is_replaced_within_seconds(
    sidecar: Start, emulator: Emulator, tmp_path: Path
) -> None:
    async with serving("valkey", tmp_path) as server:
        fault(emulator, kind="hang", endpoint="token", times=1)
        first = await sidecar(token_cache=server.url, warm=False)
        while not emulator.state.faults.waiting:
            await asyncio.wait([asyncio.ensure_future(first.process.wait())], timeout=0.02)
        others = await asyncio.gather(*(sidecar(token_cache=server.url, warm=False) for _ in range(2)))
        calls = [asyncio.get_running_loop().create_task(other.call()) for other in others]
        await kill(first)
        assert all("errors" not in reply.json for reply in await asyncio.gather(*calls))
        assert len(emulator.state.token_request_times) == 2
