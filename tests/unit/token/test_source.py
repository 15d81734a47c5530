"""The token source on a fake clock."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import FakeClock, settle

from breeze_sidecar.errors import CredentialsRejected, SidecarError, TokenUnavailable
from breeze_sidecar.token.access_token import AccessToken, Grant
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed
from breeze_sidecar.token.caches import MemoryCache
from breeze_sidecar.token.source import TokenSource

HOUR = 3600.0
DAY = 24 * HOUR


class Endpoint:
    """A token endpoint in the hands of a test."""

    def __init__(self, clock: FakeClock, *, lifetime: float = HOUR, takes: float = 0.0) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.takes = takes
        self.asked: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.failing: Callable[[], BaseException | None] = lambda: None
        self.sticky = False
        self.changed = False
        self.issued: list[str] = []
        self.ends: dict[str, float] = {}

    async def request(self) -> Grant:
        self.asked.append(self.clock.now())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.takes:
                await self.clock.sleep(self.takes)
            if (error := self.failing()) is not None:
                raise error
            if not (self.sticky and self.issued):
                self.issued.append(f"token-{len(self.issued) + 1}")
            self.ends[self.issued[-1]] = self.clock.now() + self.lifetime
            return Grant(self.issued[-1], self.lifetime)
        finally:
            self.in_flight -= 1

    def busiest_hour(self) -> int:
        return max((sum(t <= u < t + HOUR for u in self.asked) for t in self.asked), default=0)


class Heard:
    """A witness that keeps what it hears."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.calms: list[float] = []

    def adopted(self, lifetime: float) -> None:
        self.events["adopted"] += 1

    def budget_low(self, spent: int) -> None:
        self.events["budget_low"] += 1

    def granted(self, lifetime: float, *, again: bool) -> None:
        self.events["again" if again else "granted"] += 1

    def failed(self, failure: TokenRequestFailed, retry_in: float) -> None:
        self.events[failure.kind.value] += 1

    def rejected(self, row: int, cool_down: float) -> None:
        self.calms.append(cool_down)

    def holds(self, expires_at: float | None) -> None:
        self.events["holds"] += 1


@asynccontextmanager
async def running(endpoint: Endpoint, heard: Heard | None = None, *, margin: float = 300) -> AsyncIterator[TokenSource]:
    source = TokenSource(
        endpoint.request,
        secret_changed=lambda: endpoint.changed,
        cache=MemoryCache(),
        clock=endpoint.clock,
        margin=margin,
        witness=heard or Heard(),
    )
    task = asyncio.get_running_loop().create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def gather(*waiting: asyncio.Task[AccessToken]) -> list[str]:
    return [token.value for token in await asyncio.gather(*waiting)]


def start(source: TokenSource) -> asyncio.Task[AccessToken]:
    return asyncio.get_running_loop().create_task(source.get())


def failure(kind: Kind, wait: float | None = None) -> Callable[[], BaseException]:
    return lambda: TokenRequestFailed(kind, f"it {kind.value}", wait=wait)


async def test_three_hundred_cold_callers_share_one_request() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, takes=1)
    async with running(endpoint) as source:
        callers = [start(source) for _ in range(300)]
        await clock.advance(2)
        assert set(await gather(*callers)) == {"token-1"}
    assert len(endpoint.asked) == 1


async def test_a_caller_that_hangs_up_cancels_no_other() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, takes=1)
    async with running(endpoint) as source:
        first, second = start(source), start(source)
        await settle()
        first.cancel()
        await clock.advance(2)
        assert (await second).value == "token-1"
    assert len(endpoint.asked) == 1


async def test_a_stale_token_is_refreshed_while_it_goes_on_serving() -> None:
    clock = FakeClock(chance=0)
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        await clock.advance(HOUR - 301)
        assert (await source.get()).value == "token-1"
        endpoint.takes = 5
        await clock.advance(2)
        assert endpoint.in_flight == 1
        assert (await source.get()).value == "token-1"
        await clock.advance(5)
        assert (await source.get()).value == "token-2"


