"""token/client.py: one token request; its session is a fake, aiohttp-retry is real."""

import json
from types import TracebackType
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from breeze_sidecar.token.backoff import Kind, TokenRequestFailed
from breeze_sidecar.token.client import TokenClient

KEY = ConnectionKey("breeze", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
REFUSED = aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused"))
GRANT = {"access_token": "a-token", "token_type": "bearer", "expires_in": 3600}


class Content:
    def __init__(self, body: bytes) -> None:
        self._left = [body[start : start + 1000] for start in range(0, len(body), 1000)]

    async def readany(self) -> bytes:
        return self._left.pop(0) if self._left else b""


class Response:
    def __init__(self, status: int, body: object, fields: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = fields or {}
        self.content = Content(body if isinstance(body, bytes) else json.dumps(body).encode())
        self.method = "POST"
        self.closed = False

    def release(self) -> None: ...

    def close(self) -> None: ...

    async def __aenter__(self) -> "Response":  # noqa: PYI034 # a fake
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Session:
    """Answers with what it was given, in order."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    async def request(self, method: str, url: str, **options: Any) -> Response:  # noqa: ANN401 # aiohttp's
        self.sent.append({"method": method, "url": url, **options})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    post = request


def client(*answers: Response | Exception, secrets: list[str] | None = None) -> tuple[TokenClient, Session, list[str]]:
    session = Session(*answers)
    seen: list[str] = []
    given = secrets if secrets is not None else ["the-secret"]

    def read() -> str:
        if not given[0]:
            raise ValueError("BREEZE_CLIENT_SECRET_FILE: it cannot be read")
        return given[0]

    made = TokenClient(
        session,  # type: ignore[arg-type] # a fake
        base_url="https://breeze",
        client_id="the-client",
        read_secret=read,
        seen=seen.append,
    )
    return made, session, seen


async def failure(*answers: Response | Exception) -> TokenRequestFailed:
    made, _, _ = client(*answers)
    with pytest.raises(TokenRequestFailed) as caught:
        await made.request()
    assert "the-secret" not in str(caught.value)
    return caught.value


async def test_one_request_as_rfc_6749_section_4_4_asks_with_breezes_json_body() -> None:
    made, session, seen = client(Response(200, GRANT))
    grant = await made.request()
    assert (grant.value, grant.lifetime) == ("a-token", 3600)
    (sent,) = session.sent
    assert sent["url"] == "https://breeze/oauth/token"
    assert sent["json"] == {
        "grant_type": "client_credentials",
        "client_id": "the-client",
        "client_secret": "the-secret",
    }
    assert sent["allow_redirects"] is False
    assert seen == ["the-secret", "a-token"]


async def test_a_connection_that_never_stood_is_tried_again() -> None:
    made, session, _ = client(REFUSED, Response(200, GRANT))
    assert (await made.request()).value == "a-token"
    assert len(session.sent) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Response(500, {}), id="500"),
        pytest.param(Response(503, b"<html>"), id="503"),
        pytest.param(Response(302, b""), id="a redirect"),
        pytest.param(aiohttp.ServerDisconnectedError(), id="hung up"),
        pytest.param(TimeoutError(), id="timeout"),
        pytest.param(TimeoutError(), id="asyncio's timeout"),
        pytest.param(OSError("broken"), id="broken"),
    ],
)
async def test_what_may_have_reached_breeze_is_not_sent_again(answer: Response | Exception) -> None:
    made, session, _ = client(answer)
    with pytest.raises(TokenRequestFailed) as caught:
        await made.request()
    assert caught.value.kind is Kind.FAILED
    assert caught.value.__cause__ is None
    assert len(session.sent) == 1


async def test_unreachable() -> None:
    error = await failure(REFUSED, REFUSED)
    assert (error.kind, error.message) == (Kind.UNREACHABLE, "cannot connect to the token endpoint: Connection refused")


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "Expired."},
            Kind.CREDENTIALS,
            "(Expired); check BREEZE_CLIENT_ID",
        ),
        (400, {"error": "unauthorized_client"}, Kind.CREDENTIALS, "client_credentials grant"),
        (400, {"error": "access_denied"}, Kind.CREDENTIALS, "revoked"),
        (403, b"<html>", Kind.CREDENTIALS, "rejects the credentials: 403"),
        (400, {"error": "invalid_client", "error_description": "a\r\nb"}, Kind.CREDENTIALS, "(a  b)"),
        (400, {"error": "invalid_request"}, Kind.FAILED, "answered 400: invalid_request"),
        (400, {"error": "bad\x00"}, Kind.FAILED, "answered 400"),
        (400, [1], Kind.FAILED, "answered 400"),
        (500, {"error": "invalid_client"}, Kind.FAILED, "answered 500"),
        (200, b"<html>", Kind.MALFORMED, "not JSON"),
        (200, b"[" * 60000, Kind.MALFORMED, "not JSON"),
        (200, b'"' + b"x" * 100_000 + b'"', Kind.MALFORMED, "not JSON"),
        (200, {}, Kind.MALFORMED, "holds no access_token"),
    ],
)
async def test_each_answer_is_told_apart(status: int, body: object, kind: Kind, says: str) -> None:
    error = await failure(Response(status, body))
    assert error.kind is kind
    assert says in error.message


@pytest.mark.parametrize(
    ("fields", "prose", "wait"),
    [({}, "Try again in 420 seconds.", 420), ({"Retry-After": "7"}, "Try again in 9 seconds", 7), ({}, "Later.", None)],
)
async def test_a_429_says_how_long_to_wait(fields: dict[str, str], prose: str, wait: float | None) -> None:
    body = {"error": "too_many_requests", "error_description": prose}
    error = await failure(Response(429, body, fields))
    assert (error.kind, error.wait) == (Kind.RATE_LIMITED, wait)


async def test_a_changed_secret_is_noticed_and_an_unreadable_one_is_no_change() -> None:
    secrets = ["first"]
    made, _, _ = client(Response(200, GRANT), secrets=secrets)
    await made.request()
    assert made.secret_changed() is False
    secrets[0] = "second"
    assert made.secret_changed() is True
    secrets[0] = ""
    assert made.secret_changed() is False
    with pytest.raises(TokenRequestFailed) as caught:
        await made.request()
    assert caught.value.kind is Kind.CREDENTIALS
    assert caught.value.message.startswith("BREEZE_CLIENT_SECRET_FILE")
    secrets[0] = "third"
    assert made.secret_changed() is True
