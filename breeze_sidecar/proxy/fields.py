"""Which header fields pass, in both directions (pure)."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from breeze_sidecar.errors import BadRequest, SidecarError

Field = tuple[bytes, bytes]

#: Fields for one connection only (RFC 9110 section 7.6.1), besides those that Connection names.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: What a request bears for the sidecar only, or what the sidecar sets itself.
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"proxy-authorization",
    b"via",
}
#: What Connection may not name: the body could not be read without them, or a refusal could be got around.
_NEVER_NOMINATED = frozenset({b"content-type", b"content-encoding", b"content-length", b"x-request-id"})
_NOTED_OF_REQUESTS = frozenset({b"accept-encoding", b"via", b"x-request-id", b"content-encoding"})
_FORBIDDEN = re.compile(rb"[\r\n\0]")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_PSEUDONYM = b"1.1 breeze-sidecar"
_READABLE = (b"gzip", b"x-gzip", b"deflate", b"identity")
_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout=(\d{1,6})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestFields:
    """A request's fields as they go to Breeze.

    Attributes:
        block: all but Authorization, each with its line end.
        request_id: the call's X-Request-Id, printable, for the log.
        content_encoding: lower-case; "" for none.
    """

    block: bytes
    request_id: str
    content_encoding: str


def request_fields(
    fields: Sequence[Field], *, host: bytes, body_length: int, new_request_id: Callable[[], str]
) -> RequestFields:
    """What goes to Breeze of a request's fields, in their order and case.

    Args:
        fields: as they came.
        host: Breeze's authority.
        body_length: bytes.
        new_request_id: makes an id for a call that bears none.

    Raises:
        BadRequest: a field holds a line end or a NUL.
    """
    lines = [b"Host: " + host]
    noted: dict[bytes, list[bytes]] = {}
    dropped = _nominated(fields)
    for name, value in fields:
        lower = name.lower()
        if lower in _NOTED_OF_REQUESTS:
            noted.setdefault(lower, []).append(value)
        if lower in _NOT_FORWARDED or lower in dropped or lower.startswith(b"x-forwarded-"):
            continue
        if value or lower != b"x-request-id":
            lines.append(name + b": " + value)
    request_id = b"".join(noted.get(b"x-request-id", ()))
    if not request_id:
        request_id = new_request_id().encode("ascii")
        lines.append(b"X-Request-Id: " + request_id)
    lines.append(b"Accept-Encoding: " + narrowed(noted.get(b"accept-encoding", ())))
    lines.append(b"Via: " + b", ".join([*noted.get(b"via", ()), _PSEUDONYM]))
    lines.append(b"Content-Length: %d" % body_length)
    block = b"\r\n".join(lines)
    if len(_FORBIDDEN.findall(block)) != 2 * (len(lines) - 1):
        raise BadRequest("A field holds a line end or a NUL.")
    content_encoding = b", ".join(noted.get(b"content-encoding", ()))
    printable = _UNPRINTABLE.sub("?", request_id.decode("latin-1"))
    return RequestFields(block + b"\r\n", printable, content_encoding.decode("latin-1").strip().lower())


@dataclass(frozen=True, slots=True)
class ResponseFields:
    """A response's fields.

    Attributes:
        passed: those that go to the caller, as they came.
        content_type: the media type, lower-case, without parameters; "" for none.
        content_encoding: lower-case; "" for none.
        content_length: bytes, or None.
        keep_alive: seconds of the Keep-Alive field's timeout, or None.
        retry_after: as it came, or None.
        date: as it came, or None.
        rate_limit: X-RateLimit-Limit, -Remaining and -Reset as they came.
    """

    passed: list[Field]
    content_type: str = ""
    content_encoding: str = ""
    content_length: int | None = None
    keep_alive: float | None = None
    retry_after: str | None = None
    date: str | None = None
    rate_limit: tuple[str | None, str | None, str | None] = (None, None, None)


_NOTED = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"retry-after",
        b"date",
        b"x-ratelimit-limit",
        b"x-ratelimit-remaining",
        b"x-ratelimit-reset",
    }
)


def response_fields(fields: Sequence[Field]) -> ResponseFields:
    """What goes to the caller of a response's fields, and what the sidecar itself reads of them."""
    passed: list[Field] = []
    noted: dict[bytes, str] = {}
    keep_alive = None
    dropped = _nominated(fields)
    for pair in fields:
        lower = pair[0].lower()
        if lower in _HOP_BY_HOP or lower in dropped:
            if lower == b"keep-alive" and (found := _TIMEOUT.search(pair[1])):
                keep_alive = float(found[1])
            continue
        if lower in _NOTED:
            noted[lower] = pair[1].decode("latin-1")
        passed.append(pair)
    get = noted.get
    length = get(b"content-length")
    return ResponseFields(
        passed,
        get(b"content-type", "").partition(";")[0].strip().lower(),
        get(b"content-encoding", "").strip().lower(),
        int(length) if length is not None and length.isascii() and length.isdigit() else None,
        keep_alive,
        get(b"retry-after"),
        get(b"date"),
        (get(b"x-ratelimit-limit"), get(b"x-ratelimit-remaining"), get(b"x-ratelimit-reset")),
    )


def narrowed(accepted: Iterable[bytes]) -> bytes:
    """Accept-Encoding, limited to what the sidecar can read, weights as they came (RFC 9110 section 12.5.3)."""
    weights: dict[bytes, bytes] = {}
    for element in b",".join(accepted).split(b","):
        coding, semicolon, weight = element.strip().partition(b";")
        weights[coding.strip().lower()] = semicolon + weight
    wildcard = weights.get(b"*")
    chosen = [coding + weights[coding] for coding in _READABLE if coding in weights]
    if wildcard is not None:
        chosen += [coding + wildcard for coding in (b"gzip", b"deflate") if coding not in weights]
    return b", ".join(chosen) or b"identity"


def answer_media_type(fields: Iterable[Field]) -> str:
    """The media type of the sidecar's own answers: the GraphQL one where the caller names it in Accept."""
    for name, value in fields:
        if name.lower() == b"accept":
            for element in value.lower().split(b","):
                media, _, parameters = element.partition(b";")
                refused = re.search(rb"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)", parameters)
                if media.strip() == b"application/graphql-response+json" and not refused:
                    return "application/graphql-response+json"
    return "application/json"


def proxy_status(error: SidecarError) -> str:
    """The Proxy-Status field of one of the sidecar's own answers (RFC 9209 section 2)."""
    return f"breeze-sidecar; error={error.proxy_error}" if error.proxy_error else "breeze-sidecar"


def _nominated(fields: Sequence[Field]) -> frozenset[bytes]:
    """The fields that Connection names."""
    for name, _ in fields:
        if len(name) == len(b"connection") and name.lower() == b"connection":
            break
    else:
        return frozenset()
    values = b",".join(value for name, value in fields if name.lower() == b"connection")
    return frozenset(option.strip().lower() for option in values.split(b",")) - _NEVER_NOMINATED
