"""Sections 5 and 6 of the contract: the admin port, logs and metrics."""

import asyncio
import json

from support.program import ORDER, Start, fault

from breeze_sidecar.emulator.app import Running as Emulator


async def test_5_readyz_tells_why_not(sidecar: Start, emulator: Emulator) -> None:
    fault(emulator, kind="hang", endpoint="token")
    program = await sidecar(warm=False)
    live, ready = await program.ask("/livez"), await program.ask("/readyz")
    assert (live.status, live.body) == (200, b"alive\n")
    assert (ready.status, ready.body) == (503, b"waiting for the first token\n")
    emulator.state.faults.clear()
    await program.call()
    assert (await program.ask("/readyz")).status == 200
    assert emulator.state.graphql_requests == 1


async def test_5_the_admin_port_has_nothing_else(sidecar: Start) -> None:
    program = await sidecar()
    assert (await program.ask("/")).status == 404
    assert (await program.ask("/graphql")).status == 404
    async with program.session.post(f"{program.admin}/livez") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    async with program.session.post(f"{program.admin}/quitquitquit") as answer:
        assert answer.status == 404


async def test_5_quitquitquit_ends_the_sidecar_but_not_for_a_web_page(sidecar: Start) -> None:
    program = await sidecar(admin_quit="true")
    async with program.session.post(f"{program.admin}/quitquitquit", headers={"Origin": "https://a.example"}) as answer:
        assert answer.status == 403
    async with program.session.post(f"{program.admin}/quitquitquit") as answer:
        assert answer.status == 200
    assert await program.ended() == 0


async def test_6_metrics_tell_of_calls_and_the_token(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    emulator.state.revoke()
    await program.call(ORDER)
    await program.post(b"{}", "/elsewhere")
    await program.completed()
    text = (await program.ask("/metrics")).body.decode()
    for line in (
        'breeze_sidecar_requests_total{operation="Who",outcome="passed",status="200"} 1.0',
        'breeze_sidecar_requests_total{operation="Order",outcome="replayed",status="200"} 1.0',
        'breeze_sidecar_requests_total{operation="none",outcome="refused",status="404"} 1.0',
        'breeze_sidecar_token_requests_total{outcome="granted"} 2.0',
        'breeze_sidecar_replays_total{outcome="accepted"} 1.0',
        "breeze_sidecar_rate_limit_limit 3600.0",
        "breeze_sidecar_rate_limit_remaining 3597.0",
        "breeze_sidecar_requests_in_flight 0.0",
        "breeze_sidecar_upstream_duration_seconds_count 3.0",
        "breeze_sidecar_request_duration_seconds_count 3.0",
        'breeze_sidecar_build_info{environment="test",version="0.1.0"} 1.0',
    ):
        assert line in text, line
    assert "breeze_sidecar_token_expiry_timestamp_seconds 1" in text
    assert "breeze_sidecar_rate_limit_reset_timestamp_seconds 1" in text


async def test_6_names_of_operations_are_capped(sidecar: Start) -> None:
    program = await sidecar()
    await asyncio.gather(*(program.call(f"query Q{n} {{ Me {{ _id }} }}") for n in range(60)))
    text = (await program.ask("/metrics")).body.decode()
    assert text.count("breeze_sidecar_requests_total{") <= 51
    assert 'operation="other"' in text


async def test_6_each_call_is_one_line(sidecar: Start) -> None:
    program = await sidecar()
    await program.call(X_Request_Id="mine")
    line = await program.completed()
    assert {key: line[key] for key in ("operation", "status", "replayed", "request_id", "level")} == {
        "operation": "Who",
        "status": 200,
        "replayed": False,
        "request_id": "mine",
        "level": "info",
    }
    assert line["duration_ms"] > 0


async def test_6_status_is_for_people_and_holds_no_secret(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    status = (await program.ask("/status")).json
    assert status["ready"] is True
    assert status["upstream"] == emulator.url
    assert status["token"]["state"] == "fresh"
    assert status["token"]["requests_last_hour"] == 1


async def test_6_a_token_that_a_caller_sends_is_not_logged(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    token = next(iter(emulator.state.tokens))
    await program.call(X_Request_Id=token, Authorization=f"Bearer {token}")
    line = await program.completed()
    assert line["request_id"] == "[redacted]"
    assert token not in json.dumps(program.lines)
