"""Who may call."""

import pytest

from breeze_sidecar.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    SidecarError,
    UnsupportedMediaType,
)
from breeze_sidecar.proxy.admission import Rules, admit, cors_fields, preflight_fields

HOST = (b"Host", b"localhost:4747")
JSON = (b"Content-Type", b"application/json")
ORIGIN = "https://app.example"
OPEN = Rules(allowed_hosts=frozenset({"breeze"}), allowed_origins=frozenset({ORIGIN}), max_request_bytes=100)
STRICT = Rules(required=("X-Breeze-Request", "true"))


def refused(
    expected: type[SidecarError],
    *fields: tuple[bytes, bytes],
    method: str = "POST",
    target: str = "/graphql",
    rules: Rules = OPEN,
) -> SidecarError:
    with pytest.raises(expected) as caught:
        admit(method, target, fields, rules)
    return caught.value


@pytest.mark.parametrize("target", ["/graphql", "/graphql?", "/graphql?a=b%2f..&c=\"'<>"])
def test_post_graphql_goes_through_with_its_query_string(target: str) -> None:
    admit("POST", target, [HOST, JSON], OPEN)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/graphql/",
        "/Graphql",
        "//graphql",
        "/./graphql",
        "/x/../graphql",
        "/graphql/../oauth/token",
        "/graphql%2f",
        "/%67raphql",
        "/graphql;a",
        "/graphql#a",
        "/graphql?#",
        "/graphql?a b",
        "/graphql?\x7f",
        "/graphql?\xe5",
        "/oauth/token",
    ],
)
def test_no_spelling_of_a_target_reaches_another_path(target: str) -> None:
    refused(NotFound, HOST, JSON, target=target)


@pytest.mark.parametrize("target", ["http://localhost/graphql", "localhost:443", "*", "", "graphql"])
def test_other_forms_of_a_target_are_bad_requests(target: str) -> None:
    refused(BadRequest, HOST, JSON, target=target)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post", "CONNECT"])
def test_only_post_is_served(method: str) -> None:
    refused(MethodNotAllowed, HOST, JSON, method=method)


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"LOCALHOST:1", b"127.0.0.1:4747", b"10.1.2.3", b"[::1]:4747", b"[::1]", b"breeze:80", b"BREEZE"],
)
def test_localhost_addresses_and_allowed_names_may_be_used(host: bytes) -> None:
    admit("POST", "/graphql", [(b"host", host), JSON], OPEN)


@pytest.mark.parametrize(
    "host",
    [
        b"app.example",
        b"127.0.0.1.app.example",
        b"0x7f.1",
        b"localhost.app.example",
        b"localhost.",
        b"",
        b"localhost:",
        b"localhost:80:80",
        b"[::1",
        b"local host",
        b"breeze@x",
        b"\xff",
        b"localhost/",
    ],
)
def test_other_names_are_refused_and_the_setting_is_named(host: bytes) -> None:
    assert "BREEZE_ALLOWED_HOSTS" in refused(Forbidden, (b"Host", host), JSON).message


@pytest.mark.parametrize("hosts", [[], [HOST, HOST]])
def test_a_request_needs_one_host(hosts: list[tuple[bytes, bytes]]) -> None:
    refused(BadRequest, *hosts, JSON)


def test_on_a_unix_socket_any_host_may_be_used() -> None:
    admit("POST", "/graphql", [(b"Host", b"app.example"), JSON], Rules(any_host=True))


@pytest.mark.parametrize(
    "field",
    [
        (b"Origin", b"https://evil.example"),
        (b"Origin", b"null"),
        (b"Origin", b"http://localhost:4747"),
        (b"Sec-Fetch-Site", b"cross-site"),
        (b"Sec-Fetch-Site", b"same-site"),
    ],
)
def test_web_pages_are_refused_and_the_setting_is_named(field: tuple[bytes, bytes]) -> None:
    assert "BREEZE_ALLOWED_ORIGINS" in refused(Forbidden, HOST, JSON, field).message


def test_an_allowed_page_may_call() -> None:
    admit("POST", "/graphql", [HOST, JSON, (b"Origin", ORIGIN.encode()), (b"Sec-Fetch-Site", b"cross-site")], OPEN)


