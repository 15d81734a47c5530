"""What each kind of setting may be (pure): text becomes the value, or a ValueError that says what would be right."""

import ipaddress
import re
from urllib.parse import urlsplit

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HOST_NAME = re.compile(r"[0-9a-z]([0-9a-z._-]*[0-9a-z])?", re.ASCII)
_NOT_REQUIRED = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def base_url(text: str) -> str:
    """An origin: scheme, host, perhaps a port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://breeze.example") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError("must be a URL such as https://breeze.example")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after the host and port: the sidecar adds /graphql and /oauth/token itself")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token(text: str) -> str:
    """A client_id or secret: printable, on one line."""
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line without spaces around it or control characters in it")
    return text


def hosts(text: str) -> tuple[str, ...]:
    """Host names, comma-separated."""
    names = _split(text.lower())
    for name in names:
        if name == "*":
            raise ValueError("must name each host: with * any web page could call, by DNS rebinding")
        if not _HOST_NAME.fullmatch(name):
            raise ValueError("must be host names without scheme or port, separated by commas")
    return names


def origins(text: str) -> tuple[str, ...]:
    """Origins of web pages, comma-separated."""
    names = _split(text)
    for name in names:
        if name in {"*", "null"}:
            raise ValueError("must name each origin: * and null would let any web page call")
        parts = urlsplit(name)
        if parts.scheme not in {"http", "https"} or not parts.hostname or name != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("must be origins such as https://app.example:8443, separated by commas")
    return names


def header(text: str) -> tuple[str, str]:
    """A field: its name and value."""
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not _FIELD_NAME.fullmatch(name) or not value or not value.isascii() or not value.isprintable():
        raise ValueError('must be a field\'s name and value, such as "X-Breeze-Request: true"')
    if name.lower() in _NOT_REQUIRED:
        raise ValueError("must be a field of your own, such as X-Breeze-Request: this one has a meaning in HTTP")
    return name, value


def address(text: str) -> str:
    """A host name or IP address to listen on."""
    if not text.isascii() or not text.isprintable() or any(c in text for c in " /,@"):
        raise ValueError("must be an IP address or host name")
    return text.strip("[]")


def cache(text: str) -> str:
    """Where the token is kept: memory://, file:///path, redis:// or rediss://."""
    wrong = ValueError("must be memory://, file:///path, redis://host:port/db or rediss://host:port/db")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.query or parts.fragment or not text.isprintable():
        raise wrong
    if text == "memory://":
        return text
    if parts.scheme == "file" and not parts.netloc and not parts.path.endswith("/") and parts.path.startswith("/"):
        return text
    served = parts.scheme in {"redis", "rediss"} and parts.hostname and port != 0
    if served and re.fullmatch(r"(/\d{0,5})?", parts.path, re.ASCII):
        return text
    raise wrong


def _split(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))
