"""proxy/connections.py: which connection a call gets; the connector is a fake."""

import asyncio

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from support.clock import FakeClock
from yarl import URL

from breeze_sidecar.errors import UpstreamTimeout, UpstreamUnreachable
from breeze_sidecar.proxy.connections import IDLE, Pool, Pooled

KEY = ConnectionKey("breeze", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)


class Protocol:
    should_close = False
    connected = True

    def is_connected(self) -> bool:
        return self.connected

    def set_response_params(self, **_: object) -> None: ...


class Connection:
    def __init__(self) -> None:
        self.protocol = Protocol()
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Connector:
    """Raises what it was given first, then connects."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[Connection] = []
        self.attempts = 0
        self.hang = False

    async def connect(self, *_: object) -> Connection:
        self.attempts += 1
        if self.hang:
            await asyncio.get_running_loop().create_future()
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Connection())
        return self.made[-1]

    async def close(self) -> None: ...


def pool(*errors: Exception, connect_timeout: float = 5.0, limit: int = 2) -> tuple[Pool, Connector, FakeClock]:
    clock = FakeClock()
    made = Pool(
        "http://breeze",
        tls=None,
        proxy=None,
        limit=limit,
        connect_timeout=connect_timeout,
        read_timeout=30,
        clock=clock,
    )
    connector = Connector(*errors)
    made._connector = connector  # type: ignore[assignment] # a fake
    return made, connector, clock


async def test_the_youngest_idle_connection_is_used_again_and_an_old_one_dropped() -> None:
    connections, connector, clock = pool()
    first, second = await connections.lease(young=False), await connections.lease(young=False)
    connections.give_back(first, hint=None)
    await clock.advance(1)
    connections.give_back(second, hint=None)
    assert await connections.lease(young=False) is second
    connections.give_back(second, hint=None)
    await clock.advance(IDLE + 0.1)
    assert await connections.lease(young=False) not in {first, second}
    assert [each.closed for each in connector.made] == [True, True, False]
    await connections.close()


async def test_a_mutation_gets_a_connection_that_is_new_or_was_used_within_the_last_second() -> None:
    connections, _, clock = pool()
    first = await connections.lease(young=True)
    connections.give_back(first, hint=None)
    await clock.advance(0.9)
    assert await connections.lease(young=True) is first
    connections.give_back(first, hint=None)
    await clock.advance(1.1)
    other = await connections.lease(young=True)
    assert other is not first
    assert await connections.lease(young=False) is first
    await connections.close()


@pytest.mark.parametrize(("hint", "kept"), [(5.0, True), (1.0, False), (0.0, False)])
async def test_the_servers_hint_is_kept(hint: float, *, kept: bool) -> None:
    connections, connector, _ = pool()
    connections.give_back(await connections.lease(young=False), hint=hint)
    assert connector.made[0].closed is not kept


@pytest.mark.parametrize("what", ["closed by the server", "bytes that nobody asked for"])
async def test_a_connection_that_is_of_no_use_is_not_handed_out(what: str) -> None:
    connections, connector, _ = pool()
    first = await connections.lease(young=False)
    connections.give_back(first, hint=None)
    if what == "closed by the server":
        connector.made[0].protocol.connected = False
    else:
        connector.made[0].protocol.should_close = True
    assert await connections.lease(young=False) is not first
    assert connector.made[0].closed


async def test_more_than_the_limit_wait_their_turn() -> None:
    connections, connector, clock = pool(limit=1)
    first = await connections.lease(young=False)
    waiting = asyncio.get_running_loop().create_task(connections.lease(young=False))
    await clock.advance(0)
    assert not waiting.done()
    connections.drop(first)
    assert isinstance(await waiting, Pooled)
    assert connector.made[0].closed


async def test_connecting_is_tried_again_until_the_time_is_over() -> None:
    refused = aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused"))
    connections, connector, clock = pool(refused, refused, refused)
    leasing = asyncio.get_running_loop().create_task(connections.lease(young=False))
    await clock.advance(1)
    assert isinstance(await leasing, Pooled)
    assert connector.attempts == 4


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError("x")), "could not be resolved"),
        (aiohttp.ClientHttpProxyError(None, (), status=407), "status 407"),  # type: ignore[arg-type] # no request
        (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError"),
    ],
)
async def test_what_kept_it_from_connecting_is_said_and_nothing_was_sent(error: Exception, says: str) -> None:
    connections, connector, _ = pool(*[error] * 9, connect_timeout=0.01)
    with pytest.raises(UpstreamUnreachable, match=says) as caught:
        await connections.lease(young=False)
    assert caught.value.sent is False
    connector.errors.clear()
    assert isinstance(await connections.lease(young=False), Pooled), "its turn was given back"


async def test_an_untrusted_certificate_is_not_tried_again() -> None:
    error = aiohttp.ClientConnectorCertificateError(KEY, Exception("self-signed"))
    connections, connector, _ = pool(error)
    with pytest.raises(UpstreamUnreachable, match="BREEZE_CA_FILE"):
        await connections.lease(young=False)
    assert connector.attempts == 1


async def test_a_connection_that_takes_too_long_is_a_timeout() -> None:
    connections, connector, _ = pool(connect_timeout=0.001)
    connector.hang = True
    with pytest.raises(UpstreamTimeout, match="BREEZE_CONNECT_TIMEOUT") as caught:
        await connections.lease(young=False)
    assert caught.value.sent is False


async def test_a_port_and_a_proxy_are_part_of_where_it_connects() -> None:
    made = Pool(
        "http://breeze:81",
        tls=None,
        proxy="http://proxy:3128",
        limit=1,
        connect_timeout=1,
        read_timeout=1,
        clock=FakeClock(),
    )
    assert (made._where.connection_key.host, made._where.connection_key.port) == ("breeze", 81)
    assert made._where.proxy == URL("http://proxy:3128")
    await made.close()
