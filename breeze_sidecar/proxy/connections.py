"""Connections to Breeze: made by aiohttp's connector, kept here.

aiohttp's own pool keeps every connection for the same time and hands out the oldest one. Here a connection is dropped
before the server would drop it, the youngest goes first, and who cannot bear a broken one asks for a young one.
"""

import asyncio
import ssl
from collections import deque

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from breeze_sidecar.clock import Clock
from breeze_sidecar.errors import UpstreamTimeout, UpstreamUnreachable

#: Seconds that a connection is kept idle where the server gives no hint: Node closes after five.
IDLE = 4.0
#: Seconds by which a connection is dropped before the server's hint says that it will be.
EARLIER = 1.0
#: Seconds since its last use within which a connection counts as young.
YOUNG = 1.0
#: Seconds before the second attempt to connect; doubles, with jitter.
FIRST_BACKOFF = 0.05
#: Characters of a response's line or field; cookies and security policies can be long.
LONGEST_LINE = 64 * 1024


class Pooled:
    """One connection, and until when it may be used again."""

    __slots__ = ("connection", "good_until", "protocol", "used_at")

    def __init__(self, connection: aiohttp.connector.Connection, protocol: ResponseHandler) -> None:
        self.connection = connection
        self.protocol = protocol
        self.good_until = 0.0
        self.used_at = 0.0


class Pool:
    """The connections to one upstream.

    Args:
        base_url: of Breeze; its host is connected to.
        tls: the context for https.
        proxy: the HTTP proxy's URL, or None.
        limit: calls in flight; more wait their turn, first come, first served.
        connect_timeout: seconds for a connection, all attempts together.
        read_timeout: seconds until a response's fields, and between two pieces of its body.
        clock: the time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        tls: ssl.SSLContext | None,
        proxy: str | None,
        limit: int,
        connect_timeout: float,
        read_timeout: float,
        clock: Clock,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(
            ssl=tls if tls is not None else True, limit=0, force_close=True, ttl_dns_cache=10
        )
        # The connector reads from it where to connect and how; it is never sent.
        proxy_url = None if proxy is None else URL(proxy)
        auth = None if proxy_url is None else aiohttp.BasicAuth.from_url(proxy_url)
        self._where = aiohttp.ClientRequest(
            "POST",
            URL(base_url),
            loop=loop,
            proxy=None if proxy_url is None else proxy_url.with_user(None),
            proxy_auth=auth,
        )
        self._turns = asyncio.Semaphore(limit)
        self._idle: deque[Pooled] = deque()
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._clock = clock

    async def lease(self, *, young: bool) -> Pooled:
        """A connection, when it is this call's turn.

        Args:
            young: only one that is new or was used within the last second, because a call that breaks on a connection
                which the server closed while idle could not be sent again.

        Raises:
            UpstreamUnreachable: none could be made; nothing was sent.
            UpstreamTimeout: the same, for lack of time.
        """
        await self._turns.acquire()
        try:
            return self._kept(young=young) or await self._connect()
        except BaseException:
            self._turns.release()
            raise

    def give_back(self, pooled: Pooled, *, hint: float | None) -> None:
        """End of a call whose response was read whole.

        Args:
            pooled: the connection.
            hint: the timeout of the response's Keep-Alive field, seconds.
        """
        self._turns.release()
        now = self._clock.now()
        pooled.used_at = now
        pooled.good_until = now + (IDLE if hint is None else hint - EARLIER)
        if _usable(pooled, now):
            self._idle.append(pooled)
        else:
            pooled.connection.close()
        while self._idle and not _usable(self._idle[0], now):  # the oldest stand first
            self._idle.popleft().connection.close()

    def drop(self, pooled: Pooled) -> None:
        """End of a call whose connection is of no more use."""
        self._turns.release()
        pooled.connection.close()

    async def close(self) -> None:
        """Close all that is idle, and the connector."""
        while self._idle:
            self._idle.pop().connection.close()
        await self._connector.close()

    def _kept(self, *, young: bool) -> Pooled | None:
        now = self._clock.now()
        while self._idle:
            pooled = self._idle[-1]
            if not _usable(pooled, now):
                self._idle.pop().connection.close()
            elif young and now - pooled.used_at > YOUNG:
                return None
            else:
                return self._idle.pop()
        return None

    async def _connect(self) -> Pooled:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._connect_with_backoff()
        except TimeoutError:
            message = f"Breeze could not be connected to within {self._connect_timeout:g} s (BREEZE_CONNECT_TIMEOUT)."
            raise UpstreamTimeout(message, sent=False) from None

    async def _connect_with_backoff(self) -> Pooled:
        deadline = self._clock.now() + self._connect_timeout
        backoff = FIRST_BACKOFF
        while True:
            try:
                connection = await self._connector.connect(self._where, [], aiohttp.ClientTimeout())
            except aiohttp.ClientConnectorCertificateError:
                message = "Breeze's certificate is not trusted; BREEZE_CA_FILE adds a CA."
                raise UpstreamUnreachable(message, sent=False) from None
            except (aiohttp.ClientError, OSError) as error:
                pause = self._clock.jitter(backoff / 2, backoff)
                backoff *= 2
                if self._clock.now() + pause >= deadline:
                    raise UpstreamUnreachable(_reason(error), sent=False) from None
                await self._clock.sleep(pause)
            else:
                return self._prepared(connection)

    def _prepared(self, connection: aiohttp.connector.Connection) -> Pooled:
        protocol = connection.protocol
        if protocol is None:  # pragma: no cover # only after its release
            raise UpstreamUnreachable("The connection to Breeze was lost.", sent=False)
        # Once per connection: the parser goes on from one response to the next.
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self._read_timeout,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        return Pooled(connection, protocol)


def _usable(pooled: Pooled, now: float) -> bool:
    """Whether another request may be sent on it; bytes that nobody asked for make it unusable."""
    protocol = pooled.protocol
    return now < pooled.good_until and protocol.is_connected() and not protocol.should_close


def _reason(error: Exception) -> str:
    """What happened, without the library's repr, which holds fields."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "The name of Breeze's host could not be resolved."
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"The proxy of HTTPS_PROXY refused the connection to Breeze with status {error.status}."
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    why = getattr(cause, "strerror", None) or type(cause).__name__
    return f"Breeze could not be connected to: {why}."