async def test_the_margin_is_never_more_than_a_fifth_of_the_lifetime() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, lifetime=30)
    async with running(endpoint) as source:
        for _ in range(20):
            await clock.advance(1)
            await source.get()
    assert len(endpoint.asked) <= 3


async def test_a_day_of_steady_use_asks_about_once_an_hour() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        for _ in range(24 * 60):
            await clock.advance(60)
            token = await source.get()
            assert token.valid(clock.now())
    assert len(endpoint.asked) <= 1.3 * 24


async def test_a_herd_of_rejections_makes_one_request() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        rejected = await source.get()
        endpoint.takes = 1
        herd = [asyncio.get_running_loop().create_task(source.replace(rejected)) for _ in range(100)]
        await clock.advance(2)
        assert {token and token.value for token in await asyncio.gather(*herd)} == {"token-2"}
        late = await source.replace(rejected)
        assert late is not None
        assert late.value == "token-2"
    assert len(endpoint.asked) == 2


async def test_new_callers_wait_for_the_replacement_of_a_rejected_token() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        rejected = await source.get()
        endpoint.takes = 1
        source.discard(rejected)
        caller = start(source)
        await clock.advance(2)
        assert (await caller).value == "token-2"


async def test_a_burst_that_rejects_everything_costs_at_most_five_requests() -> None:
    clock = FakeClock()
    endpoint, heard = Endpoint(clock), Heard()
    async with running(endpoint, heard) as source:
        for _ in range(500):
            token = await source.get()
            another = await source.replace(token)
            if another is not None:
                source.discard(another)
            await clock.advance(0.01)
    assert len(endpoint.asked) <= 5
    assert heard.calms[:4] == [0, 1, 2, 4]


async def test_a_cool_down_grows_to_a_minute_and_thirty_an_hour() -> None:
    clock = FakeClock()
    endpoint, heard = Endpoint(clock), Heard()
    async with running(endpoint, heard) as source:
        for _ in range(int(3 * HOUR)):
            await source.replace(await source.get())
            await clock.advance(1)
    assert max(heard.calms) == 60
    assert endpoint.busiest_hour() <= 33


async def test_a_cool_down_ends_when_a_call_succeeds() -> None:
    clock = FakeClock()
    endpoint, heard = Endpoint(clock), Heard()
    async with running(endpoint, heard) as source:
        second = await source.replace(await source.get())
        assert second is not None
        assert await source.replace(second) is None
        source.accepted(second)
        third = await source.replace(second)
        assert third is not None
        assert third.value == "token-3"
    assert heard.calms == [0, 1, 0]


async def test_success_with_an_older_token_ends_no_cool_down() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        first = await source.get()
        second = await source.replace(first)
        assert second is not None
        source.discard(second)
        source.accepted(first)
        assert await source.replace(second) is None


async def test_a_token_revoked_during_a_cool_down_is_replaced_within_a_minute() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    another = None
    async with running(endpoint) as source:
        for _ in range(600):
            await source.replace(await source.get())
            await clock.advance(1)
        held = await source.get()
        for _ in range(61):
            if (another := await source.replace(held)) is not None:
                break
            await clock.advance(1)
        assert another is not None


async def test_the_same_token_again_is_asked_for_after_half_of_what_is_left() -> None:
    clock = FakeClock(chance=0)
    endpoint, heard = Endpoint(clock), Heard()
    endpoint.sticky = True
    async with running(endpoint, heard) as source:
        await clock.advance(HOUR - 1)
        assert (await source.get()).value == "token-1"
    assert [round(t - 1000) for t in endpoint.asked[:4]] == [0, 3300, 3450, 3525]
    assert len(endpoint.asked) <= 8
    assert heard.events["again"] == len(endpoint.asked) - 1


