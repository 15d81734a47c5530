"""Section 3 of the contract: one call."""

import asyncio
import gzip
import json
from contextlib import suppress
from io import BytesIO
from itertools import product

import aiohttp
import pytest
from support.program import ORDER, QUERY, Start, fault

from breeze_sidecar.emulator.app import Running as Emulator

BODY = json.dumps({"query": QUERY}).encode()


def request(line: str, *fields: str, body: bytes = BODY) -> bytes:
    lines = [line, *fields, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


JSON = "Content-Type: application/json"
HOST = "Host: localhost"


async def test_3_1_only_post_graphql_goes_through(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    before = emulator.state.graphql_requests
    for line, status in (
        ("POST /oauth/token HTTP/1.1", 404),
        ("POST /graphql/../oauth/token HTTP/1.1", 404),
        ("POST //graphql HTTP/1.1", 404),
        ("POST /%67raphql HTTP/1.1", 404),
        ("POST /graphql/ HTTP/1.1", 404),
        ("GET /graphql HTTP/1.1", 405),
        ("OPTIONS /graphql HTTP/1.1", 405),
        ("POST http://localhost/graphql HTTP/1.1", 400),
        ("CONNECT localhost:443 HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
    ):
        answer = await program.raw(request(line, HOST, JSON))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (line, answer)
        assert b"Proxy-Status: breeze-sidecar" in answer
        assert (b"\r\nAllow: POST\r\n" in answer) is (status == 405)
    assert emulator.state.graphql_requests == before
    await program.raw(request("POST /graphql?trace=a%2fb&x HTTP/1.1", HOST, JSON))
    assert emulator.state.requests[-1]["path"] == "/graphql?trace=a%2fb&x"


async def test_3_2_refused_at_the_door(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(required_header="X-Breeze-Request: true", max_request_bytes="2000", warm=False)
    own = "X-Breeze-Request: true"
    for fields, status in (
        (("Host: evil.example", JSON, own), 403),
        ((HOST, JSON, own, "Origin: https://evil.example"), 403),
        ((HOST, JSON, own, "Sec-Fetch-Site: cross-site"), 403),
        ((HOST, "Content-Type: text/plain", own), 415),
        ((HOST, own), 415),
        ((HOST, JSON), 412),
        (("Host: 127.0.0.1:99", JSON, own), 200),
        (("Host: [::1]", JSON, own), 200),
    ):
        answer = await program.raw(request("POST /graphql HTTP/1.1", *fields))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (fields, answer)
    too_large = await program.raw(request("POST /graphql HTTP/1.1", HOST, JSON, own, body=b" " * 3000))
    assert too_large.startswith(b"HTTP/1.1 413 ")
    chunked = request("POST /graphql HTTP/1.1", HOST, JSON, own, body=b"").replace(b"Content-Length: 0\r\n", b"")[:-2]
    chunked += b"Transfer-Encoding: chunked\r\n\r\n" + (b"3e8\r\n" + b" " * 1000 + b"\r\n") * 3 + b"0\r\n\r\n"
    assert (await program.raw(chunked)).startswith(b"HTTP/1.1 413 ")


async def test_3_2_an_allowed_page_may_call_after_a_preflight(sidecar: Start) -> None:
    program = await sidecar(allowed_origins="https://app.example", allowed_hosts="breeze")
    asked = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
    answer = await program.raw(request("OPTIONS /graphql HTTP/1.1", "Host: breeze:4747", *asked, body=b""))
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"Access-Control-Allow-Origin: https://app.example" in answer
    reply = await program.call(Origin="https://app.example")
    assert reply.status == 200
    assert reply.fields["Access-Control-Allow-Origin"] == "https://app.example"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nX: " + b"secret" * 9000 + b"\r\n\r\n", id="oversized"
        ),
        pytest.param(
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two framings",
        ),
        pytest.param(
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            id="a bad chunk",
        ),
    ],
)
async def test_3_2_what_is_not_http_gets_a_400_that_echoes_nothing(sidecar: Start, sent: bytes) -> None:
    program = await sidecar()
    answer = await program.raw(sent)
    assert answer.split(b" ")[1] == b"400"
    assert b"SIDECAR_BAD_REQUEST" in answer
    assert b"secretsecret" not in answer
    assert "secretsecret" not in "\n".join(program.lines)
    assert (await program.call()).status == 200


async def test_3_3_forwarded_unchanged(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    body = gzip.compress(BODY)
    await program.post(
        body,
        Content_Encoding="gzip",
        Authorization="Bearer of-the-caller",
        Cookie="a=b",
        X_Forwarded_For="10.0.0.1",
        X_Own="kept",
        Accept_Encoding="br, gzip",
        Connection="X-Hop",
        X_Hop="1",
    )
    seen = emulator.state.requests[-1]
    fields: dict[str, str] = dict(seen["fields"])  # type: ignore[call-overload] # pairs
    token = next(reversed(emulator.state.tokens))
    assert fields["Authorization"] == f"Bearer {token}"
    assert fields["Host"] == emulator.url.removeprefix("http://")
    assert fields["Via"] == "1.1 breeze-sidecar"
    assert fields["X-Own"] == "kept"
    assert fields["Accept-Encoding"] == "gzip"
    assert fields["Content-Encoding"] == "gzip"
    assert fields["Content-Length"] == str(len(body))
    assert len(fields["X-Request-Id"]) == 32
    assert not {"Cookie", "X-Forwarded-For", "X-Hop", "Connection"} & fields.keys()


async def test_3_3_redirects_are_not_followed_and_cookies_not_kept(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="fail", status=307, times=1)
    assert (await program.call()).status == 307
    emulator.state.config = emulator.state.config.__class__(set_cookie=True)
    assert "Set-Cookie" in (await program.call()).fields
    await program.call()
    assert "Cookie" not in dict(emulator.state.requests[-1]["fields"])  # type: ignore[call-overload] # pairs


async def test_3_3_a_large_body_is_asked_for_and_passes(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    photo = "x" * 5_000_000
    body = json.dumps({"query": QUERY, "variables": {"photo": photo}}).encode()
    async with program.session.post(
        f"{program.url}/graphql", data=BytesIO(body), headers={"Content-Type": "application/json"}, expect100=True
    ) as answer:
        assert answer.status == 200
    assert emulator.state.requests[-1]["bytes"] == len(body)


async def test_3_4_answers_return_unchanged(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    answer = await program.raw(request("POST /graphql HTTP/1.1", HOST, JSON))
    assert b"Server: breeze-emulator\r\n" in answer
    assert answer.count(b"Date: ") == 1
    assert b"Proxy-Status" not in answer
    assert b"X-RateLimit-Remaining: " in answer
    fault(emulator, kind="fail", status=503, times=1)
    reply = await program.call()
    assert (reply.status, reply.body) == (503, b'{"message": "a fault of the emulator"}')


@pytest.mark.parametrize("media", ["text/event-stream", "multipart/mixed"])
async def test_3_4_streams_are_passed_on_as_they_arrive(sidecar: Start, emulator: Emulator, media: str) -> None:
    program = await sidecar()
    fault(emulator, kind="stream", media=media, pieces=3, times=1)
    reply = await program.call()
    assert reply.fields["Content-Type"].startswith(media)
    assert b"user@example.com" in reply.body


async def test_3_4_a_piece_reaches_the_caller_before_the_next_one_is_sent(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="stream", pieces=2, piece_delay=0.2, times=1)
    async with program.session.post(
        f"{program.url}/graphql", data=BODY, headers={"Content-Type": "application/json"}
    ) as answer:
        first = await answer.content.readany()
        assert b"event: next" in first
        assert b"event: complete" not in first
        assert b"event: complete" in await answer.read()


async def test_3_4_large_answers_pass_whole(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    introspection = " ".join(f"a{n}: __schema {{ types {{ name fields {{ name }} }} }}" for n in range(60))
    reply = await program.call(f"{{ {introspection} }}")
    assert len(reply.body) > 100_000
    assert len(reply.json["data"]) == 60


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_3_5_a_revoked_token_is_replaced_and_the_call_replayed(
    sidecar: Start, emulator: Emulator, status: int
) -> None:
    program = await sidecar()
    emulator.state.config = emulator.state.config.__class__(
        client_secret=emulator.state.config.client_secret, unauthenticated_status=status
    )
    for n, (document, coding) in enumerate(product([QUERY, ORDER], ["identity", "gzip", "deflate"])):
        emulator.state.revoke()
        reply = await program.call(document, Accept_Encoding=coding)
        assert reply.status == 200
        assert "errors" not in reply.json
        assert len(emulator.state.token_request_times) == 2 + n
        assert (await program.completed())["replayed"] is True
    assert len(emulator.state.orders) == 3


@pytest.mark.parametrize("lie", ["html-401", "empty-401", "not-json", "bom"])
async def test_3_5_odd_refusals_are_refusals(sidecar: Start, emulator: Emulator, lie: str) -> None:
    program = await sidecar()
    fault(emulator, kind="lie", lie=lie, times=1)
    assert "errors" not in (await program.call(ORDER)).json
    assert len(emulator.state.orders) == 1


async def test_3_5_the_second_answer_is_passed_on_as_it_came(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="reject")
    reply = await program.call(ORDER)
    assert reply.json == {"errors": [{"message": "Token validation failed", "extensions": {"code": "UNAUTHENTICATED"}}]}
    assert "Proxy-Status" not in reply.fields
    assert emulator.state.orders == []


@pytest.mark.parametrize(
    ("fields", "orders"),
    [
        pytest.param({"kind": "fail", "when": "before"}, 0, id="fails before"),
        pytest.param({"kind": "fail", "when": "after"}, 1, id="fails after"),
        pytest.param({"kind": "reset", "when": "before"}, 0, id="resets before"),
        pytest.param({"kind": "reset", "when": "after"}, 1, id="resets after"),
        pytest.param({"kind": "reset", "when": "body"}, 1, id="resets in the body"),
        pytest.param({"kind": "throttle", "retry_after": 1}, 1, id="a short rate limit"),
        pytest.param({"kind": "throttle", "retry_after": 60}, 0, id="a long rate limit"),
        pytest.param({"kind": "reject"}, 1, id="rejects the token"),
        pytest.param({"kind": "lie", "lie": "partial"}, 1, id="executes and refuses"),
        pytest.param({"kind": "lie", "lie": "path"}, 1, id="refuses the field"),
        pytest.param({"kind": "lie", "lie": "midway"}, 1, id="refuses after the field"),
        pytest.param({"kind": "lie", "lie": "midway", "after": 0}, 1, id="refuses within"),
        pytest.param({"kind": "lie", "lie": "html-401"}, 1, id="401 with HTML"),
        pytest.param({"kind": "lie", "lie": "truncated-gzip"}, 0, id="truncated gzip"),
        pytest.param({"kind": "lie", "lie": "bomb"}, 0, id="a bomb"),
        pytest.param({"kind": "lie", "lie": "wrong-type"}, 0, id="the wrong media type"),
        pytest.param({"kind": "slow", "delay": 0.05, "pieces": 3}, 1, id="is slow"),
        pytest.param({"kind": "stream"}, 1, id="streams"),
    ],
)
async def test_3_6_no_fault_makes_two_orders_of_one(
    sidecar: Start, emulator: Emulator, fields: dict[str, object], orders: int
) -> None:
    program = await sidecar()
    fault(emulator, **fields, times=1)
    with suppress(OSError, aiohttp.ClientError):  # a body that breaks off breaks the caller's connection, too
        await program.call(ORDER)
    assert len(emulator.state.orders) == orders


async def test_3_6_a_mutation_with_two_root_fields_is_not_replayed(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    order = 'CredentialOrderV1(credential: {template_id: "sample-template-1", data: []}) { _id }'
    fault(emulator, kind="lie", lie="midway", after=1, times=1)
    reply = await program.call(f"mutation {{ a: {order} b: {order} }}")
    assert reply.json["data"] is None
    assert len(emulator.state.orders) == 1
    assert (await program.completed())["replay"] == "unsafe"
    await program.call()
    assert len(emulator.state.token_request_times) == 2


async def test_3_6_half_a_batch_is_not_replayed(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="lie", lie="half", times=1)
    reply = await program.post(json.dumps([{"query": ORDER}, {"query": QUERY}]).encode())
    assert len(reply.json) == 2
    assert len(emulator.state.orders) == 1


async def test_3_7_a_query_is_sent_again_after_a_broken_connection_and_a_mutation_is_not(
    sidecar: Start, emulator: Emulator
) -> None:
    program = await sidecar()
    fault(emulator, kind="reset", times=1)
    assert (await program.call()).status == 200
    fault(emulator, kind="reset", times=1)
    reply = await program.call(ORDER)
    assert (reply.status, reply.code) == (502, "SIDECAR_UPSTREAM_UNREACHABLE")
    assert reply.fields["Proxy-Status"] == "breeze-sidecar; error=destination_unavailable"


async def test_3_7_an_unreachable_upstream_is_502(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(connect_timeout="0.3")
    await emulator.close()
    reply = await program.call(ORDER, Accept="application/graphql-response+json")
    assert (reply.status, reply.code) == (502, "SIDECAR_UPSTREAM_UNREACHABLE")
    assert reply.fields["Content-Type"] == "application/graphql-response+json; charset=utf-8"
    assert "data" not in reply.json


async def test_3_7_an_upstream_that_hangs_is_504(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(upstream_timeout="0.3")
    fault(emulator, kind="hang", times=1)
    reply = await program.call(ORDER)
    assert (reply.status, reply.code) == (504, "SIDECAR_UPSTREAM_TIMEOUT")
    assert (await program.call()).status == 200


async def test_3_7_an_answer_that_breaks_off_is_never_taken_for_whole(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(upstream_timeout="0.3")
    fault(emulator, kind="slow", pieces=2, piece_delay=30)
    fault(emulator, kind="stream", pieces=2, piece_delay=30, times=1)
    answer = await program.raw(request("POST /graphql HTTP/1.1", HOST, JSON))
    assert not answer.endswith(b"0\r\n\r\n")


async def test_3_8_a_429_that_passes_soon_is_waited_for(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="throttle", reset_after=1, times=1)
    assert (await program.call(ORDER)).status == 200
    assert len(emulator.state.orders) == 1


async def test_3_8_a_longer_429_is_passed_on_with_retry_after(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    fault(emulator, kind="throttle", reset_after=60)
    reply = await program.call(ORDER)
    assert reply.status == 429
    assert reply.body == b"Too many requests from this IP, please try again later"
    assert 58 <= int(reply.fields["Retry-After"]) <= 61


async def test_3_9_own_answers_are_graphql_request_errors(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    reply = await program.post(BODY, "/elsewhere")
    assert reply.json == {
        "errors": [{"message": "Only POST /graphql is served.", "extensions": {"code": "SIDECAR_NOT_FOUND"}}]
    }
    assert reply.fields["Content-Type"] == "application/json; charset=utf-8"


async def test_more_calls_than_the_concurrency_wait_their_turn(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(max_concurrency="5")
    fault(emulator, kind="hang")
    calls = [asyncio.get_running_loop().create_task(program.call()) for _ in range(20)]
    while emulator.state.faults.waiting < 5:
        await asyncio.wait(calls, timeout=0.02)
    assert emulator.state.graphql_requests == 1 + 5
    emulator.state.faults.clear()
    assert {reply.status for reply in await asyncio.gather(*calls)} == {200}
