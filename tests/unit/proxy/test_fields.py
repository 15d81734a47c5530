"""Which fields pass."""

import pytest

from breeze_sidecar.errors import BadRequest, NotFound, UnsupportedMediaType, UpstreamUnreachable
from breeze_sidecar.proxy.fields import (
    RequestFields,
    answer_media_type,
    narrowed,
    proxy_status,
    request_fields,
    response_fields,
)

Fields = list[tuple[bytes, bytes]]


def prepared(*fields: tuple[bytes, bytes]) -> RequestFields:
    return request_fields(fields, host=b"breeze.example", body_length=7, new_request_id=lambda: "made")


def sent(*fields: tuple[bytes, bytes]) -> Fields:
    block = prepared(*fields).block
    assert block.endswith(b"\r\n")
    pairs = [tuple(line.split(b": ", 1)) for line in block[:-2].split(b"\r\n")]
    return [(pair[0], pair[1]) for pair in pairs]


def test_what_the_sidecar_adds() -> None:
    assert dict(sent()) == {
        b"Host": b"breeze.example",
        b"X-Request-Id": b"made",
        b"Accept-Encoding": b"identity",
        b"Via": b"1.1 breeze-sidecar",
        b"Content-Length": b"7",
    }


def test_end_to_end_fields_pass_in_order_case_and_number() -> None:
    fields = [
        (b"Content-Type", b"application/json"),
        (b"x-A", b"1"),
        (b"X-a", b"2"),
        (b"Accept", b"*/*"),
        (b"X-Empty", b""),
        (b"X-B", b"\xe5"),
    ]
    assert [pair for pair in sent(*fields) if pair in fields] == fields


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"Cookie",
        b"Proxy-Authorization",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X-FORWARDED-anything",
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
        b"HTTP2-Settings",
        b"Expect",
    ],
)
def test_what_does_not_pass(name: bytes) -> None:
    assert name.lower() not in {n.lower() for n, _ in sent((name, b"x"))}


def test_fields_that_connection_names_do_not_pass() -> None:
    fields = dict(
        sent(
            (b"Connection", b"close, X-Hop"),
            (b"connection", b"X-Other"),
            (b"x-hop", b"1"),
            (b"X-Other", b"2"),
            (b"X-End", b"3"),
        )
    )
    assert b"X-End" in fields
    assert b"x-hop" not in fields
    assert b"X-Other" not in fields


def test_connection_cannot_take_what_the_body_needs() -> None:
    fields = dict(
        sent(
            (b"Connection", b"content-type, content-encoding, host, content-length"),
            (b"Content-Type", b"application/json"),
            (b"Content-Encoding", b"gzip"),
        )
    )
    assert {b"Content-Type", b"Content-Encoding", b"Host", b"Content-Length"} <= fields.keys()


def test_host_and_length_are_set_anew() -> None:
    fields = sent((b"Host", b"localhost"), (b"Content-Length", b"99"))
    assert [v for n, v in fields if n.lower() == b"host"] == [b"breeze.example"]
    assert [v for n, v in fields if n.lower() == b"content-length"] == [b"7"]


@pytest.mark.parametrize(
    ("came", "goes"),
    [([b"1.1 a"], b"1.1 a, 1.1 breeze-sidecar"), ([b"1.1 a", b"1.0 b"], b"1.1 a, 1.0 b, 1.1 breeze-sidecar")],
)
def test_via_grows(came: list[bytes], goes: bytes) -> None:
    assert dict(sent(*((b"via", value) for value in came)))[b"Via"] == goes


def test_a_callers_request_id_stays() -> None:
    assert dict(sent((b"x-request-id", b"mine")))[b"x-request-id"] == b"mine"
    assert prepared((b"X-Request-ID", b"a b\x1b" + b"x" * 999)).request_id == "a?b?" + "x" * 999
    assert prepared((b"X-Request-Id", b"")).request_id == "made"


def test_the_content_encoding_is_noted() -> None:
    assert prepared((b"Content-Encoding", b" GZIP")).content_encoding == "gzip"
    assert prepared((b"Content-Encoding", b"gzip"), (b"Content-Encoding", b"br")).content_encoding == "gzip, br"


@pytest.mark.parametrize("value", [b"a\r\nX: b", b"a\nb", b"a\rb", b"a\0b"])
def test_a_line_end_in_a_field_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest):
        prepared((b"X-A", value))


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        ([], b"identity"),
        ([b""], b"identity"),
        ([b"gzip, deflate, br, zstd"], b"gzip, deflate"),
        ([b"br"], b"identity"),
        ([b"*"], b"gzip, deflate"),
        ([b"gzip;q=0, *;q=0.5"], b"gzip;q=0, deflate;q=0.5"),
        ([b"GZIP;q=1.0", b"identity; q=0.5"], b"gzip;q=1.0, identity; q=0.5"),
        ([b"x-gzip"], b"x-gzip"),
    ],
)
def test_codings_are_narrowed_to_what_can_be_read(came: list[bytes], goes: bytes) -> None:
    assert narrowed(came) == goes


def test_a_responses_fields_pass_and_the_ones_that_matter_are_noted() -> None:
    end_to_end = [
        (b"Content-Type", b"Application/JSON; charset=utf-8"),
        (b"Content-Encoding", b"GZIP"),
        (b"Content-Length", b"12"),
        (b"Set-Cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"Retry-After", b"3"),
        (b"Date", b"now"),
        (b"X-RateLimit-Limit", b"3600"),
        (b"X-RateLimit-Remaining", b"7"),
        (b"X-RateLimit-Reset", b"99"),
    ]
    hop_by_hop = [
        (b"Connection", b"keep-alive, X-Hop"),
        (b"Keep-Alive", b"max=5, timeout=7"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
    ]
    fields = response_fields(end_to_end + hop_by_hop)
    assert fields.passed == end_to_end
    assert fields.content_type == "application/json"
    assert fields.content_encoding == "gzip"
    assert fields.content_length == 12
    assert fields.keep_alive == 7
    assert fields.retry_after == "3"
    assert fields.date == "now"
    assert fields.rate_limit == ("3600", "7", "99")


def test_a_response_without_fields_says_nothing() -> None:
    fields = response_fields([(b"Keep-Alive", b"max=5"), (b"Content-Length", b"x")])
    assert (fields.content_type, fields.content_length, fields.keep_alive) == ("", None, None)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (b"application/graphql-response+json, application/json", "application/graphql-response+json"),
        (b"application/json;q=1, Application/GraphQL-Response+JSON;q=0.9", "application/graphql-response+json"),
        (b"application/graphql-response+json;q=0", "application/json"),
        (b"*/*", "application/json"),
    ],
)
def test_own_answers_have_the_graphql_media_type_where_it_is_accepted(accept: bytes, media: str) -> None:
    assert answer_media_type([(b"X", b""), (b"accept", accept)]) == media


def test_proxy_status_names_the_error_of_the_rfc() -> None:
    assert proxy_status(UpstreamUnreachable("x", sent=False)) == "breeze-sidecar; error=destination_unavailable"
    assert proxy_status(NotFound("x")) == "breeze-sidecar; error=http_request_denied"
    assert proxy_status(UnsupportedMediaType("x")) == "breeze-sidecar; error=http_request_denied"
