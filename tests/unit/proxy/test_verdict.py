"""The verdict on a response, and the replay rule: the table of the contract, section 3.6."""

import gzip
import json
import zlib

import pytest

from breeze_sidecar.proxy.operation import UNKNOWN, Operation
from breeze_sidecar.proxy.verdict import LOOK, Refused, Verdict, judge, replay_is_safe, worth_reading

JSON = "application/json"
UNAUTHENTICATED = {"message": "Token validation failed", "extensions": {"code": "UNAUTHENTICATED"}}
FORBIDDEN = {"message": "No", "extensions": {"code": "FORBIDDEN"}}
AT_FIELD = UNAUTHENTICATED | {"path": ["CredentialOrderV1"]}
REFUSED = {"errors": [UNAUTHENTICATED]}
GOOD = {"data": {"Me": {"_id": "1"}}}

NOTHING, WHOLE, UNREADABLE, FIELDS, PART = (
    Refused.NOTHING,
    Refused.WHOLE,
    Refused.UNREADABLE,
    Refused.FIELDS,
    Refused.PART,
)


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def row(
    answer: object,
    expected: Refused,
    id: str,
    *,
    status: int = 200,
    media: str = JSON,
    coding: str = "",
    cut: bool = False,  # pytest's word
) -> object:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return pytest.param(status, media, coding, body, not cut, expected, id=id)


