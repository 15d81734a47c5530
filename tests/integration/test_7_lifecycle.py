"""Section 7 of the contract: start, drain, stop; and where callers connect."""

import asyncio
import signal
import stat
from contextlib import suppress
from pathlib import Path

import aiohttp
from support.program import Program, Start, fault

from breeze_sidecar.emulator.app import Running as Emulator


async def in_flight(program: Program, emulator: Emulator) -> "asyncio.Task[object]":
    """A call that Breeze has received and not answered."""
    call = asyncio.get_running_loop().create_task(program.call())
    while not emulator.state.faults.waiting:
        await asyncio.wait([call], timeout=0.01)
    return call


async def test_7_a_call_in_flight_at_sigterm_gets_its_answer_whole(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="slow", delay=3, pieces=3, times=1)
    call = asyncio.get_running_loop().create_task(program.call())
    while not emulator.state.faults.waiting:
        await asyncio.wait([call], timeout=0.01)
    program.process.terminate()
    reply = await call
    assert reply.json["data"]["Me"]["email"] == "user@example.com"
    assert await program.ended() == 0
    assert program.events("sidecar.stopped")[0]["calls_cut_off"] == 0


async def test_7_calls_that_outlast_the_grace_are_cut_off_and_told_by_the_exit_code(
    sidecar: Start, emulator: Emulator
) -> None:
    program = await sidecar(shutdown_grace="0.2")
    fault(emulator, kind="hang")
    call = await in_flight(program, emulator)
    program.process.terminate()
    assert await program.ended() == 1
    with suppress(aiohttp.ClientError):
        await call
    assert program.events("sidecar.stopped")[0]["calls_cut_off"] == 1


async def test_7_during_the_delay_new_connections_are_served_and_readyz_says_stopping(sidecar: Start) -> None:
    program = await sidecar(shutdown_delay="1.5")
    program.process.terminate()
    while not program.events("sidecar.stopping"):
        program._more.clear()
        await program._more.wait()
    ready = await program.ask("/readyz")
    assert (ready.status, ready.body) == (503, b"stopping\n")
    async with (
        aiohttp.ClientSession() as other,
        other.post(f"{program.url}/graphql", json={"query": "{ Me { _id } }"}) as answer,
    ):
        assert answer.status == 200
    assert await program.ended() == 0


async def test_7_while_draining_kept_connections_are_refused_new_calls(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="hang", times=1)
    call = await in_flight(program, emulator)
    await program.call()  # leaves a kept connection
    program.process.terminate()
    while not program.events("sidecar.stopping"):
        program._more.clear()
        await program._more.wait()
    with suppress(aiohttp.ClientError):
        reply = await program.call()
        assert (reply.status, reply.code) == (503, "SIDECAR_SHUTTING_DOWN")
        assert reply.fields["Connection"] == "close"
    emulator.state.faults.clear()
    await call
    assert await program.ended() == 0


async def test_7_a_second_signal_ends_it_at_once(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="hang")
    call = await in_flight(program, emulator)
    program.process.send_signal(signal.SIGINT)
    while not program.events("sidecar.stopping"):
        program._more.clear()
        await program._more.wait()
    program.process.send_signal(signal.SIGINT)
    assert await program.ended() == 1
    with suppress(aiohttp.ClientError):
        await call


async def test_7_if_breeze_is_down_it_listens_and_recovers_by_itself(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="fail", endpoint="token", status=500, times=3)
    program = await sidecar(warm=False)
    while (await program.ask("/readyz")).status != 200:
        program._more.clear()
        await program._more.wait()
    assert emulator.state.graphql_requests == 0


async def test_2_a_unix_socket_is_for_its_user_only(sidecar: Start, tmp_path: Path) -> None:
    path = tmp_path / "breeze.sock"
    program = await sidecar(uds=str(path))
    assert program.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connector = aiohttp.UnixConnector(str(path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://any.example/graphql", json={"query": "{ Me { _id } }"}) as answer,
    ):
        assert answer.status == 200
    second = await sidecar(uds=str(path), listens=False)
    assert await second.ended() == 2
    assert f"BREEZE_UDS: {path} is in use" in second.lines[0]
    program.process.kill()
    await program.ended()
    assert path.exists()
    third = await sidecar(uds=str(path))
    third.process.terminate()
    assert await third.ended() == 0
    assert not path.exists()


async def test_2_a_path_that_is_no_socket_is_left_alone(sidecar: Start, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("keep")
    program = await sidecar(uds=str(path), listens=False)
    assert await program.ended() == 2
    assert path.read_text() == "keep"
    assert "exists and is no socket" in program.lines[0]


async def test_7_a_token_request_in_flight_at_sigterm_is_given_up_in_silence(
    sidecar: Start, emulator: Emulator
) -> None:
    fault(emulator, kind="hang", endpoint="token")
    program = await sidecar(warm=False)
    while not emulator.state.faults.waiting:
        await asyncio.wait([asyncio.ensure_future(program.process.wait())], timeout=0.02)
    program.process.terminate()
    assert await program.ended() == 0
    assert program.events("token.refresh_failed") == []
    assert program.events("sidecar.stopped") != []
