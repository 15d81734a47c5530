"""The shell around one call: read, admit, exchange, write, tell."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from structlog.typing import FilteringBoundLogger

from breeze_sidecar.clock import Clock
from breeze_sidecar.errors import (
    BadRequest,
    Internal,
    MethodNotAllowed,
    PayloadTooLarge,
    ShuttingDown,
    SidecarError,
)
from breeze_sidecar.proxy.admission import Rules, admit, cors_fields, preflight_fields
from breeze_sidecar.proxy.exchange import Exchange, Exchanged
from breeze_sidecar.proxy.fields import request_fields
from breeze_sidecar.proxy.operation import label, may_mutate
from breeze_sidecar.proxy.rate_limit import limits, retry_after_value
from breeze_sidecar.proxy.replies import Done, empty_answer, go_on, own_answer, pass_on
from breeze_sidecar.proxy.upstream import Answer, Call
from breeze_sidecar.telemetry.metrics import Metrics
from breeze_sidecar.telemetry.redaction import Redactor

_SERVER_ERROR = 500
#: Characters of a caller's X-Request-Id that are logged.
_LONGEST_ID = 128


@dataclass(slots=True)
class _Told:
    """What the log and the metrics say of a call, gathered on its way."""

    operation: str = "none"
    status: int = 499
    outcome: str = "hung_up"
    replay: str | None = None
    request_id: str | None = None
    code: str | None = None


class Gate:
    """Counts the calls in flight, and knows when no more may come.

    Attributes:
        closed: whether new calls are refused.
    """

    def __init__(self) -> None:
        self.closed = False
        self.in_flight = 0
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    def enter(self) -> None:
        """A call begins."""
        self.in_flight += 1
        self._empty.clear()

    def leave(self) -> None:
        """A call has ended."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until no call is in flight."""
        await self._empty.wait()