def test_two_origins_are_refused() -> None:
    refused(Forbidden, HOST, JSON, (b"Origin", ORIGIN.encode()), (b"Origin", ORIGIN.encode()))


@pytest.mark.parametrize("site", [b"none", b"same-origin"])
def test_what_no_page_sends_is_let_in(site: bytes) -> None:
    admit("POST", "/graphql", [HOST, JSON, (b"Sec-Fetch-Site", site)], OPEN)


@pytest.mark.parametrize(
    "media",
    [
        b"application/json",
        b"Application/JSON; charset=UTF-8",
        b"application/graphql+json",
        b'application/json;charset="utf-8"',
    ],
)
def test_json_is_let_in(media: bytes) -> None:
    admit("POST", "/graphql", [HOST, (b"Content-Type", media)], OPEN)


@pytest.mark.parametrize(
    "types",
    [
        [],
        [b"text/plain"],
        [b"application/x-www-form-urlencoded"],
        [b"multipart/form-data"],
        [b"application/jsonp"],
        [b"text/plain; application/json"],
        [b"application/json", b"text/plain"],
        [b"application/json; charset=utf-16"],
        [b""],
    ],
)
def test_what_a_page_could_send_without_a_preflight_is_refused(types: list[bytes]) -> None:
    refused(UnsupportedMediaType, HOST, *((b"Content-Type", media) for media in types))


def test_a_declared_length_over_the_limit_is_refused() -> None:
    admit("POST", "/graphql", [HOST, JSON, (b"Content-Length", b"100")], OPEN)
    assert "BREEZE_MAX_REQUEST_BYTES" in refused(PayloadTooLarge, HOST, JSON, (b"Content-Length", b"101")).message


@pytest.mark.parametrize("fields", [[], [(b"X-Breeze-Request", b"false")], [(b"X-Breeze-Request", b"true")] * 2])
def test_a_missing_required_field_is_refused(fields: list[tuple[bytes, bytes]]) -> None:
    error = refused(PreconditionFailed, HOST, JSON, *fields, rules=STRICT)
    assert "X-Breeze-Request" in error.message
    assert "true" not in error.message


def test_the_required_field_lets_in() -> None:
    admit("POST", "/graphql", [HOST, JSON, (b"x-breeze-request", b"true")], STRICT)


def test_messages_show_only_printable_and_short_pieces_of_what_came() -> None:
    message = refused(Forbidden, (b"Host", b"\x1b[31m" + b"a" * 9999), JSON).message
    assert message.isprintable()
    assert len(message) < 250


PREFLIGHT = [HOST, (b"Origin", ORIGIN.encode()), (b"Access-Control-Request-Method", b"POST")]


def test_a_preflight_of_an_allowed_origin_is_answered() -> None:
    fields = preflight_fields(
        "OPTIONS", [*PREFLIGHT, (b"Access-Control-Request-Headers", b"content-type, x-a, \x00")], OPEN
    )
    assert fields is not None
    answer = dict(fields)
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert answer["Access-Control-Allow-Headers"] == "content-type, x-a"
    assert answer["Access-Control-Allow-Methods"] == "POST"


@pytest.mark.parametrize(
    ("method", "fields", "rules"),
    [
        pytest.param("POST", PREFLIGHT, OPEN, id="not OPTIONS"),
        pytest.param("OPTIONS", PREFLIGHT, Rules(), id="nobody allowed"),
        pytest.param("OPTIONS", PREFLIGHT[:2], OPEN, id="no method asked for"),
        pytest.param("OPTIONS", [HOST, (b"Origin", b"https://evil.example"), PREFLIGHT[2]], OPEN, id="another origin"),
    ],
)
def test_any_other_preflight_is_not(method: str, fields: list[tuple[bytes, bytes]], rules: Rules) -> None:
    assert preflight_fields(method, fields, rules) is None


def test_a_preflight_from_a_rebound_name_is_refused() -> None:
    with pytest.raises(Forbidden):
        preflight_fields("OPTIONS", [(b"Host", b"evil.example"), *PREFLIGHT[1:]], OPEN)


def test_answers_bear_cors_fields_for_allowed_origins_only() -> None:
    assert dict(cors_fields(PREFLIGHT, OPEN))["Vary"] == "Origin"
    assert cors_fields([HOST], OPEN) == []
    assert cors_fields(PREFLIGHT, Rules()) == []
