"""The installed command against the emulator, over real sockets.

Every test ends with a search for secrets: in all that the sidecar printed, and in its /status and /metrics.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from breeze_sidecar.emulator.app import Running as Emulator
from breeze_sidecar.emulator.app import start
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.emulator.faults import Fault

COMMAND = Path(sys.executable).with_name("breeze-sidecar")
QUERY = "query Who { Me { _id email } }"
ORDER = """mutation Order {
  CredentialOrderV1(credential: {template_id: "sample-template-1", data: [], external_id: "one"}) { _id status }
}"""


@dataclass
class Reply:
    status: int
    fields: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 # whatever Breeze answered
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["errors"][0]["extensions"]["code"])


@dataclass
class Program:
    """A running `breeze-sidecar`."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    lines: list[str] = field(default_factory=list)
    url: str = ""
    admin: str = ""
    reader: "asyncio.Task[None] | None" = None
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, document: str = QUERY, **fields: str) -> Reply:
        return await self.post(json.dumps({"query": document}).encode(), **fields)

    async def post(self, body: bytes, path: str = "/graphql", **fields: str) -> Reply:
        named = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in fields.items()}}
        self.calls += 1
        async with self.session.post(
            f"{self.url}{path}", data=BytesIO(body), headers=named, allow_redirects=False
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def ask(self, path: str) -> Reply:
        async with self.session.get(f"{self.admin}{path}") as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def raw(self, request: bytes) -> bytes:
        """The answer to these bytes, up to the end of the connection."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(request)
        with suppress(ConnectionError):
            await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    async def completed(self) -> dict[str, Any]:
        """What the log says of the last call; its line comes after the answer."""
        while len(found := self.events("call.completed")) < self.calls:
            self._more.clear()
            await self._more.wait()
        return found[-1]

    async def ended(self) -> int:
        code = await self.process.wait()
        if self.reader is not None:
            await self.reader
        return code

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode().rstrip("\n")
            self.lines.append(text)
            self._more.set()
            if '"sidecar.listening"' in text:
                event = json.loads(text)
                self.url, self.admin = event["address"], event["admin"]
                self.listening.set()
        self.listening.set()


Start = Callable[..., Awaitable[Program]]


def environment(emulator: Emulator | None, settings: dict[str, str]) -> dict[str, str]:
    # With bytecode: a process that may not keep it compiles all that it imports, at each start.
    others = ("BREEZE_", "PYTHONDONTWRITEBYTECODE")
    own = {k: v for k, v in os.environ.items() if not k.startswith(others) and "proxy" not in k.lower()}
    defaults = {"BREEZE_PORT": "0", "BREEZE_ADMIN_PORT": "0", "BREEZE_LOG_LEVEL": "debug", "BREEZE_LOG_FORMAT": "json"}
    if emulator is not None:
        defaults |= {
            "BREEZE_BASE_URL": emulator.url,
            "BREEZE_CLIENT_ID": emulator.state.config.client_id,
            "BREEZE_CLIENT_SECRET": emulator.state.config.client_secret,
        }
    return own | defaults | {f"BREEZE_{name.upper()}": value for name, value in settings.items()}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    running = await start(Config(port=0, client_secret='a "sample" secret+/=with marks'))
    yield running
    await running.close()


def fault(emulator: Emulator, **fields: object) -> None:
    emulator.state.faults.add([Fault.parse(fields)])


@pytest.fixture
async def sidecar(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Start]:
    programs: list[Program] = []

    async def begin(
        *arguments: str,
        listens: bool = True,
        warm: bool = True,
        proxies: dict[str, str] | None = None,
        **settings: str,
    ) -> Program:
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            *(arguments or ("serve",)),
            env=environment(emulator, settings) | (proxies or {}),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        program = Program(process, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        program.reader = asyncio.get_running_loop().create_task(program._read())
        programs.append(program)
        await program.listening.wait()
        if listens:
            assert program.url, program.lines
            if warm and program.url.startswith("http"):
                await program.call()
        return program

    yield begin
    for program in programs:
        seen = list(program.lines)
        if program.process.returncode is None and program.admin:
            for path in ("/status", "/metrics", "/readyz"):
                with suppress(aiohttp.ClientError):
                    seen.append((await program.ask(path)).body.decode())
        await program.session.close()
        if program.process.returncode is None:
            program.process.terminate()
        await program.ended()
        nothing_leaked(emulator, "\n".join([*seen, *program.lines]))


def nothing_leaked(emulator: Emulator, output: str) -> None:
    secrets = [emulator.state.config.client_secret, emulator.state.client_secret, *emulator.state.tokens]
    for secret in secrets:
        data = secret.encode()
        forms = {
            secret,
            json.dumps(secret)[1:-1],
            base64.b64encode(data).decode().rstrip("="),
            base64.urlsafe_b64encode(data).decode().rstrip("="),
        }
        for form in forms:
            assert form not in output, "a secret or token was printed"
