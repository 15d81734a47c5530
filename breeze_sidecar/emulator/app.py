"""The emulator's application: both endpoints of Breeze, and what goes wrong between them and the caller."""

import asyncio
import logging
import math
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

from aiohttp import web

from breeze_sidecar.emulator.answer import Answer
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.emulator.control import add_routes
from breeze_sidecar.emulator.execution import respond
from breeze_sidecar.emulator.faults import Fault
from breeze_sidecar.emulator.oauth import grant, throttled
from breeze_sidecar.emulator.state import State

#: Bytes of a request: photos are several megabytes.
_LARGEST = 64 * 1024 * 1024
_TOO_MANY = "Too many requests from this IP, please try again later"
_SMALLEST_COMPRESSED = 256

#: A caller that left, or was made to leave, is no defect of the emulator.
_LOG = logging.getLogger("breeze_sidecar.emulator")
_LOG.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], ConnectionError)))

Work = Callable[[bytes, Fault | None], Answer]


class Running:
    """An emulator that listens; see `start`.

    Attributes:
        url: its base URL.
        state: what it remembers.
    """

    def __init__(self, runner: web.AppRunner, state: State, url: str) -> None:
        self._runner = runner
        self.state = state
        self.url = url

    async def close(self) -> None:
        """Let go of all that is held, and stop."""
        self.state.faults.close()
        await self._runner.cleanup()


async def start(config: Config, clock: Callable[[], float] = time.time) -> Running:
    """Listen.

    Args:
        config: the emulator's settings.
        clock: Unix time.

    Raises:
        OSError: the port cannot be bound.
    """
    state = State(config)
    runner = web.AppRunner(
        application(state, clock),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=config.keepalive,
        auto_decompress=True,
        shutdown_timeout=1,
        logger=_LOG,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
    except BaseException:
        await runner.cleanup()
        raise
    host, port = runner.addresses[0][:2]
    return Running(runner, state, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def application(state: State, clock: Callable[[], float]) -> web.Application:
    """Breeze's two endpoints and the control endpoint."""

    async def token(request: web.Request) -> web.StreamResponse:
        def work(body: bytes, fault: Fault | None) -> Answer:
            return grant(state, body, clock(), fault.lie if fault is not None and fault.kind == "lie" else "")

        state.token_request_times.append(clock())
        return await _serve(request, state, "token", work, clock)

    async def graphql(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        state.record(request.method, request.raw_path, fields, body)
        address = request.remote or ""
        if not state.graphql_limit.admit(address, clock(), state.config.graphql_limit, state.config.window):
            return await _write(request, state, _rate_limited(), None, clock)
        bearer = request.headers.get("Authorization", "")
        held = bearer[7:] if bearer.startswith("Bearer ") else ""

        def work(body: bytes, fault: Fault | None) -> Answer:
            return respond(state, body, held, clock(), fault)

        return await _serve(request, state, "graphql", work, clock)

    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post("/oauth/token", token)
    app.router.add_post("/graphql", graphql)
    add_routes(app, state, clock)
    return app


async def _serve(
    request: web.Request, state: State, endpoint: str, work: Work, clock: Callable[[], float]
) -> web.StreamResponse:
    body = await request.read()
    slow, fault = state.faults.take(endpoint)
    if slow is not None and slow.delay:
        await state.faults.hold(slow.delay)
    if fault is None:
        return await _write(request, state, work(body, None), slow, clock)
    if fault.when == "before" and fault.kind in {"fail", "hang", "reset", "throttle"}:
        answer = None
    else:
        answer = work(body, fault)
    match fault.kind:
        case "fail":
            fields = {"Location": "/elsewhere"} if fault.status < 400 else {}  # noqa: PLR2004 # 3xx
            answer = Answer(fault.status, b'{"message": "a fault of the emulator"}', fields=fields)
        case "throttle":
            answer = _throttled(state, fault, endpoint, clock())
        case "hang":
            await state.faults.hold(None)
            answer = answer or work(body, None)
        case "reset" if fault.when != "body":
            return _reset(request)
        case "reset" if answer is not None:
            return await _write_half(request, answer)
        case _:
            pass
    if answer is None:
        answer = work(body, None)
    return await _write(request, state, answer, fault if fault.kind == "stream" else slow, clock)


def _rate_limited() -> Answer:
    return Answer(429, _TOO_MANY.encode(), "text/plain; charset=utf-8")


def _throttled(state: State, fault: Fault, endpoint: str, now: float) -> Answer:
    fields = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if endpoint == "token":
        wait = 60 if fault.retry_after is None else fault.retry_after
        return replace(throttled(state, wait), fields=fields)
    if fault.reset_after is not None:
        fields["X-RateLimit-Reset"] = str(math.ceil(now + state.config.date_skew + fault.reset_after))
    else:
        fields["X-RateLimit-Reset"] = ""
    return replace(_rate_limited(), fields=fields)


async def _write(
    request: web.Request, state: State, answer: Answer, manner: Fault | None, clock: Callable[[], float]
) -> web.StreamResponse:
    now = clock()
    fields = {"Date": formatdate(now + state.config.date_skew, usegmt=True), "Server": "breeze-emulator"}
    if request.path == "/graphql":
        fields |= state.rate_fields(request.remote or "", now)
    if state.config.set_cookie:
        fields["Set-Cookie"] = "sample=cookie; Path=/"
    fields |= {"Content-Type": answer.media_type, **answer.fields}
    fields = {name: value for name, value in fields.items() if value}
    body = answer.body
    if manner is not None and manner.kind == "stream":
        body, fields["Content-Type"] = _streamed(body, manner)
    elif state.config.compression and "Content-Encoding" not in fields and len(body) >= _SMALLEST_COMPRESSED:
        body = _compressed(request, body, fields)
    response = web.StreamResponse(status=answer.status, headers=fields)
    if manner is None or manner.pieces == 1:
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
    else:
        await response.prepare(request)
        size = max(1, math.ceil(len(body) / manner.pieces))
        for begin in range(0, len(body), size):
            if manner.piece_delay:
                await state.faults.hold(manner.piece_delay)
            await response.write(body[begin : begin + size])
    await response.write_eof()
    return response


def _streamed(body: bytes, manner: Fault) -> tuple[bytes, str]:
    if manner.media == "text/event-stream":
        return b"event: next\ndata: %b\n\n" % body + b"event: complete\ndata:\n\n", manner.media
    part = b"--graphql\r\nContent-Type: application/json\r\n\r\n%b\r\n" % body
    return part + b"--graphql--\r\n", 'multipart/mixed; boundary="graphql"'


def _compressed(request: web.Request, body: bytes, fields: dict[str, str]) -> bytes:
    accepted = request.headers.get("Accept-Encoding", "")
    for coding, bits in (("gzip", zlib.MAX_WBITS | 16), ("deflate", zlib.MAX_WBITS)):
        if coding in accepted and f"{coding};q=0" not in accepted.replace(" ", ""):
            fields["Content-Encoding"] = coding
            coder = zlib.compressobj(wbits=bits)
            return coder.compress(body) + coder.flush()
    return body


def _reset(request: web.Request) -> web.StreamResponse:
    """End the connection with RST."""
    transport = request.transport
    if transport is not None:
        end: socket.socket | None = transport.get_extra_info("socket")
        if end is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise ConnectionResetError("a fault of the emulator")


async def _write_half(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.media_type})
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    await asyncio.sleep(0)
    return _reset(request)
