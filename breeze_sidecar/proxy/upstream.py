"""Sends one request to Breeze and reads the answer; aiohttp's exceptions become ours.

ClientSession's request path would cost about as much as all the rest of a call; of aiohttp this uses the connector and
the response parser.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp.http import RawResponseMessage, StreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from breeze_sidecar.clock import Clock
from breeze_sidecar.errors import SidecarError, UpstreamTimeout, UpstreamUnreachable
from breeze_sidecar.proxy.connections import Pool, Pooled
from breeze_sidecar.proxy.fields import ResponseFields, response_fields
from breeze_sidecar.token.access_token import AccessToken

#: Bytes of a request's body that are written at once; a larger one is written as Breeze takes it.
_PIECE = 256 * 1024
_SWITCHING_PROTOCOLS, _OK = 101, 200


@dataclass(frozen=True, slots=True)
class Call:
    """A caller's request, ready to be sent with any token.

    Attributes:
        target: the request target, ``/graphql`` and the query string.
        head: the fields, each with its line end, all but Authorization.
        body: the bytes as they came.
        coding: its Content-Encoding, lower-case; "" for none.
        steady: whether it is to be sent on a young connection only, since it may be a mutation.
    """

    target: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    coding: str
    steady: bool


class Answer:
    """A response of Breeze whose body may still be on its way.

    Attributes:
        status: of the response.
        reason: its phrase.
        fields: the end-to-end fields, and what matters of them.
        head: the first bytes of the body, as far as they were looked at.
        complete: whether these are all.
    """

    __slots__ = ("_payload", "_pool", "_pooled", "complete", "fields", "head", "reason", "status")

    def __init__(self, message: RawResponseMessage, payload: StreamReader, pool: Pool, pooled: Pooled) -> None:
        self.status = message.code
        self.reason = message.reason
        self.fields: ResponseFields = response_fields(message.raw_headers)
        self.head = b""
        self.complete = False
        self._payload = payload
        self._pool = pool
        self._pooled: Pooled | None = pooled
        self.head = self._settle()

    async def look(self, limit: int) -> None:
        """Read the body's first bytes into `head`, until there are this many or it ends.

        Raises:
            UpstreamUnreachable: the connection broke.
            UpstreamTimeout: nothing came for too long.
        """
        while not self.complete and len(self.head) < limit:
            self.head += await self._piece()

    async def rest(self) -> AsyncIterator[bytes]:
        """What follows `head`, piece by piece as it arrives.

        Raises:
            UpstreamUnreachable: the connection broke.
            UpstreamTimeout: nothing came for too long.
        """
        while not self.complete:
            yield await self._piece()

    def release(self) -> None:
        """Give up the rest of the body; without effect once it has come."""
        if self._pooled is not None:
            self._pool.drop(self._pooled)
            self._pooled = None

    async def _piece(self) -> bytes:
        try:
            return await self._payload.readany() + self._settle()
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            self.release()
            raise _translated(error) from None

    def _settle(self) -> bytes:
        """Give the connection back as soon as the last byte is here; what is left of the body by then."""
        if self._pooled is None or not self._payload.is_eof() or self._payload.exception() is not None:
            return b""
        left = b"" if self._payload.at_eof() else self._payload.read_nowait(-1)
        self._pool.give_back(self._pooled, hint=self.fields.keep_alive)
        self._pooled = None
        self.complete = True
        return left


class Upstream:
    """Breeze's /graphql.

    Args:
        pool: the connections.
        absolute: what stands before the target where requests go through an HTTP proxy without a tunnel; else "".
        read_timeout: seconds within which each piece of a request must be taken.
        answered: hears how many seconds passed until the fields of a response.
        clock: the time.
    """

    def __init__(
        self, pool: Pool, *, absolute: str, read_timeout: float, answered: Callable[[float], None], clock: Clock
    ) -> None:
        self._pool = pool
        self._absolute = absolute
        self._read_timeout = read_timeout
        self._answered = answered
        self._clock = clock

    async def send(self, call: Call, token: AccessToken, *, again: bool = False) -> Answer:
        """Send the call once.

        Args:
            call: the caller's request.
            token: goes into Authorization.
            again: whether a connection broke under it before, so that this one has to hold.

        Raises:
            UpstreamUnreachable: there was no connection, or it broke.
            UpstreamTimeout: connecting, or the answer's fields, took too long.
        """
        pooled = await self._pool.lease(young=call.steady or again)
        began = self._clock.now()
        try:
            head = f"POST {self._absolute}{call.target} HTTP/1.1\r\n".encode("ascii") + call.head
            head += b"Authorization: Bearer " + token.value.encode("ascii") + b"\r\n\r\n"
            await self._write(pooled, head, call.body)
            while True:
                message, payload = await pooled.protocol.read()
                if message.code >= _OK:
                    break
                if message.code == _SWITCHING_PROTOCOLS:
                    raise UpstreamUnreachable("Breeze switched to another protocol.", sent=True)  # noqa: TRY301 # the one way out
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            self._pool.drop(pooled)
            raise _translated(error) from None
        except BaseException:
            self._pool.drop(pooled)
            raise
        self._answered(self._clock.now() - began)
        return Answer(message, payload, self._pool, pooled)

    async def _write(self, pooled: Pooled, head: bytes, body: bytes) -> None:
        transport = pooled.protocol.transport
        if transport is None:
            raise UpstreamUnreachable("The connection to Breeze was lost.", sent=True)
        if len(body) <= _PIECE:
            transport.write(head + body)
        else:
            transport.write(head)
            await self._write_large(pooled, transport, memoryview(body))
        pooled.protocol.start_timeout()

    async def _write_large(self, pooled: Pooled, transport: asyncio.Transport, body: memoryview) -> None:
        """The read timeout begins after the last piece: a photo on a slow line takes its time."""
        writer = StreamWriter(pooled.protocol, asyncio.get_running_loop())
        try:
            for start in range(0, len(body), _PIECE):
                transport.write(body[start : start + _PIECE])
                async with asyncio.timeout(self._read_timeout):
                    await writer.drain()
        except aiohttp.ClientConnectionResetError:
            # Breeze may have answered before it stopped reading; if not, reading says so.
            pooled.protocol.force_close()


def _translated(error: Exception) -> SidecarError:
    """Our exception for aiohttp's, whose repr can hold the Authorization field."""
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("Breeze did not answer in time (BREEZE_UPSTREAM_TIMEOUT).", sent=True)
    if isinstance(error, HttpProcessingError):
        return UpstreamUnreachable("Breeze's answer is not HTTP.", sent=True)
    return UpstreamUnreachable("The connection to Breeze broke before the answer was complete.", sent=True)
