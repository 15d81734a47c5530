"""Section 4 of the contract: the token."""

import asyncio
from pathlib import Path

import pytest
from support.program import ORDER, Start, fault

from breeze_sidecar.emulator.app import Running as Emulator


async def test_4_1_three_hundred_cold_calls_make_one_token_request(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="slow", endpoint="token", delay=0.3)
    program = await sidecar(warm=False)
    replies = await asyncio.gather(*(program.call() for _ in range(300)))
    assert {reply.status for reply in replies} == {200}
    assert len(emulator.state.token_request_times) == 1


async def test_4_1_a_caller_that_hangs_up_cancels_no_other(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="slow", endpoint="token", delay=0.3)
    program = await sidecar(warm=False)
    first, second = (asyncio.get_running_loop().create_task(program.call()) for _ in range(2))
    while not emulator.state.token_request_times:
        await asyncio.wait([first], timeout=0.01)
    first.cancel()
    assert (await second).status == 200
    assert len(emulator.state.token_request_times) == 1


async def test_4_2_a_short_lifetime_is_refreshed_ahead_without_a_stampede(sidecar: Start, emulator: Emulator) -> None:
    emulator.state.config = emulator.state.config.__class__(
        client_secret=emulator.state.config.client_secret, token_lifetime=2
    )
    program = await sidecar()
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < 4:
        assert "errors" not in (await program.call()).json
    assert len(emulator.state.token_request_times) <= 4
    assert emulator.state.unauthenticated == 0


async def test_4_3_a_hundred_calls_in_flight_when_all_tokens_die_make_one_more_request(
    sidecar: Start, emulator: Emulator
) -> None:
    program = await sidecar()
    fault(emulator, kind="slow", delay=0.3)
    calls = [asyncio.get_running_loop().create_task(program.call()) for _ in range(100)]
    while emulator.state.faults.waiting < 100:
        await asyncio.wait(calls, timeout=0.02)
    emulator.state.revoke()
    replies = await asyncio.gather(*calls)
    assert all("errors" not in reply.json for reply in replies)
    assert len(emulator.state.token_request_times) == 2


async def test_4_4_five_hundred_calls_against_an_upstream_that_rejects_everything(
    sidecar: Start, emulator: Emulator
) -> None:
    program = await sidecar()
    fault(emulator, kind="reject")
    for _ in range(25):
        replies = await asyncio.gather(*(program.call() for _ in range(20)))
        assert all(reply.json["errors"] for reply in replies)
    assert len(emulator.state.token_request_times) <= 5


async def test_4_5_calls_wait_for_a_token_endpoint_that_recovers(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="fail", endpoint="token", status=503, times=2)
    program = await sidecar(warm=False)
    assert (await program.call()).status == 200
    assert len(emulator.state.token_request_times) == 3


async def test_4_5_rejected_credentials_are_told_at_once(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(client_secret="wrong", warm=False)
    reply = await program.call()
    assert (reply.status, reply.code) == (503, "SIDECAR_CREDENTIALS_REJECTED")
    assert 25 <= int(reply.fields["Retry-After"]) <= 30
    assert "BREEZE_CLIENT_ID" in reply.json["errors"][0]["message"]
    await program.call()
    assert len(emulator.state.token_request_times) == 1


async def test_4_5_a_token_429_is_waited_for_as_told(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="throttle", endpoint="token", retry_after=420)
    program = await sidecar(warm=False)
    reply = await program.call()
    assert (reply.status, reply.code) == (503, "SIDECAR_TOKEN_UNAVAILABLE")
    assert 415 <= int(reply.fields["Retry-After"]) <= 422


async def test_4_5_a_rotated_secret_file_works_without_a_restart(
    sidecar: Start, emulator: Emulator, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(emulator.state.client_secret + "\n")
    program = await sidecar(client_secret="", client_secret_file=str(file))
    file.write_text(emulator.state.rotate(None, 0) + "\r\n")
    emulator.state.revoke()
    assert "errors" not in (await program.call(ORDER)).json
    assert len(emulator.state.orders) == 1


@pytest.mark.parametrize(
    "lie", ["not-json", "array", "no-token", "token-spaces", "token-controls", "token-type", "expires-negative"]
)
async def test_4_7_malformed_answers_are_failures_with_a_message(sidecar: Start, emulator: Emulator, lie: str) -> None:
    fault(emulator, kind="lie", endpoint="token", lie=lie, times=1)
    program = await sidecar(warm=False)
    assert (await program.call()).status == 200
    failed = program.events("token.refresh_failed")
    assert [event["reason"] for event in failed] == ["malformed"]
    assert failed[0]["message"].startswith("the token endpoint's answer")


@pytest.mark.parametrize("lie", ["expires-string", "expires-float", "expires-missing"])
async def test_4_2_odd_lifetimes_will_do(sidecar: Start, emulator: Emulator, lie: str) -> None:
    fault(emulator, kind="lie", endpoint="token", lie=lie)
    program = await sidecar()
    assert program.events("token.refreshed")[0]["expires_in"] in {3599, 3600}
