"""The emulator in-process: it is an oracle, so it is held against Breeze's documentation itself."""

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from pytest_aiohttp.plugin import AiohttpClient

from breeze_sidecar.emulator.app import application
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.emulator.faults import GRAPHQL_LIES, TOKEN_LIES
from breeze_sidecar.emulator.state import State

ME = {"query": "{ Me { _id userId email } }"}
ORDER = """mutation Order($c: CredentialOrderInput!, $t: ID, $u: ID) {
  CredentialOrderV1(credential: $c, tenantId: $t, userId: $u) { _id credential_number status created } }"""
GOOD = {"template_id": "sample-template-1", "data": [{"name": "name", "value": "Sample"}]}


class Breeze:
    """An emulator with a clock of its own."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.now = 1_800_000_000.0
        self.client: TestClient[Request, Application]

    async def token(self, **changes: object) -> tuple[int, Any]:
        config = self.state.config
        body = {
            "grant_type": "client_credentials",
            "client_id": config.client_id,
            "client_secret": config.client_secret,
        } | changes
        async with self.client.post("/oauth/token", json={k: v for k, v in body.items() if v is not None}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def call(self, body: object = ME, token: str | None = None, **fields: str) -> tuple[int, Any]:
        held = token if token is not None else (await self.token())[1]["access_token"]
        async with self.client.post(
            "/graphql", json=body, headers={"Authorization": f"Bearer {held}", **fields}
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def control(self, method: str, path: str = "", body: object = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        async with self.client.request(method, f"/_emulator{path}", data=data) as answer:
            return answer.status, await answer.json()


Begin = Callable[..., Awaitable[Breeze]]


@pytest.fixture
def breeze(aiohttp_client: AiohttpClient) -> Begin:
    async def begin(**settings: Any) -> Breeze:  # noqa: ANN401 # of Config
        made = Breeze(State(Config(**settings)))
        made.client = await aiohttp_client(application(made.state, lambda: made.now))
        return made

    return begin


async def test_a_token_is_a_jwt_that_lives_an_hour(breeze: Begin) -> None:
    emulator = await breeze()
    status, answer = await emulator.token()
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3600)
    assert answer["access_token"].startswith("eyJ")
    assert answer["access_token"].count(".") == 2
    assert (await emulator.call(token=answer["access_token"]))[1]["data"]["Me"]["email"] == "user@example.com"
    emulator.now += 3600
    refused = {"errors": [{"message": "Token validation failed", "extensions": {"code": "UNAUTHENTICATED"}}]}
    assert await emulator.call(token=answer["access_token"]) == (200, refused)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_token_errors(breeze: Begin, changes: dict[str, object], status: int, error: str) -> None:
    emulator = await breeze()
    got, answer = await emulator.token(**changes)
    assert (got, answer["error"]) == (status, error)
    assert answer["error_description"]


async def test_a_token_request_that_is_not_json(breeze: Begin) -> None:
    emulator = await breeze()
    for body in (b"grant_type=client_credentials", b"[]"):
        async with emulator.client.post("/oauth/token", data=body) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "invalid_request")


async def test_an_expired_client(breeze: Begin) -> None:
    status, answer = await (await breeze(client_expired=True)).token()
    assert (status, answer["error_description"]) == (401, "The client secret has expired.")


async def test_the_token_limit_says_in_prose_how_long_to_wait(breeze: Begin) -> None:
    emulator = await breeze(token_limit=2)
    await emulator.token()
    await emulator.token()
    emulator.now += 3180
    status, answer = await emulator.token()
    assert status == 429
    assert answer["error"] == "too_many_requests"
    assert answer["error_description"].endswith("Maximum 2 requests per hour allowed. Try again in 420 seconds.")
    emulator.now += 420
    assert (await emulator.token())[0] == 200


async def test_the_graphql_limit_is_plain_text_and_every_answer_bears_the_fields(breeze: Begin) -> None:
    emulator = await breeze(graphql_limit=1, set_cookie=True)
    async with emulator.client.post("/graphql", json=ME) as answer:
        assert answer.headers["X-RateLimit-Limit"] == "1"
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert answer.headers["X-RateLimit-Reset"] == str(int(emulator.now) + 3600)
        assert "Set-Cookie" in answer.headers
    async with emulator.client.post("/graphql", json=ME) as answer:
        assert (answer.status, answer.content_type) == (429, "text/plain")
        assert await answer.text() == "Too many requests from this IP, please try again later"


async def test_sticky_tokens_and_a_rotation(breeze: Begin) -> None:
    emulator = await breeze(sticky_tokens=True, rotation_grace=10.0, rotation_revokes=True)
    first = (await emulator.token())[1]["access_token"]
    assert (await emulator.token())[1]["access_token"] == first
    _, rotated = await emulator.control("POST", "/rotate", {"client_secret": "another"})
    assert rotated == {"client_secret": "another"}
    assert (await emulator.call(token=first))[1]["errors"]
    assert (await emulator.token())[1]["access_token"] != first
    emulator.state._old_secret_until = emulator.now
    assert (await emulator.token())[0] == 401
    assert (await emulator.token(client_secret="another"))[0] == 200
    assert (await emulator.control("POST", "/rotate"))[1]["client_secret"] != "another"
    assert (await emulator.control("POST", "/rotate", {"client_secret": 1}))[0] == 400


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('{ CredentialTemplatesV2(tenantIds: ["sample-tenant-1"]) { docs { _id } } }', None),
        ("{ CredentialTemplatesV2(tenantIds: []) { docs { _id } } }", "BAD_USER_INPUT"),
        ('{ CredentialTemplatesV2(tenantIds: ["sample-tenant-2"]) { docs { _id } } }', "FORBIDDEN"),
        ('{ CredentialTemplatesV2(tenantIds: ["x"]) { docs { _id } } }', "NOT_FOUND"),
        ("{ Unknown }", "BAD_USER_INPUT"),
        ("{ __schema { queryType { name } } }", None),
    ],
)
async def test_queries(breeze: Begin, query: str, code: str | None) -> None:
    _, answer = await (await breeze()).call({"query": query})
    errors = answer.get("errors", [])
    assert [error["extensions"]["code"] for error in errors] == ([code] if code else [])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"c": GOOD, "t": "sample-tenant-1", "u": "sample-user-1"}, None),
        ({"c": GOOD, "t": "sample-tenant-2"}, "FORBIDDEN"),
        ({"c": GOOD, "u": "x"}, "NOT_FOUND"),
        ({"c": {**GOOD, "template_id": "x"}}, "NOT_FOUND"),
        ({"c": {**GOOD, "data": [None, {"name": "x"}]}}, "BAD_USER_INPUT"),
    ],
)
async def test_orders(breeze: Begin, changes: dict[str, object], code: str | None) -> None:
    emulator = await breeze()
    _, answer = await emulator.call({"query": ORDER, "variables": changes, "operationName": "Order"})
    if code is None:
        assert answer["data"]["CredentialOrderV1"]["credential_number"] == "00000001"
        assert len(emulator.state.orders) == 1
    else:
        assert answer["errors"][0]["extensions"]["code"] == code
        assert answer["data"] is None
        assert emulator.state.orders == []


@pytest.mark.parametrize(
    "body", [pytest.param({}, id="no query"), pytest.param({"query": "{"}, id="syntax"), pytest.param(3, id="a number")]
)
async def test_requests_that_are_none(breeze: Begin, body: object) -> None:
    status, answer = await (await breeze()).call(body)
    assert status == 400
    assert "data" not in answer


async def test_a_document_that_is_too_deep_is_an_error(breeze: Begin) -> None:
    status, answer = await (await breeze()).call({"query": "{ a " * 5000})
    assert status == 400
    assert answer["errors"]


async def test_batches(breeze: Begin) -> None:
    emulator = await breeze()
    assert len((await emulator.call([ME, {"query": 1}]))[1]) == 2
    assert len((await emulator.call([ME, ME], token="dead"))[1]) == 2
    emulator.state.config = Config(batching=False)
    assert (await emulator.call([ME]))[0] == 400


@pytest.mark.parametrize(
    "body", [ME, {"query": 3}, {"query": "{ a: Me { _id } ...F } fragment F on Query { Me { _id } }"}]
)
async def test_an_error_may_bear_a_path(breeze: Begin, body: object) -> None:
    emulator = await breeze(unauthenticated_path=True, unauthenticated_status=401)
    status, answer = await emulator.call(body, token="dead")
    assert (status, answer["data"]) == (401, None)
    assert answer["errors"][0]["path"]


@pytest.mark.parametrize("lie", TOKEN_LIES)
async def test_lies_about_tokens(breeze: Begin, lie: str) -> None:
    emulator = await breeze()
    status, honest = await emulator.control("POST", "/faults", {"kind": "lie", "endpoint": "token", "lie": lie})
    assert status == 200
    async with emulator.client.post(
        "/oauth/token",
        json={
            "grant_type": "client_credentials",
            "client_id": "oauth_sample_client",
            "client_secret": Config().client_secret,
        },
    ) as answer:
        text = await answer.text()
    assert answer.status == 200
    plain = json.loads(text) if lie != "not-json" else None
    token = str(plain.get("access_token", " ")) if isinstance(plain, dict) else " "
    assert (token.isprintable() and " " not in token) is (lie.startswith("expires") or lie == "token-type")
    assert honest["faults"][0]["lie"] == lie


@pytest.mark.parametrize("lie", GRAPHQL_LIES)
async def test_lies_about_calls(breeze: Begin, lie: str) -> None:
    emulator = await breeze()
    token = (await emulator.token())[1]["access_token"]
    await emulator.control("POST", "/faults", {"kind": "lie", "lie": lie})
    fields = {"Authorization": f"Bearer {token}"}
    body = [ME, ME] if lie == "half" else {"query": "{ Me { _id } a: Me { _id } }"}
    try:
        async with emulator.client.post("/graphql", json=body, headers=fields) as answer:
            text = await answer.read()
    except ClientError:
        assert lie == "truncated-gzip"
        return
    assert (b"UNAUTHENTICATED" in text) is (lie not in {"html-401", "empty-401"})
    assert (answer.status == 401) is (lie in {"html-401", "empty-401", "not-json"})
    assert (b'"_id"' in text) is (lie in {"partial", "half"})


async def test_compression_is_negotiated(breeze: Begin) -> None:
    emulator = await breeze()
    token = (await emulator.token())[1]["access_token"]
    big = {"query": "{ __schema { types { name } } }"}
    for accepted, coding in (("gzip", "gzip"), ("deflate, gzip;q=0", "deflate"), ("br", None)):
        emulator.client.session._auto_decompress = False
        fields = {"Authorization": f"Bearer {token}", "Accept-Encoding": accepted}
        async with emulator.client.post("/graphql", json=big, headers=fields) as answer:
            assert answer.headers.get("Content-Encoding") == coding
            body = await answer.read()
        decode: dict[str | None, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
        assert b"Query" in decode.get(coding, bytes)(body)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ([1], "a fault must be a JSON object"),
        ({"kind": "explode"}, "kind must be one of"),
        ({"kind": "fail", "lie": "x"}, "fail takes no 'lie'"),
        ({"kind": "reject", "endpoint": "token"}, "endpoint must be one of graphql"),
        ({"kind": "fail", "status": 200}, "status must be a whole number, 300 to 599"),
        ({"kind": "fail", "status": 304}, "status must be another one"),
        ({"kind": "fail", "times": 0}, "times must be a whole number, 1 or more"),
        ({"kind": "fail", "when": "body"}, "when must be one of before, after"),
        ({"kind": "lie", "lie": "x"}, "lie must be one of partial"),
        ({"kind": "lie", "lie": "midway", "after": -1}, "after must be a whole number"),
        ({"kind": "slow", "delay": -1}, "delay must be a number of seconds"),
        ({"kind": "slow", "pieces": 0}, "pieces must be a whole number"),
        ({"kind": "stream", "media": "x"}, "media must be one of"),
        ({"kind": "throttle", "endpoint": "token", "reset_after": 1}, "leave reset_after out"),
        ({"kind": "throttle", "retry_after": True}, "retry_after must be a whole number"),
        (b"{", "the body must be JSON"),
    ],
)
async def test_bad_faults_are_told(breeze: Begin, fault: object, says: str) -> None:
    status, answer = await (await breeze()).control("POST", "/faults", fault)
    assert status == 400
    assert says in answer["error"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([], "must be a JSON object"),
        ({"x": 1}, "unknown setting 'x'"),
        ({"token_lifetime": 0}, "a number of seconds above 0"),
        ({"token_limit": -1}, "a whole number, 0 or more"),
        ({"rotation_grace": -1}, "0 or more"),
        ({"unauthenticated_status": 418}, "one of 200, 400, 401, 500"),
        ({"batching": 1}, "true or false"),
        ({"date_skew": "x"}, "a number of seconds"),
    ],
)
async def test_bad_settings_are_told(breeze: Begin, settings: object, says: str) -> None:
    status, answer = await (await breeze()).control("PATCH", "/settings", settings)
    assert status == 400
    assert says in answer["error"]


async def test_the_control_endpoint_shows_what_breeze_saw(breeze: Begin) -> None:
    emulator = await breeze()
    await emulator.call({"query": ORDER, "variables": {"c": GOOD}})
    _, seen = await emulator.control("GET")
    assert (seen["token_requests"], seen["order_count"], seen["executed"]) == (1, 1, 1)
    assert seen["token_outcomes"] == {"issued": 1}
    _, requests = await emulator.control("GET", "/requests")
    assert requests[0]["path"] == "/graphql"
    assert "CredentialOrderV1" in requests[0]["body"]
    assert (await emulator.control("PATCH", "/settings", {"token_lifetime": 5}))[1]["token_lifetime"] == 5
    assert (await emulator.token())[1]["expires_in"] == 5
    assert (await emulator.control("POST", "/revoke"))[1] == {"revoked": 2}
    assert (await emulator.control("POST", "/revoke"))[1] == {"revoked": 0}
    assert (await emulator.control("POST", "/reset"))[1]["orders"] == []


async def test_faults_at_run_time(breeze: Begin) -> None:
    emulator = await breeze()
    token = (await emulator.token())[1]["access_token"]
    await emulator.control(
        "POST", "/faults", [{"kind": "fail", "status": 307, "times": 1}, {"kind": "throttle", "times": 2}]
    )
    async with emulator.client.post("/graphql", json=ME, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "/elsewhere")
    async with emulator.client.post("/graphql", json=ME) as answer:
        assert answer.status == 429
        assert "X-RateLimit-Reset" not in answer.headers
    assert (await emulator.control("GET"))[1]["faults"][0]["times"] == 1
    assert (await emulator.control("DELETE", "/faults"))[1] == {"faults": []}
    assert (await emulator.call(token=token))[0] == 200
    await emulator.control("POST", "/faults", {"kind": "throttle", "endpoint": "token"})
    status, answer = await emulator.token()
    assert (status, answer["error"]) == (429, "too_many_requests")
    await emulator.control("DELETE", "/faults")
    for when in ("before", "after", "body"):
        await emulator.control("POST", "/faults", {"kind": "reset", "when": when, "times": 1})
        with pytest.raises(ClientError):
            await emulator.call(token=token)
    assert emulator.state.executed == 3
