"""Many sources that share a cache behave as one client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from support.clock import FakeClock
from support.fleet import Breeze, Deaf, SharedCache, Store

from breeze_sidecar.errors import TokenUnavailable
from breeze_sidecar.token.access_token import AccessToken
from breeze_sidecar.token.source import TokenSource


class Fleet:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.breeze = Breeze(self.clock)
        self.store = Store()
        self.witness = Deaf()
        self.sources: list[TokenSource] = []
        self._holders = count()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, number: int) -> None:
        for _ in range(number):
            source = TokenSource(
                self.breeze.request,
                secret_changed=lambda: False,
                cache=SharedCache(self.store, self.clock, next(self._holders)),
                clock=self.clock,
                margin=300,
                witness=self.witness,
            )
            self.sources.append(source)
            self._tasks.append(asyncio.get_running_loop().create_task(source.run()))

    async def stop(self, number: int | None = None) -> None:
        ending, self._tasks = self._tasks[:number], self._tasks[number or len(self._tasks) :]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self.sources = self.sources[len(ending) :]

    async def tokens(self) -> set[str]:
        asking = [asyncio.get_running_loop().create_task(source.get()) for source in self.sources]
        await self.clock.advance(20)
        return {task.result().value for task in asking}


@asynccontextmanager
async def fleet(number: int) -> AsyncIterator[Fleet]:
    made = Fleet()
    made.start(number)
    try:
        yield made
    finally:
        await made.stop()


async def test_a_cold_start_of_all_makes_one_request() -> None:
    async with fleet(50) as replicas:
        assert len(await replicas.tokens()) == 1
        assert len(replicas.breeze.asked) == 1
        assert replicas.witness.heard["adopted"] == 49


async def test_a_day_takes_about_a_request_an_hour() -> None:
    async with fleet(20) as replicas:
        await replicas.clock.advance(86400)
        assert len(await replicas.tokens()) == 1
        assert len(replicas.breeze.asked) <= 28


async def test_a_rejected_token_is_compared_across_the_fleet() -> None:
    async with fleet(50) as replicas:
        (value,) = await replicas.tokens()
        rejected = AccessToken(value, 0, 0)
        replacing = [asyncio.get_running_loop().create_task(source.replace(rejected)) for source in replicas.sources]
        await replicas.clock.advance(20)
        tokens = {token.value for task in replacing if (token := task.result()) is not None}
        assert len(tokens) == 1
        assert value not in tokens
        assert len(replicas.breeze.asked) == 2


async def test_a_restart_needs_no_request() -> None:
    async with fleet(3) as replicas:
        await replicas.tokens()
        for _ in range(20):
            await replicas.stop()
            replicas.start(3)
            assert len(await replicas.tokens()) == 1
        assert len(replicas.breeze.asked) == 1


async def test_all_share_one_budget_and_hear_that_it_runs_low() -> None:
    async with fleet(1) as replicas:
        replicas.breeze.lifetime = 5
        for _ in range(100):
            await replicas.clock.advance(30)
            await replicas.stop()
            replicas.start(1)
        await replicas.clock.advance(1)
        assert len(replicas.breeze.asked) == 90
        assert replicas.sources[0].requests_last_hour() == 90
        assert replicas.witness.heard["budget_low"] > 0
        with pytest.raises(TokenUnavailable, match="budget"):
            await replicas.sources[0].get()


async def test_while_breeze_is_down_the_fleet_asks_as_one() -> None:
    async with fleet(200) as replicas:
        replicas.breeze.down = True
        await replicas.clock.advance(3600)
        assert 20 < len(replicas.breeze.asked) <= 70, "as often as one sidecar, not until the budget is spent"
        replicas.breeze.down = False
        before = len(replicas.breeze.asked)
        await replicas.clock.advance(300)
        assert len(await replicas.tokens()) == 1
        assert len(replicas.breeze.asked) == before + 1


async def test_a_store_that_is_down_degrades_to_memory_and_is_made_up_for() -> None:
    async with fleet(3) as replicas:
        replicas.store.down = True
        assert len(await replicas.tokens()) == 3
        replicas.store.down = False
        await replicas.clock.advance(30)
        replicas.start(1)
        await replicas.clock.advance(30)
        assert len(replicas.breeze.asked) == 3, "the newcomer found what one of the others kept"


async def test_who_has_no_token_finds_the_one_that_another_got_without_asking() -> None:
    async with fleet(150) as replicas:
        replicas.store.down = True
        await replicas.clock.advance(60)
        without = [source for source in replicas.sources if source.unready() is not None]
        assert len(without) == 50, "Breeze gives out a hundred an hour"
        replicas.store.down = False
        await replicas.clock.advance(60)
        assert [source for source in replicas.sources if source.unready() is not None] == []
        assert len(replicas.breeze.asked) == 150
