"""May this caller call? Whoever reaches the port acts as the Breeze client (pure)."""

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from breeze_sidecar.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    UnsupportedMediaType,
)

Field = tuple[bytes, bytes]

_MEDIA_TYPES = frozenset({"application/json", "application/graphql+json"})
_TARGET = re.compile(r"/graphql(?:\?[\x21\x22\x24-\x7e]*)?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{1,5})?", re.ASCII)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_SAME_SITE = frozenset({b"same-origin", b"none"})
_NOTED = frozenset({b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length"})
_EXPOSED = "Retry-After, X-Request-Id, Proxy-Status, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may call.

    Attributes:
        allowed_hosts: names besides localhost, lower-case.
        allowed_origins: of web pages.
        required: the field that each call must bear, and its value; None for none.
        any_host: whether Host is not looked at: on a Unix socket.
        max_request_bytes: of a body.
    """

    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()
    required: tuple[str, str] | None = None
    any_host: bool = False
    max_request_bytes: int = 16 * 1024 * 1024


def admit(method: str, target: str, fields: Sequence[Field], rules: Rules) -> None:
    """Let the call in, or raise the error that it is answered with.

    Args:
        method: as it came.
        target: the request target, as it stands in the request line.
        fields: as they came.
        rules: who may call.

    Raises:
        SidecarError: one of BadRequest, Forbidden, NotFound, MethodNotAllowed, PreconditionFailed,
            UnsupportedMediaType and PayloadTooLarge.
    """
    noted: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if (lower := name.lower()) in _NOTED:
            noted.setdefault(lower, []).append(value)
    if not target.startswith("/"):
        raise BadRequest("The request target must be a path; an HTTP proxy's absolute form is not taken.")
    _host(noted.get(b"host", []), rules)
    _origin(noted.get(b"origin", []), noted.get(b"sec-fetch-site", []), rules)
    if not _TARGET.fullmatch(target):
        raise NotFound("Only POST /graphql is served.")
    if method != "POST":
        raise MethodNotAllowed("Only POST /graphql is served.")
    if rules.required is not None:
        _required(fields, *rules.required)
    _media_type(noted.get(b"content-type", []))
    _length(noted.get(b"content-length", []), rules)


def preflight_fields(method: str, fields: Sequence[Field], rules: Rules) -> list[tuple[str, str]] | None:
    """The fields that answer a CORS preflight of an allowed origin; None for any other request."""
    if method != "OPTIONS" or not rules.allowed_origins:
        return None
    asked = {name.lower(): value for name, value in fields}
    cors = cors_fields(fields, rules)
    if not cors or b"access-control-request-method" not in asked:
        return None
    _host([value for name, value in fields if name.lower() == b"host"], rules)
    wanted = asked.get(b"access-control-request-headers", b"").decode("latin-1")
    names = [name for name in wanted.split(",") if re.fullmatch(r"\s*[A-Za-z0-9-]+\s*", name, re.ASCII)]
    return [
        *cors,
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", ", ".join(name.strip() for name in names) or "Content-Type"),
        ("Access-Control-Max-Age", "600"),
    ]


def cors_fields(fields: Sequence[Field], rules: Rules) -> list[tuple[str, str]]:
    """The fields by which a page of an allowed origin may read the answer; none for others."""
    if not rules.allowed_origins:
        return []
    origins = [value.decode("latin-1") for name, value in fields if name.lower() == b"origin"]
    if len(origins) != 1 or origins[0] not in rules.allowed_origins:
        return []
    return [
        ("Access-Control-Allow-Origin", origins[0]),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("Vary", "Origin"),
    ]


def _host(hosts: list[bytes], rules: Rules) -> None:
    if rules.any_host:
        return
    if len(hosts) != 1:
        raise BadRequest("A request needs exactly one Host field.")
    if _allowed_host(hosts[0], rules.allowed_hosts):
        return
    raise Forbidden(
        f"The Host {_shown(hosts[0])} is not allowed; "
        "call localhost or an IP address, or name it in BREEZE_ALLOWED_HOSTS."
    )


@lru_cache(maxsize=64)
def _allowed_host(host: bytes, allowed: frozenset[str]) -> bool:
    """Whether this Host may be used; an IP address always, for DNS rebinding needs a name."""
    found = _HOST.fullmatch(host.decode("latin-1"))
    if found is None:
        return False
    name = found[1].lower()
    if name == "localhost" or name in allowed:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _origin(origins: list[bytes], sites: list[bytes], rules: Rules) -> None:
    if not origins and not sites:
        return
    allowed = len(origins) == 1 and origins[0].decode("latin-1") in rules.allowed_origins
    if origins and not allowed:
        raise Forbidden(
            f"The Origin {_shown(origins[0])} is not allowed; "
            "web pages may call only from origins in BREEZE_ALLOWED_ORIGINS."
        )
    if not allowed and any(site.strip().lower() not in _SAME_SITE for site in sites):
        raise Forbidden("Web pages may call only from origins in BREEZE_ALLOWED_ORIGINS.")


def _required(fields: Sequence[Field], name: str, value: str) -> None:
    lower = name.lower().encode("ascii")
    borne = [theirs for its, theirs in fields if its.lower() == lower]
    if len(borne) != 1 or not hmac.compare_digest(borne[0], value.encode("latin-1", "replace")):
        raise PreconditionFailed(f"Each call must bear the field {name} with the value of BREEZE_REQUIRED_HEADER.")


def _media_type(types: list[bytes]) -> None:
    if len(types) == 1 and _allowed_type(types[0]):
        return
    raise UnsupportedMediaType("Content-Type must be application/json, in UTF-8.")


@lru_cache(maxsize=64)
def _allowed_type(value: bytes) -> bool:
    text = value.decode("latin-1")
    charset = _CHARSET.search(text)
    return text.partition(";")[0].strip().lower() in _MEDIA_TYPES and (
        charset is None or charset[1].lower() in {"utf-8", "utf8"}
    )


def _length(lengths: list[bytes], rules: Rules) -> None:
    declared = lengths[0] if lengths else b"0"
    if declared.isdigit() and int(declared) > rules.max_request_bytes:
        raise PayloadTooLarge(
            f"The body is over {rules.max_request_bytes} bytes; BREEZE_MAX_REQUEST_BYTES sets the limit."
        )


def _shown(value: bytes) -> str:
    """Caller's text in a message: short and printable."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value[:100].decode("latin-1"))
