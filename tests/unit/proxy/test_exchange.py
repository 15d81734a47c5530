"""The story of one call, with fakes at its three ports."""

import asyncio
import json
from collections.abc import Callable

import pytest
from support.clock import FakeClock

from breeze_sidecar.errors import TokenUnavailable, UpstreamTimeout, UpstreamUnreachable
from breeze_sidecar.proxy.exchange import Exchange, Exchanged
from breeze_sidecar.proxy.fields import ResponseFields, response_fields
from breeze_sidecar.proxy.upstream import Call
from breeze_sidecar.token.access_token import AccessToken

UNAUTHENTICATED = {"message": "Token validation failed", "extensions": {"code": "UNAUTHENTICATED"}}
REFUSED: dict[str, object] = {"errors": [UNAUTHENTICATED]}
GOOD: dict[str, object] = {"data": {"ok": True}}
PARTIAL = GOOD | REFUSED
QUERY = '{"query": "{ Me { _id } }"}'
ORDER = '{"query": "mutation { CredentialOrderV1 { _id } }"}'


class FakeAnswer:
    def __init__(self, status: int, content: object, fields: list[tuple[bytes, bytes]] | None = None) -> None:
        self.status = status
        self.fields: ResponseFields = response_fields(
            [(b"Content-Type", b"application/json"), (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"), *(fields or [])]
        )
        self.head = b""
        self.complete = False
        self.released = False
        self.breaks: Exception | None = None
        self._content = json.dumps(content).encode()

    async def look(self, limit: int) -> None:
        if self.breaks is not None:
            raise self.breaks
        self.head, self.complete = self._content, True

    def release(self) -> None:
        self.released = True


class FakeUpstream:
    def __init__(self, *script: FakeAnswer | Exception) -> None:
        self.script = list(script)
        self.sent: list[tuple[str, bool]] = []

    async def send(self, call: Call, token: AccessToken, *, again: bool = False) -> FakeAnswer:
        self.sent.append((token.value, again))
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


class FakeTokens:
    def __init__(self, replacement: Callable[[], AccessToken | None]) -> None:
        self.replacement = replacement
        self.discarded: list[str] = []
        self.good: list[str] = []

    async def get(self) -> AccessToken:
        return token("one")

    async def replace(self, rejected: AccessToken) -> AccessToken | None:
        assert rejected.value == "one"
        return self.replacement()

    def discard(self, rejected: AccessToken) -> bool:
        self.discarded.append(rejected.value)
        return True

    def accepted(self, token: AccessToken) -> None:
        self.good.append(token.value)


def token(value: str) -> AccessToken:
    return AccessToken(value, 1e9, 1e9)


def call(body: str) -> Call:
    return Call("/graphql", b"", body.encode(), "", steady=False)


class World:
    def __init__(self, *script: FakeAnswer | Exception, max_wait: float = 5) -> None:
        self.clock = FakeClock()
        self.upstream = FakeUpstream(*script)
        self.tokens = FakeTokens(lambda: token("two"))
        self.exchange: Exchange[Call, FakeAnswer] = Exchange(self.tokens, self.upstream, self.clock, max_wait=max_wait)

    async def perform(self, body: str) -> Exchanged[FakeAnswer]:
        task = asyncio.get_running_loop().create_task(self.exchange.perform(call(body)))
        await self.clock.advance(100)
        assert task.done()
        return await task


async def test_an_accepted_call_is_sent_once() -> None:
    world = World(FakeAnswer(200, GOOD))
    done = await world.perform(ORDER)
    assert (done.answer.status, done.replay) == (200, None)
    assert world.upstream.sent == [("one", False)]
    assert world.tokens.good == ["one"]


@pytest.mark.parametrize("body", [QUERY, ORDER])
async def test_a_call_refused_as_a_whole_is_replayed_once_with_another_token(body: str) -> None:
    first = FakeAnswer(200, REFUSED)
    world = World(first, FakeAnswer(200, GOOD))
    done = await world.perform(body)
    assert done.replay == "accepted"
    assert done.answer.head == json.dumps(GOOD).encode()
    assert first.released
    assert world.upstream.sent == [("one", False), ("two", False)]
    assert world.tokens.good == ["two"]


async def test_the_second_answer_is_passed_on_as_it_came() -> None:
    world = World(FakeAnswer(401, REFUSED), FakeAnswer(401, REFUSED))
    done = await world.perform(QUERY)
    assert (done.answer.status, done.replay) == (401, "rejected")
    assert world.tokens.discarded == ["two"]


async def test_a_mutation_that_may_have_run_is_not_replayed() -> None:
    world = World(FakeAnswer(200, PARTIAL))
    done = await world.perform(ORDER)
    assert done.replay == "unsafe"
    assert not done.answer.released
    assert world.tokens.discarded == ["one"]
    assert len(world.upstream.sent) == 1


async def test_in_a_cool_down_callers_get_breezes_own_answer() -> None:
    world = World(FakeAnswer(401, REFUSED))
    world.tokens.replacement = lambda: None
    done = await world.perform(QUERY)
    assert (done.answer.status, done.replay) == (401, "withheld")
    assert not done.answer.released


async def test_without_a_replacement_the_caller_is_told_so() -> None:
    def none() -> AccessToken:
        raise TokenUnavailable("none")

    answer = FakeAnswer(401, REFUSED)
    world = World(answer)
    world.tokens.replacement = none
    with pytest.raises(TokenUnavailable):
        await world.perform(QUERY)
    assert answer.released


@pytest.mark.parametrize(("body", "sends"), [pytest.param(QUERY, 2, id="query"), pytest.param(ORDER, 1, id="mutation")])
async def test_after_something_was_sent_only_a_query_is_sent_again(body: str, sends: int) -> None:
    world = World(UpstreamUnreachable("broke", sent=True), FakeAnswer(200, GOOD))
    if sends == 1:
        with pytest.raises(UpstreamUnreachable):
            await world.perform(body)
    else:
        await world.perform(body)
    assert [again for _, again in world.upstream.sent] == [False, True][:sends]


async def test_a_query_is_sent_again_once_only() -> None:
    world = World(UpstreamUnreachable("broke", sent=True), UpstreamUnreachable("broke", sent=True))
    with pytest.raises(UpstreamUnreachable):
        await world.perform(QUERY)
    assert len(world.upstream.sent) == 2


async def test_an_answer_that_breaks_off_while_it_is_looked_at_counts_as_broken() -> None:
    broken = FakeAnswer(200, GOOD)
    broken.breaks = UpstreamUnreachable("broke", sent=True)
    world = World(broken, FakeAnswer(200, GOOD))
    assert (await world.perform(QUERY)).answer.status == 200


@pytest.mark.parametrize("error", [UpstreamTimeout("slow", sent=True), UpstreamUnreachable("none", sent=False)])
async def test_timeouts_and_unmade_connections_are_not_sent_again(error: Exception) -> None:
    world = World(error)
    with pytest.raises(type(error)):
        await world.perform(QUERY)
    assert len(world.upstream.sent) == 1


async def test_a_mutation_waits_for_a_rate_limit_that_passes_soon() -> None:
    limited = FakeAnswer(429, "Too many", [(b"Retry-After", b"2")])
    world = World(limited, FakeAnswer(200, GOOD))
    began = world.clock.now()
    done = await world.perform(ORDER)
    assert done.answer.status == 200
    assert limited.released
    assert world.clock.now() - began == 100
    assert len(world.upstream.sent) == 2


@pytest.mark.parametrize(
    ("fields", "max_wait", "sends", "retry_after"),
    [
        pytest.param([(b"Retry-After", b"60")], 5, 1, None, id="too long"),
        pytest.param([(b"Retry-After", b"2")], 0, 1, None, id="never"),
        pytest.param([(b"X-RateLimit-Reset", b"1800000060")], 5, 1, 60, id="a reset and no Retry-After"),
        pytest.param([], 5, 3, 1, id="nothing said: backoff from a second"),
    ],
)
async def test_a_rate_limit_that_outlasts_the_wait_is_passed_on(
    fields: list[tuple[bytes, bytes]], max_wait: float, sends: int, retry_after: float | None
) -> None:
    world = World(*(FakeAnswer(429, "Too many", fields) for _ in range(9)), max_wait=max_wait)
    done = await world.perform(ORDER)
    assert (done.answer.status, done.retry_after) == (429, retry_after)
    assert len(world.upstream.sent) == sends
    assert world.tokens.good == []


async def test_a_server_error_says_nothing_of_the_token() -> None:
    world = World(FakeAnswer(502, {"a": 1}))
    await world.perform(ORDER)
    assert world.tokens.good == []
