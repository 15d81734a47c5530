"""What stands between a sidecar and Breeze: TLS, and HTTP proxies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _join(one: Streams, other: Streams) -> None:
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


@asynccontextmanager
async def tls(url: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS and hands all on to this URL's."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join((reader, writer), await asyncio.open_connection("127.0.0.1", _port(url)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def proxy(port: int, seen: list[str], *, refuse: bool = False) -> AsyncIterator[str]:
    """An HTTP proxy for whom every host is this port; `seen` gets its request lines."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, _, fields = head.partition("\r\n")
        seen.append(line)
        if refuse:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        onward = await asyncio.open_connection("127.0.0.1", port)
        if line.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            method, target, version = line.split(" ")
            path = urlsplit(target).path
            onward[1].write(f"{method} {path} {version}\r\n{fields}".encode())
        await _join((reader, writer), onward)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
