"""A day of 1,000 and 10,000 replicas on a fake clock: token requests an hour with each cache; a table and a plot.

The token sources are the real ones; Breeze and the stores are stand-ins in this process. The day: a cold start at 0:00;
rolling restarts at 6:00 and 14:00, over half an hour, each pod replaced; a tenth of the replicas in a crash loop from
9:00 to 11:00, a start every five minutes; Breeze down from 16:00 to 17:00; Redis down from 20:00 to 21:00.
"""

import argparse
import asyncio
import heapq
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.clock import FakeClock
from support.fleet import Breeze, Deaf, SharedCache, Store

from breeze_sidecar.token import source as source_module
from breeze_sidecar.token.caches import Cache, MemoryCache
from breeze_sidecar.token.source import TokenSource

HOUR = 3600.0
ROLLOUTS, ROLLOUT_TAKES = (6 * HOUR, 14 * HOUR), HOUR / 2
CRASHES, CRASH_EVERY = (9 * HOUR, 11 * HOUR), 300.0
BREEZE_DOWN, REDIS_DOWN = (16 * HOUR, 17 * HOUR), (20 * HOUR, 21 * HOUR)
DOCS = Path(__file__).parents[1] / "docs"


class Chance(FakeClock):
    """A fake clock with a die of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._die = random.Random(1)  # the same day each time

    def jitter(self, low: float, high: float) -> float:
        return self._die.uniform(low, high)


class Day:
    """One day of one fleet."""

    def __init__(self, cache: str, replicas: int) -> None:
        self.cache = cache
        self.replicas = replicas
        self.clock = Chance()
        self.began = self.clock.now()
        self.breeze = Breeze(self.clock, takes=0.0)
        self.witness = Deaf()
        self.redis = Store()
        self.files: dict[int, Store] = {}
        self.holders = count()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.sources: dict[int, TokenSource] = {}
        self.without = 0.0

    def place(self, replica: int, *, new_pod: bool) -> Cache:
        if self.cache == "memory":
            return MemoryCache()
        if self.cache == "redis":
            return SharedCache(self.redis, self.clock, next(self.holders))
        if new_pod or replica not in self.files:
            self.files[replica] = Store()  # an emptyDir ends with its pod
        return SharedCache(self.files[replica], self.clock, next(self.holders))

    def begin(self, replica: int, *, new_pod: bool) -> None:
        if (running := self.tasks.pop(replica, None)) is not None:
            running.cancel()
        made = TokenSource(
            self.breeze.request,
            secret_changed=lambda: False,
            cache=self.place(replica, new_pod=new_pod),
            clock=self.clock,
            margin=300,
            witness=self.witness,
        )
        self.sources[replica] = made
        self.tasks[replica] = asyncio.get_running_loop().create_task(made.run())

    def plan(self) -> Iterator[tuple[float, str, int]]:
        """What happens when, to which replica."""
        for replica in range(self.replicas):
            share = replica / self.replicas
            yield 60 * share, "pod", replica
            for rollout in ROLLOUTS:
                yield rollout + ROLLOUT_TAKES * share, "pod", replica
            if replica % 10 == 0:
                moment = CRASHES[0] + CRASH_EVERY * share
                while moment < CRASHES[1]:
                    yield moment, "container", replica
                    moment += CRASH_EVERY
        yield BREEZE_DOWN[0], "breeze down", 0
        yield BREEZE_DOWN[1], "breeze up", 0
        yield REDIS_DOWN[0], "redis down", 0
        yield REDIS_DOWN[1], "redis up", 0
        for minute in range(24 * 60):
            yield minute * 60.0, "look", 0

    async def run(self) -> None:
        events = list(self.plan())
        heapq.heapify(events)
        while events:
            moment, what, replica = heapq.heappop(events)
            await self.clock.advance(max(0.0, self.began + moment - self.clock.now()))
            match what:
                case "pod" | "container":
                    self.begin(replica, new_pod=what == "pod")
                case "breeze down" | "breeze up":
                    self.breeze.down = what == "breeze down"
                case "redis down" | "redis up":
                    self.redis.down = what == "redis down"
                case _:
                    waiting = sum(source.unready() is not None for source in self.sources.values())
                    self.without += waiting / max(1, len(self.sources))
        await self.clock.advance(max(0.0, self.began + 24 * HOUR - self.clock.now()))
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    def hours(self) -> list[int]:
        """Token requests in each hour."""
        per_hour = Counter(int((moment - self.began) // HOUR) for moment in self.breeze.asked)
        return [per_hour[hour] for hour in range(24)]


def most_in_any_hour(moments: list[float], *pauses: tuple[float, float]) -> int:
    """The fullest window of an hour, between these pauses."""
    parts, begin = [], 0.0
    for pause, end in (*pauses, (25 * HOUR, 0.0)):
        parts.append([moment for moment in moments if begin <= moment < pause])
        begin = end
    return max(_fullest(part) for part in parts)


def _fullest(moments: list[float]) -> int:
    most, begin = 0, 0
    for end, moment in enumerate(moments):
        while moment - moments[begin] >= HOUR:
            begin += 1
        most = max(most, end - begin + 1)
    return most


async def simulated(cache: str, replicas: int) -> Day:
    day = Day(cache, replicas)
    await day.run()
    return day


def plot(days: dict[tuple[str, int], Day]) -> None:
    import matplotlib as mpl  # noqa: PLC0415 # only where a plot is wanted

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "breeze-sidecar"
    from matplotlib import pyplot as plt  # noqa: PLC0415 # as above

    figure, axes = plt.subplots(figsize=(9, 4.5))
    most = max(replicas for _, replicas in days)
    for (cache, replicas), day in days.items():
        hours = [max(0.5, each) for each in day.hours()]
        color = {"memory": "tab:red", "file": "tab:orange", "redis": "tab:blue"}[cache]
        style = {"color": color, "linestyle": "-" if replicas == most else "--"}
        axes.step(range(25), [*hours, hours[-1]], where="post", label=f"{cache}, {replicas:,} replicas", **style)
    axes.axhline(100, color="black", linestyle=":", label="Breeze's limit")
    axes.set(yscale="log", xlabel="hour of the day", ylabel="token requests sent", xlim=(0, 24))
    axes.set_xticks(range(0, 25, 2))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    figure.tight_layout()
    figure.savefig(DOCS / "fleet.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--plot", action="store_true", help="write docs/fleet.svg, with matplotlib")
    options = parser.parse_args()
    # It is for laptops that sleep; without it a day of ten thousand replicas takes minutes, not hours.
    source_module.GLANCE = 1e9
    days: dict[tuple[str, int], Day] = {}
    print("| cache | replicas | token requests in the day | fullest hour, all up | the same, Redis down too ", end="")
    print("| the same, Breeze down too | refused by Breeze | time without a token |")
    print("|---|---|---|---|---|---|---|---|")
    for replicas in options.replicas:
        for cache in ("memory", "file", "redis"):
            # There is nothing to look for where nothing is shared.
            source_module.MENDING = 60.0 if cache == "redis" else 1e9
            began = time.perf_counter()
            day = days[cache, replicas] = asyncio.run(simulated(cache, replicas))
            moments = [moment - day.began for moment in day.breeze.asked]
            print(
                f"| {cache} | {replicas:,} | {len(moments):,} | {most_in_any_hour(moments, BREEZE_DOWN, REDIS_DOWN):,} "
                f"| {most_in_any_hour(moments, BREEZE_DOWN):,} | {most_in_any_hour(moments):,} "
                f"| {day.breeze.throttled:,} | {day.without / (24 * 60):.1%} |",
                flush=True,
            )
            print(f"{time.perf_counter() - began:.0f} s; by hour: {day.hours()}", file=sys.stderr)
    if options.plot:
        plot(days)


if __name__ == "__main__":
    main()
