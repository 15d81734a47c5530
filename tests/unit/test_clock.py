"""clock.py: the machine's clock, and waiting for news."""

import asyncio
import time

from support.clock import FakeClock

from breeze_sidecar.clock import SystemClock, wait


async def test_the_clocks_run_and_jitter_stays_within_its_bounds() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0)
    assert clock.now() >= before
    assert abs(clock.wall() - time.time()) < 60
    assert all(2 <= clock.jitter(2, 3) <= 3 for _ in range(100))


async def test_a_wait_ends_with_the_news_or_with_the_time_and_never_cancels_the_news() -> None:
    clock = FakeClock()
    loop = asyncio.get_running_loop()
    news: asyncio.Future[object] = loop.create_future()
    assert await wait(clock, news, 0) is False
    waiting = loop.create_task(wait(clock, news, 5))
    await clock.advance(6)
    assert await waiting is False
    assert not news.cancelled()
    waiting = loop.create_task(wait(clock, news, 5))
    await clock.advance(1)
    news.set_result(None)
    assert await waiting is True
    assert await wait(clock, news, 5) is True