BIG = "x" * LOOK
TABLE = [
    # Statuses
    row(GOOD, NOTHING, "a good answer"),
    row(REFUSED, WHOLE, "the documented refusal, 200"),
    row(REFUSED, WHOLE, "the same with 400", status=400),
    row(REFUSED, WHOLE, "the same with 401", status=401),
    row(REFUSED, WHOLE, "the same with 500", status=500),
    row(b"", WHOLE, "401 without a body", status=401, media=""),
    row(b"", WHOLE, "401 with an empty JSON body", status=401),
    row(b"<html>Unauthorized</html>", WHOLE, "401 with HTML", status=401, media="text/html"),
    row(b"Unauthorized", WHOLE, "401 with text called JSON", status=401),
    row(b"null", WHOLE, "401 with null", status=401),
    row("Unauthorized", WHOLE, "401 with a JSON string", status=401),
    row({}, WHOLE, "401 with an empty object", status=401),
    row([], WHOLE, "401 with an empty batch", status=401),
    row({"error": "invalid_token"}, WHOLE, "401 with an OAuth error", status=401),
    row({"errors": [FORBIDDEN]}, WHOLE, "401 with another code", status=401),
    row(GOOD, PART, "401 beside data", status=401),
    row({"errors": [FORBIDDEN]}, NOTHING, "403 with another code", status=403),
    row({"errors": [FORBIDDEN]}, NOTHING, "200 with another code"),
    row(b"UNAUTHENTICATED", NOTHING, "500 with text", status=500, media="text/plain"),
    # data
    row({"data": None, "errors": [UNAUTHENTICATED]}, WHOLE, "data null and no path"),
    row({"data": {}, "errors": [UNAUTHENTICATED]}, PART, "data an empty object"),
    row({"data": [], "errors": [UNAUTHENTICATED]}, PART, "data an empty list"),
    row({"data": {"Me": None}, "errors": [UNAUTHENTICATED]}, PART, "data with a null field"),
    row({"data": 0, "errors": [UNAUTHENTICATED]}, PART, "data zero"),
    row({"data": "", "errors": [UNAUTHENTICATED]}, PART, "data an empty string"),
    row({"data": False, "errors": [UNAUTHENTICATED]}, PART, "data false"),
    row({"data": {"a": 1}, "errors": [UNAUTHENTICATED | {"path": ["b"]}]}, PART, "partial success"),
    row({"data": {"text": "UNAUTHENTICATED"}}, NOTHING, "the word in the data only"),
    row({"data": {"errors": [UNAUTHENTICATED]}}, NOTHING, "an errors list inside the data"),
    # errors
    row({"errors": [FORBIDDEN, UNAUTHENTICATED]}, WHOLE, "several errors, one of them the signal"),
    row({"errors": [{"message": "UNAUTHENTICATED"}]}, NOTHING, "the word in a message"),
    row({"errors": [{"extensions": {"code": "unauthenticated"}}]}, NOTHING, "lower case is another code"),
    row({"errors": [{"extensions": {"code": ["UNAUTHENTICATED"]}}]}, NOTHING, "a code that is a list"),
    row({"errors": [{"extensions": "UNAUTHENTICATED"}]}, NOTHING, "extensions that are a string"),
    row({"errors": UNAUTHENTICATED}, NOTHING, "errors that are an object"),
    row({"errors": ["UNAUTHENTICATED", None]}, NOTHING, "errors that are strings"),
    row(b'{"errors":[{"extensions":{"code":"\\u0055NAUTHENTICATED"}}]}', WHOLE, "the code in JSON escapes"),
    row({"errors": [UNAUTHENTICATED | {"path": None}]}, WHOLE, "a null path is none"),
    # paths
    row({"data": None, "errors": [AT_FIELD]}, FIELDS, "data null and a path"),
    row({"errors": [AT_FIELD]}, FIELDS, "no data and a path"),
    row({"errors": [AT_FIELD]}, FIELDS, "401 and a path", status=401),
    row({"errors": [UNAUTHENTICATED, FORBIDDEN | {"path": ["a"]}]}, FIELDS, "the path at another error"),
    row({"errors": [UNAUTHENTICATED | {"path": []}]}, FIELDS, "an empty path"),
    row({"errors": [UNAUTHENTICATED | {"path": "a"}]}, FIELDS, "a path that is a string"),
    # Batches
    row([REFUSED, REFUSED], WHOLE, "a batch refused as a whole"),
    row([REFUSED, GOOD], PART, "half a batch"),
    row([REFUSED, {"errors": [FORBIDDEN]}], PART, "half a batch refused, the other half for another reason"),
    row([REFUSED, {"data": None}], PART, "half a batch, the other without data"),
    row([{"errors": [AT_FIELD]}, {"errors": [AT_FIELD]}], FIELDS, "a batch with paths"),
    row([GOOD, GOOD], NOTHING, "a good batch"),
    row([1, "UNAUTHENTICATED"], NOTHING, "a batch of nonsense"),
    # Codings
    row(gzip.compress(json.dumps(REFUSED).encode()), WHOLE, "gzip", coding="gzip"),
    row(gzip.compress(json.dumps(REFUSED).encode()), WHOLE, "x-gzip", coding="x-gzip"),
    row(
        gzip.compress(b'{"errors":') + gzip.compress(b'[{"extensions":{"code":"UNAUTHENTICATED"}}]}'),
        WHOLE,
        "gzip, two members",
        coding="gzip",
    ),
    row(zlib.compress(json.dumps(REFUSED).encode()), WHOLE, "deflate", coding="deflate"),
    row(raw_deflate(json.dumps(REFUSED).encode()), WHOLE, "deflate without its wrapper", coding="deflate"),
    row(json.dumps(REFUSED).encode(), WHOLE, "identity", coding="identity"),
    row(gzip.compress(json.dumps(GOOD).encode()), NOTHING, "gzip of a good answer", coding="gzip"),
    row(json.dumps(REFUSED).encode(), NOTHING, "not gzip at all", coding="gzip"),
    row(json.dumps(REFUSED).encode(), UNREADABLE, "401, not gzip at all", coding="gzip", status=401),
    row(b"\x1b\x00", NOTHING, "brotli", coding="br"),
    row(b"\x1b\x00", UNREADABLE, "401 in brotli", coding="br", status=401),
    row(gzip.compress(json.dumps(REFUSED).encode())[:-8], PART, "gzip without its trailer", coding="gzip"),
    row(gzip.compress(json.dumps(REFUSED).encode())[:-12], NOTHING, "truncated gzip", coding="gzip"),
    row(
        gzip.compress(json.dumps(REFUSED).encode())[:-12], UNREADABLE, "401, truncated gzip", coding="gzip", status=401
    ),
    row(gzip.compress(b" " * 50_000_000), NOTHING, "a bomb", coding="gzip"),
    row(gzip.compress(b" " * 50_000_000), UNREADABLE, "401 with a bomb", coding="gzip", status=401),
    row(
        gzip.compress(json.dumps(REFUSED | {"data": {"x": "y" * 5_000_000}}).encode()),
        PART,
        "a bomb behind a refusal",
        coding="gzip",
    ),
    # Broken JSON and media types
    row(b"\xef\xbb\xbf" + json.dumps(REFUSED).encode(), WHOLE, "a BOM"),
    row(b'{"errors": UNAUTHENTICATED', NOTHING, "not JSON"),
    row(b'{"errors": [', UNREADABLE, "401 that breaks off", status=401),
    row(b'["a"', UNREADABLE, "401, a batch that breaks off", status=401),
    row(b"\xff{}UNAUTHENTICATED", NOTHING, "not UTF-8"),
    row(b"[" * 200_000 + b"UNAUTHENTICATED", NOTHING, "too deep"),
    row(REFUSED, NOTHING, "JSON called HTML", media="text/html"),
    row(REFUSED, NOTHING, "a JSON stream", media="multipart/mixed"),
    row(REFUSED, WHOLE, "the GraphQL media type", media="application/graphql-response+json"),
    row(REFUSED, WHOLE, "problem+json", media="application/problem+json"),
    # Longer than what is looked at
    row(json.dumps(REFUSED | {"data": {"x": BIG}}).encode()[:LOOK], PART, "errors first, then much data", cut=True),
    row(json.dumps({"data": {"x": BIG}} | REFUSED).encode()[:LOOK], NOTHING, "much data first", cut=True),
    row(
        json.dumps({"data": {"x": "UNAUTHENTICATED" + BIG}}).encode()[:LOOK], NOTHING, "the word in much data", cut=True
    ),
    row(json.dumps(REFUSED | {"extensions": BIG}).encode()[:LOOK], PART, "a refusal, then much of something", cut=True),
    row(json.dumps({"data": {"x": BIG}}).encode()[:LOOK], PART, "401 with much data", cut=True, status=401),
    row(b'{"data": null, "x": "' + BIG.encode(), UNREADABLE, "401, cut off without data", cut=True, status=401),
    row(b'[{"data"' + BIG.encode(), UNREADABLE, "401, a long batch", cut=True, status=401),
    row(b'{"a": 1 UNAUTHENTICATED' + BIG.encode(), NOTHING, "cut off, not JSON", cut=True),
    row(b'{"a" UNAUTHENTICATED' + BIG.encode(), NOTHING, "cut off after a name", cut=True),
    row(b"{1: UNAUTHENTICATED" + BIG.encode(), NOTHING, "cut off, a name that is none", cut=True),
]