class Handler:
    """Takes a caller's request and writes the answer.

    Args:
        rules: who may call.
        exchange: brings calls to Breeze.
        host: Breeze's authority, for the Host field.
        gate: counts calls.
        clock: the time.
        metrics: counts outcomes.
        redactor: cleans the sidecar's own answers.
        log: tells of each call.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        exchange: Exchange[Call, Answer],
        host: bytes,
        gate: Gate,
        clock: Clock,
        metrics: Metrics,
        redactor: Redactor,
        log: FilteringBoundLogger,
    ) -> None:
        self._rules = rules
        self._exchange = exchange
        self._host = host
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._redactor = redactor
        self._log = log

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        began = self._clock.now()
        told = _Told()
        self._gate.enter()
        self._metrics.call_started()
        try:
            done = await self._answer(request, told)
        except (ConnectionError, SidecarError):
            # The caller is gone, or the answer broke off midway and its connection was reset.
            done = Done(keep_alive=False)
        finally:
            self._gate.leave()
            self._tell(told, self._clock.now() - began)
        return cast("web.StreamResponse", done)

    async def _answer(self, request: web.BaseRequest, told: _Told) -> Done:
        cors = cors_fields(request.raw_headers, self._rules)
        try:
            if (preflight := preflight_fields(request.method, request.raw_headers, self._rules)) is not None:
                told.status, told.outcome = 204, "preflight"
                return empty_answer(request, preflight)
            if self._gate.closed:
                raise ShuttingDown("The sidecar is stopping.", retry_after=1)  # noqa: TRY301 # rescue answers it
            admit(request.method, request.raw_path, request.raw_headers, self._rules)
            call = await self._read(request, told)
            exchanged = await self._exchange.perform(call)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 # the one place where an exception becomes an answer
            return self._rescue(request, error, told, cors)
        return await self._pass_on(request, exchanged, told, cors)

    async def _read(self, request: web.BaseRequest, told: _Told) -> Call:
        body = await self._body(request)
        prepared = request_fields(
            request.raw_headers, host=self._host, body_length=len(body), new_request_id=_new_request_id
        )
        # Cleaned before it is cut: half a token would not be known for one.
        told.request_id = self._redactor.clean(prepared.request_id)[:_LONGEST_ID]
        told.operation = self._metrics.operation(label(body))
        coding = prepared.content_encoding
        return Call(request.raw_path, prepared.block, body, coding, steady=may_mutate(body, coding))

    async def _body(self, request: web.BaseRequest) -> bytes:
        content = request.content
        if not content.is_eof():
            go_on(request)
        pieces = []
        size = 0
        try:
            while not content.at_eof():
                piece = await content.readany()
                size += len(piece)
                if size > self._rules.max_request_bytes:
                    limit = self._rules.max_request_bytes
                    raise PayloadTooLarge(f"The body is over {limit} bytes; BREEZE_MAX_REQUEST_BYTES sets the limit.")
                pieces.append(piece)
        except (web.RequestPayloadError, HttpProcessingError):
            raise BadRequest("The request's body is not framed as HTTP/1.1 asks.") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _pass_on(
        self, request: web.BaseRequest, exchanged: Exchanged[Answer], told: _Told, cors: list[tuple[str, str]]
    ) -> Done:
        answer = exchanged.answer
        told.status, told.replay = answer.status, exchanged.replay
        told.outcome = "broken_off"
        rate = answer.fields.rate_limit
        if rate != (None, None, None):
            known = limits(rate)
            self._metrics.rate_limit(known.limit, known.remaining, known.reset)
        extra = cors
        if exchanged.retry_after is not None:
            extra = [*cors, ("Retry-After", retry_after_value(exchanged.retry_after))]
        try:
            done = await pass_on(request, answer, extra, close=self._gate.closed)
        except ConnectionError:
            told.outcome = "hung_up"
            answer.release()
            raise
        told.outcome = "replayed" if exchanged.replay in {"accepted", "rejected"} else "passed"
        return done

    def _rescue(self, request: web.BaseRequest, error: Exception, told: _Told, cors: list[tuple[str, str]]) -> Done:
        if not isinstance(error, SidecarError):
            self._log.error("call.crashed", request_id=told.request_id, exc_info=error)
            error = Internal("The sidecar failed on this call; its log says how.")
        told.status, told.code = error.status, error.code
        told.outcome = "failed" if error.status >= _SERVER_ERROR else "refused"
        extra = list(cors)
        if told.request_id is not None:
            extra.append(("X-Request-Id", told.request_id))
        if isinstance(error, MethodNotAllowed):
            extra.append(("Allow", "POST"))
        # What is left of a body that was not read would be taken for the next request.
        close = self._gate.closed or not request.content.is_eof()
        return own_answer(request, error, self._redactor, extra, close=close)

    def _tell(self, told: _Told, seconds: float) -> None:
        self._metrics.call_completed(told.operation, told.status, told.outcome, seconds)
        if told.replay is not None:
            self._metrics.replayed(told.replay)
        facts: dict[str, object] = {
            "operation": told.operation,
            "status": told.status,
            "outcome": told.outcome,
            "duration_ms": round(seconds * 1000, 1),
            "replayed": told.outcome == "replayed",
            "request_id": told.request_id,
        }
        if told.code is not None:
            facts["code"] = told.code
        if told.replay is not None:
            facts["replay"] = told.replay
        self._log.info("call.completed", **facts)


def _new_request_id() -> str:
    return os.urandom(16).hex()


class Connection(RequestHandler):
    """aiohttp's server side of one connection, which answers a request that is not HTTP as the sidecar answers.

    aiohttp itself would echo the offending bytes, an oversized field among them, into its log and its answer.
    """

    __slots__ = ("_not_http",)

    def __init__(self, *args: Any, not_http: Callable[[web.BaseRequest], Done], **kwargs: Any) -> None:  # noqa: ANN401 # aiohttp's own
        super().__init__(*args, **kwargs)
        self._not_http = not_http

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_ERROR,  # noqa: ARG002 # aiohttp's signature
        exc: BaseException | None = None,  # noqa: ARG002 # aiohttp's signature
        message: str | None = None,  # noqa: ARG002 # aiohttp's signature
    ) -> web.StreamResponse:
        """Answer 400 and close."""
        return cast("web.StreamResponse", self._not_http(request))


class Server(web.Server):
    """aiohttp's low-level server: no routes, no middlewares, no access log.

    Args:
        handler: answers requests.
        not_http: answers what is no HTTP request.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        not_http: Callable[[web.BaseRequest], Done],
    ) -> None:
        super().__init__(handler)
        self._not_http = not_http

    def __call__(self) -> RequestHandler:
        """The protocol of a new connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            not_http=self._not_http,
            access_log=None,
            auto_decompress=False,
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            keepalive_timeout=75,
        )
