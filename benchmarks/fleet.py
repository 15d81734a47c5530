"""Real sidecars on one Redis and one emulator: what each event costs the fleet in token requests; prints a table."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.redis_server import SERVERS, Server, serving

from breeze_sidecar.emulator.app import Running, start
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.emulator.faults import Fault

COMMAND = str(Path(sys.executable).with_name("breeze-sidecar"))
QUERY = {"query": "query Who { Me { _id } }"}


@dataclass
class Sidecar:
    """One process."""

    process: asyncio.subprocess.Process
    url: str = ""
    admin: str = ""


class Fleet:
    """All of them."""

    def __init__(self, emulator: Running, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.sidecars: list[Sidecar] = []
        self.failed = 0
        self.slowest = 0.0

    async def launch(self, cache: str, port: int) -> Sidecar:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("BREEZE_", "PYTHONDONT"))}
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            env=own
            | {
                "BREEZE_BASE_URL": self.emulator.url,
                "BREEZE_CLIENT_ID": self.emulator.state.config.client_id,
                "BREEZE_CLIENT_SECRET": self.emulator.state.config.client_secret,
                "BREEZE_PORT": str(port),
                "BREEZE_ADMIN_PORT": str(port + 1),
                "BREEZE_TOKEN_CACHE": cache,
                "BREEZE_LOG_LEVEL": "error",
            },
        )
        sidecar = Sidecar(process, f"http://127.0.0.1:{port}/graphql", f"http://127.0.0.1:{port + 1}")
        self.sidecars.append(sidecar)
        return sidecar

    async def ready(self, sidecar: Sidecar) -> None:
        while True:
            try:
                async with self.session.get(f"{sidecar.admin}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)

    async def call(self, sidecar: Sidecar) -> None:
        began = time.perf_counter()
        try:
            async with self.session.post(sidecar.url, json=QUERY) as answer:
                if "errors" in await answer.json(content_type=None):
                    self.failed += 1
        except aiohttp.ClientError:
            self.failed += 1
        self.slowest = max(self.slowest, time.perf_counter() - began)

    async def all_call(self) -> None:
        await asyncio.gather(*(self.call(sidecar) for sidecar in self.sidecars))

    async def load(self, seconds: float) -> int:
        """Calls from all, one after the other, for so long; how many."""
        calls, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            await self.all_call()
            calls += len(self.sidecars)
        return calls

    async def counted(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        before, self.failed, self.slowest = len(self.emulator.state.token_request_times), 0, 0.0
        await work()
        asked = len(self.emulator.state.token_request_times) - before
        print(f"| {what} | {asked} | {self.failed} | {self.slowest:.2f} |", flush=True)

    async def stop(self) -> None:
        for sidecar in self.sidecars:
            if sidecar.process.returncode is None:
                sidecar.process.terminate()
        await asyncio.gather(*(sidecar.process.wait() for sidecar in self.sidecars))


def token_fault(emulator: Running, **fields: object) -> None:
    emulator.state.faults.add([Fault.parse({"endpoint": "token", **fields})])


async def shared(fleet: Fleet, server: Server, number: int) -> None:
    emulator = fleet.emulator

    async def cold() -> None:
        launched = [await fleet.launch(server.url, 20000 + 2 * n) for n in range(number)]
        await asyncio.gather(*(fleet.ready(sidecar) for sidecar in launched))

    async def revoked() -> None:
        emulator.state.revoke()
        await fleet.all_call()

    async def killed() -> None:
        token_fault(emulator, kind="hang", times=1)
        emulator.state.revoke()
        asker = fleet.sidecars[0]
        asking = asyncio.create_task(fleet.call(asker))
        while not emulator.state.faults.waiting:  # noqa: ASYNC110 # the emulator has no event for it
            await asyncio.sleep(0.01)
        fleet.sidecars.remove(asker)
        others = asyncio.create_task(fleet.all_call())
        await asyncio.sleep(0.2)
        asker.process.send_signal(signal.SIGKILL)
        await asyncio.gather(asking, asker.process.wait(), return_exceptions=True)
        fleet.failed, fleet.slowest = 0, 0.0  # its own caller's connection went with it
        await others

    async def expiry() -> None:
        emulator.state.config = replace(emulator.state.config, token_lifetime=20.0)
        emulator.state.revoke()
        await fleet.load(18)

    async def restarted() -> None:
        emulator.state.config = replace(emulator.state.config, token_lifetime=3600.0)
        emulator.state.revoke()
        await fleet.all_call()
        loading = asyncio.create_task(fleet.load(40))
        await asyncio.sleep(4)
        await server.stop()
        await asyncio.sleep(30)
        await server.start()
        await loading

    async def quiet() -> None:
        async with server.client() as client:
            before = (await client.info("stats"))["total_commands_processed"]
            calls = await fleet.load(5)
            after = (await client.info("stats"))["total_commands_processed"]
            print(f"\nRedis commands during {calls:,} calls with the token in memory: {after - before - 1}\n")

    await fleet.counted(f"cold start of {number}", cold)
    await fleet.counted("all tokens revoked, a call from each", revoked)
    await fleet.counted("the one that asks killed (SIGKILL) midway, a call from each", killed)
    await fleet.counted("tokens of 20 s: revoked, then one refresh ahead", expiry)
    await fleet.counted("a revocation, then Redis gone for 30 s under load", restarted)
    await quiet()


async def kept_in_a_file(fleet: Fleet, directory: Path) -> None:
    async def restarts() -> None:
        for _ in range(20):
            sidecar = await fleet.launch(f"file://{directory}/token", 19990)
            await fleet.ready(sidecar)
            await fleet.call(sidecar)
            sidecar.process.kill()
            await sidecar.process.wait()
            fleet.sidecars.remove(sidecar)

    await fleet.counted("file://: 20 times kill -9 and restart, the first one cold", restarts)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--server", choices=list(SERVERS), default=list(SERVERS)[-1])
    options = parser.parse_args()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = await start(Config(port=0, graphql_limit=10_000_000))
        stack.push_async_callback(emulator.close)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        server = await stack.enter_async_context(serving(options.server, directory))
        fleet = Fleet(emulator, session)
        stack.push_async_callback(fleet.stop)
        token_fault(emulator, kind="slow", delay=0.3)
        print(f"{options.number} sidecars, {options.server}\n")
        print("| event | token requests | failed calls | slowest call, s |\n|---|---|---|---|")
        await shared(fleet, server, options.number)
        await fleet.stop()
        fleet.sidecars.clear()
        emulator.state.reset()
        await kept_in_a_file(fleet, directory)


if __name__ == "__main__":
    asyncio.run(main())
