"""Writes answers to the caller: Breeze's as they came, the sidecar's own as GraphQL request errors.

aiohttp's response classes would add fields (Server, Date, Content-Type) to what Breeze sent.
"""

from collections.abc import Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import orjson
from aiohttp import web

from breeze_sidecar.errors import SidecarError, UpstreamTimeout, UpstreamUnreachable
from breeze_sidecar.proxy.fields import answer_media_type, proxy_status
from breeze_sidecar.proxy.upstream import Answer


class Done:
    """What aiohttp's server asks of a response, for one that is written already, or is to be written at once.

    Attributes:
        keep_alive: whether the connection goes on.
    """

    __slots__ = ("_data", "keep_alive")

    def __init__(self, *, keep_alive: bool, data: bytes = b"") -> None:
        self.keep_alive = keep_alive
        self._data = data

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write what is left to write."""
        if self._data and request.transport is not None:
            request.transport.write(self._data)

    async def write_eof(self) -> None:
        """Nothing is left."""


class Redacts(Protocol):
    """Whoever takes secrets out of a text."""

    def clean(self, text: str) -> str: ...  # noqa: D102 # see telemetry.redaction


async def pass_on(request: web.BaseRequest, answer: Answer, extra: Iterable[tuple[str, str]], *, close: bool) -> Done:
    """Write Breeze's answer to the caller, streaming what has not come yet.

    Raises:
        ConnectionError: the caller has hung up, or the answer broke off and so does the caller's connection.
    """
    keep_alive = request.keep_alive and not close
    fields = answer.fields.passed
    chunked = False
    framing = b""
    if not answer.complete and answer.fields.content_length is None:
        chunked = request.version >= (1, 1)
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        keep_alive = keep_alive and chunked
    elif answer.fields.content_length is None and answer.status not in {204, 304}:
        framing = b"Content-Length: %d\r\n" % len(answer.head)
    head = _head(answer.status, answer.reason, fields, framing, extra, request=request, keep_alive=keep_alive)
    if answer.complete:
        _write(request, head + answer.head)
        return Done(keep_alive=keep_alive)
    try:
        _write(request, head + _framed(answer.head, chunked=chunked))
        async for piece in answer.rest():
            _write(request, _framed(piece, chunked=chunked))
            await request.writer.drain()
        if chunked:
            _write(request, b"0\r\n\r\n")
    except (UpstreamUnreachable, UpstreamTimeout):
        # A reset, so that no caller takes what came for the whole.
        if request.transport is not None:
            request.transport.abort()
        raise
    finally:
        answer.release()
    return Done(keep_alive=keep_alive)


def own_answer(
    request: web.BaseRequest,
    error: SidecarError,
    redactor: Redacts,
    extra: Sequence[tuple[str, str]] = (),
    *,
    close: bool = False,
) -> Done:
    """The sidecar's own answer: a GraphQL request error, with a Proxy-Status field (RFC 9209)."""
    message = redactor.clean(error.message)
    body = orjson.dumps({"errors": [{"message": message, "extensions": {"code": error.code}}]})
    keep_alive = request.keep_alive and not close
    fields = [
        ("Content-Type", f"{answer_media_type(request.raw_headers)}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Date", formatdate(usegmt=True)),
        ("Cache-Control", "no-store"),
        ("Proxy-Status", proxy_status(error)),
        *extra,
    ]
    if error.retry_after is not None:
        fields.append(("Retry-After", str(error.retry_after)))
    head = _head(error.status, HTTPStatus(error.status).phrase, (), b"", fields, request=request, keep_alive=keep_alive)
    return Done(keep_alive=keep_alive, data=head + body)


def empty_answer(request: web.BaseRequest, fields: Iterable[tuple[str, str]]) -> Done:
    """A 204, for a CORS preflight."""
    head = _head(204, "No Content", (), b"", fields, request=request, keep_alive=request.keep_alive)
    return Done(keep_alive=request.keep_alive, data=head)


def go_on(request: web.BaseRequest) -> None:
    """Ask for the body of a caller that waits to be asked (RFC 9110 section 10.1.1); curl does from 1 MiB on."""
    if request.version >= (1, 1) and request.headers.get("Expect", "").lower() == "100-continue":
        _write(request, b"HTTP/1.1 100 Continue\r\n\r\n")


def _head(
    status: int,
    reason: str | None,
    fields: Iterable[tuple[bytes, bytes]],
    framing: bytes,
    extra: Iterable[tuple[str, str]],
    *,
    request: web.BaseRequest,
    keep_alive: bool,
) -> bytes:
    lines = [b"HTTP/1.%d %d %s" % (request.version.minor, status, (reason or "").encode("utf-8", "surrogateescape"))]
    lines += [name + b": " + value for name, value in fields]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in extra]
    if not keep_alive:
        lines.append(b"Connection: close")
    elif request.version.minor == 0:
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n" + framing + b"\r\n"


def _framed(piece: bytes, *, chunked: bool) -> bytes:
    """The piece as a chunk (RFC 9112 section 7.1); an empty one would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece


def _write(request: web.BaseRequest, data: bytes) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the caller has hung up")
    transport.write(data)