async def test_a_rejected_token_handed_out_again_is_not_replayed_with() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    endpoint.sticky = True
    async with running(endpoint) as source:
        assert await source.replace(await source.get()) is None


async def test_flapping_leaves_budget_for_refreshes() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        for _ in range(int(2 * HOUR)):
            token = await source.get()
            source.accepted(token)
            await source.replace(token)
            await clock.advance(1)
            assert (await source.get()).valid(clock.now())
    assert 80 <= endpoint.busiest_hour() <= 90


@pytest.mark.parametrize(
    ("kind", "wait", "most"),
    [
        pytest.param(Kind.FAILED, None, 70, id="5xx"),
        pytest.param(Kind.MALFORMED, None, 70, id="malformed answers"),
        pytest.param(Kind.UNREACHABLE, None, 90, id="no connection"),
        pytest.param(Kind.RATE_LIMITED, None, 61, id="429 without a wait"),
        pytest.param(Kind.RATE_LIMITED, 420, 10, id="429 with a wait"),
        pytest.param(Kind.CREDENTIALS, None, 16, id="rejected credentials"),
    ],
)
async def test_an_hour_of_failures_stays_within_the_budget(kind: Kind, wait: float | None, most: int) -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    endpoint.failing = failure(kind, wait)
    async with running(endpoint) as source:
        await clock.advance(6 * HOUR)
        assert 5 <= endpoint.busiest_hour() <= most
        assert source.unready() == f"it {kind.value}"
        endpoint.failing = lambda: None
        await clock.advance(421)
        assert (await source.get()).value == "token-1"
        assert source.unready() is None


async def test_a_valid_token_goes_on_serving_while_refreshes_fail() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        await source.get()
        endpoint.failing = failure(Kind.FAILED)
        await clock.advance(HOUR - 10)
        assert (await source.get()).value == "token-1"
        assert source.status()["state"] == "stale"
        await clock.advance(11)
        with pytest.raises(TokenUnavailable):
            await asyncio.gather(source.get(), clock.advance(30))
        assert source.status()["state"] == "expired"


async def test_a_rejected_token_serves_on_while_its_replacement_fails() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        token = await source.get()
        endpoint.failing = failure(Kind.RATE_LIMITED, 420)
        with pytest.raises(TokenUnavailable, match="rate_limited") as caught:
            await source.replace(token)
        assert caught.value.retry_after is not None
        assert 419 <= caught.value.retry_after <= 422
        assert await source.get() == token


async def test_callers_wait_ten_seconds_at_most() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, takes=60)
    async with running(endpoint) as source:
        caller = start(source)
        await clock.advance(9.9)
        assert not caller.done()
        await clock.advance(0.2)
        with pytest.raises(TokenUnavailable, match="not answered yet"):
            await caller


async def test_callers_are_told_at_once_when_the_wait_is_known_to_outlast_them() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    endpoint.failing = failure(Kind.CREDENTIALS)
    async with running(endpoint) as source:
        with pytest.raises(CredentialsRejected) as caught:
            await source.get()
        assert caught.value.retry_after == 30


async def test_a_changed_secret_is_tried_at_once() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    endpoint.failing = failure(Kind.CREDENTIALS)
    async with running(endpoint) as source:
        await clock.advance(1)
        assert len(endpoint.asked) == 1
        endpoint.failing = lambda: None
        endpoint.changed = True
        await clock.advance(5)
        assert (await source.get()).value == "token-1"
    assert len(endpoint.asked) == 2


async def test_a_defect_does_not_end_the_tokens_life() -> None:
    clock = FakeClock()
    endpoint, heard = Endpoint(clock), Heard()
    endpoint.failing = lambda: ZeroDivisionError("a defect")
    async with running(endpoint, heard) as source:
        await clock.advance(10)
        endpoint.failing = lambda: None
        await clock.advance(120)
        assert (await source.get()).value == "token-1"
    assert heard.events["failed"] >= 1


