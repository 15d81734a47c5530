"""Reads gzip and deflate, and never more than it was asked for (pure)."""

import zlib

#: The content codings that the sidecar can read; Accept-Encoding is narrowed to them.
READABLE = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


def inflate(data: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of the decoded data, and whether that is all of it.

    Raises:
        ValueError: the coding is not one that can be read.
        zlib.error: the data is not in this coding.
    """
    if coding in {"", "identity"}:
        return data[:limit], len(data) <= limit
    if coding not in READABLE:
        raise ValueError("an unknown content coding")
    if coding == "deflate" and not _zlib_wrapped(data):
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)  # what many servers send under the name of deflate
    else:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | (0 if coding == "deflate" else 16))
    parts = []
    left = limit
    while True:
        part = decoder.decompress(data, left + 1)
        parts.append(part[:left])
        if len(part) > left:
            return b"".join(parts), False
        left -= len(part)
        if not decoder.eof:
            return b"".join(parts), False
        data = decoder.unused_data
        if not data:
            return b"".join(parts), True
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)  # gzip may have several members, RFC 1952 section 2.2


def _zlib_wrapped(data: bytes) -> bool:
    """Whether the data begins with RFC 1950's two bytes."""
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0  # noqa: PLR2004 # RFC 1950 section 2.2