@pytest.mark.parametrize(("status", "media", "coding", "body", "complete", "expected"), TABLE)
def test_what_a_response_says_of_the_token(
    status: int, media: str, coding: str, body: bytes, complete: bool, expected: Refused
) -> None:
    verdict = judge(status, media, coding, body, complete=complete)
    assert verdict.refused is expected
    assert verdict.token_is_dead is (expected is not NOTHING)


def test_the_table_has_at_least_sixty_rows() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize(
    ("paths", "field"),
    [
        pytest.param([["a"]], "a", id="one"),
        pytest.param([["a"], ["a"]], "a", id="twice the same"),
        pytest.param([["a"], ["b"]], None, id="two fields"),
        pytest.param([["a", "b"]], None, id="below the field"),
        pytest.param([["a"], ["a", 0]], None, id="at and below the field"),
        pytest.param([[0]], None, id="an index"),
        pytest.param([[]], None, id="empty"),
    ],
)
def test_the_field_is_the_one_that_every_path_consists_of(paths: list[object], field: str | None) -> None:
    errors = [UNAUTHENTICATED | {"path": path} for path in paths]
    verdict = judge(200, JSON, "", json.dumps({"data": None, "errors": errors}).encode(), complete=True)
    assert verdict == Verdict(FIELDS, field)


QUERY = Operation(query=True)
ORDER = Operation(query=False, field="CredentialOrderV1")


@pytest.mark.parametrize(
    ("refused", "field", "operation", "safe"),
    [
        pytest.param(WHOLE, None, QUERY, True, id="whole, query"),
        pytest.param(WHOLE, None, ORDER, True, id="whole, mutation"),
        pytest.param(WHOLE, None, UNKNOWN, True, id="whole, unknown"),
        pytest.param(UNREADABLE, None, QUERY, True, id="unreadable, query"),
        pytest.param(UNREADABLE, None, ORDER, False, id="unreadable, mutation"),
        pytest.param(FIELDS, "CredentialOrderV1", QUERY, True, id="fields, query"),
        pytest.param(FIELDS, "CredentialOrderV1", ORDER, True, id="fields, that mutation"),
        pytest.param(FIELDS, "other", ORDER, False, id="fields, another path"),
        pytest.param(FIELDS, None, ORDER, False, id="fields, several paths"),
        pytest.param(FIELDS, None, UNKNOWN, False, id="fields, several root fields"),
        pytest.param(PART, None, QUERY, False, id="part, query"),
        pytest.param(PART, None, ORDER, False, id="part, mutation"),
        pytest.param(NOTHING, None, QUERY, False, id="nothing, query"),
    ],
)
def test_a_call_is_sent_again_only_where_it_cannot_happen_twice(
    refused: Refused, field: str | None, operation: Operation, safe: bool
) -> None:
    assert replay_is_safe(Verdict(refused, field), operation) is safe


def test_only_json_is_worth_reading() -> None:
    assert worth_reading("application/json")
    assert worth_reading("application/graphql-response+json")
    assert not worth_reading("text/event-stream")
    assert not worth_reading("image/svg+json-not")