async def test_a_laptop_that_slept_gets_a_new_token_on_the_next_call() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock)
    async with running(endpoint) as source:
        await source.get()
        clock._now += 2 * HOUR  # the timers stood still
        assert (await source.get()).value == "token-2"


async def test_a_spent_budget_says_so_and_recovers() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, lifetime=10)
    async with running(endpoint) as source:
        await clock.advance(HOUR / 2)
        assert len(endpoint.asked) == 90
        with pytest.raises(TokenUnavailable, match="budget"):
            await source.get()
        assert source.unready() == "the token has expired"
        await clock.advance(HOUR / 2 + 10)
        await source.get()
    assert endpoint.busiest_hour() <= 90


async def test_before_the_first_token_the_source_is_not_ready() -> None:
    clock = FakeClock()
    endpoint = Endpoint(clock, takes=1)
    async with running(endpoint) as source:
        assert source.unready() == "waiting for the first token"
        assert source.status()["state"] == "none"
        await clock.advance(2)
        assert source.unready() is None
        assert source.status() == {
            "state": "fresh",
            "expires_in": 3598,
            "refresh_in": 3283,
            "requests_last_hour": 1,
            "rejected_in_a_row": 0,
            "last_failure": None,
        }


STEP = st.tuples(
    st.sampled_from(
        ["call", "calls", "reject", "flaky", "hang_up", "sleep", "suspend", "fail", "mend", "sticky", "slow"]
    ),
    st.sampled_from([0.01, 0.5, 3, 20, 100, 900, 4000]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEP, min_size=1, max_size=60),
    lifetime=st.sampled_from([1.0, 30, 299, 3600, 86400]),
    chance=st.sampled_from([0.0, 0.5, 1.0]),
    kind=st.sampled_from(list(Kind)),
)
def test_no_schedule_breaks_the_rules(
    steps: list[tuple[str, float]], lifetime: float, chance: float, kind: Kind
) -> None:
    asyncio.run(_schedule(steps, lifetime, chance, kind))


async def _schedule(steps: list[tuple[str, float]], lifetime: float, chance: float, kind: Kind) -> None:
    clock = FakeClock(chance=chance)
    endpoint = Endpoint(clock, lifetime=lifetime)
    calls: list[asyncio.Task[None]] = []

    async def call(source: TokenSource, *, rejected: bool) -> None:
        with suppress(SidecarError):
            token: AccessToken | None = await source.get()
            assert token is not None
            assert token.valid(clock.now())
            assert clock.now() < endpoint.ends[token.value]
            if not rejected:
                source.accepted(token)
                return
            if (token := await source.replace(token)) is not None:
                assert token.valid(clock.now())
                source.discard(token)

    async with running(endpoint) as source:
        for name, amount in steps:
            if name in {"call", "calls", "reject", "hang_up", "flaky"}:
                rejected = {"reject": (0, 1, 2), "flaky": (1,)}.get(name, ())
                loop = asyncio.get_running_loop()
                more = range(20 if name == "calls" else 3)
                calls += [loop.create_task(call(source, rejected=n in rejected)) for n in more]
                await settle()
                if name == "hang_up":
                    calls.pop().cancel()
            elif name == "suspend":
                clock._now += amount
            elif name == "fail":
                endpoint.failing = failure(kind, amount)
            elif name == "mend":
                endpoint.failing, endpoint.sticky, endpoint.takes = (lambda: None), False, 0
            elif name == "sticky":
                endpoint.sticky = True
            elif name == "slow":
                endpoint.takes = amount
            await clock.advance(amount)
        await clock.advance(21)
        assert all(task.done() for task in calls), "a caller got no answer"
        for task in calls:
            task.result()
    assert endpoint.most_in_flight <= 1
    assert endpoint.busiest_hour() <= 90
