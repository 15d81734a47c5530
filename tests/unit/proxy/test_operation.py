"""What a request asks for, as far as a replay depends on it."""

import gzip
import json

import pytest

from breeze_sidecar.proxy.operation import UNKNOWN, Operation, label, may_mutate, read

QUERY = Operation(query=True)
ORDER = 'mutation Order { CredentialOrderV1(credential: {template_id: "1", data: []}) { _id } }'


def mutation(field: str | None) -> Operation:
    return Operation(query=False, field=field)


def body(query: object, **more: object) -> bytes:
    return json.dumps({"query": query, **more}).encode()


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        pytest.param(body("{ Me { _id } }"), QUERY, id="anonymous query"),
        pytest.param(body("query A { Me { _id } }"), QUERY, id="named query"),
        pytest.param(body("query A { a } query B { b }"), UNKNOWN, id="two operations and no name"),
        pytest.param(body(f"query A {{ a }} {ORDER}", operationName="A"), QUERY, id="the query of two"),
        pytest.param(
            body(f"query A {{ a }} {ORDER}", operationName="Order"),
            mutation("CredentialOrderV1"),
            id="the mutation of two",
        ),
        pytest.param(body(f"query A {{ a }} {ORDER}", operationName="C"), UNKNOWN, id="a name that is not there"),
        pytest.param(body("{ a }", operationName=""), QUERY, id="an empty name is none"),
        pytest.param(body("{ a }", operationName=7), QUERY, id="a name that is a number is none"),
        pytest.param(body(ORDER), mutation("CredentialOrderV1"), id="one root field"),
        pytest.param(body("mutation { a: CredentialOrderV1 }"), mutation("a"), id="an alias"),
        pytest.param(body("mutation { a: order b: order }"), mutation(None), id="two aliases"),
        pytest.param(body("mutation { order __typename }"), mutation(None), id="and its type name"),
        pytest.param(body("mutation { ...F } fragment F on M { order }"), mutation("order"), id="a fragment"),
        pytest.param(
            body("mutation { ...F } fragment F on M { a b }"), mutation(None), id="a fragment with two fields"
        ),
        pytest.param(
            body("mutation { ...F ...F } fragment F on M { a }"), mutation(None), id="a fragment spread twice"
        ),
        pytest.param(
            body("mutation { ...F } fragment F on M { ...F }"), mutation(None), id="a fragment that spreads itself"
        ),
        pytest.param(body("mutation { ...F }"), mutation(None), id="a fragment that is not there"),
        pytest.param(body("mutation { ... on M { order } }"), mutation("order"), id="an inline fragment"),
        pytest.param(body("mutation { ... { a } ... { b } }"), mutation(None), id="two inline fragments"),
        pytest.param(body("mutation { a @skip(if: true) b }"), mutation(None), id="directives count as passed"),
        pytest.param(body("subscription { a }"), Operation(query=False), id="subscription"),
        pytest.param(body("fragment F on Q { a }"), UNKNOWN, id="no operation"),
        pytest.param(body("query {"), UNKNOWN, id="a syntax error"),
        pytest.param(body("{ a(b: " + "[" * 100_000 + ") }"), UNKNOWN, id="too deep"),
        pytest.param(body(""), UNKNOWN, id="empty document"),
        pytest.param(body(None), UNKNOWN, id="document null"),
        pytest.param(body(["{ a }"]), UNKNOWN, id="document a list"),
        pytest.param(b'{"query":"\\u006dutation { order }"}', mutation("order"), id="hidden by JSON escapes"),
        pytest.param(body("# query { a }\nmutation { order }"), mutation("order"), id="behind a comment"),
        pytest.param(b'{"query":"{ a }","query":"mutation { order }"}', UNKNOWN, id="two documents"),
        pytest.param(b'{"query":"{ a }","\\u0071uery":"mutation { b }"}', UNKNOWN, id="two documents, one escaped"),
        pytest.param(b'{"extensions":{"persistedQuery":{"sha256Hash":"0"}}}', UNKNOWN, id="a persisted document"),
        pytest.param(b"[]", UNKNOWN, id="an empty batch"),
        pytest.param(b"[" + body("{ a }") + b"," + body("{ b }") + b"]", QUERY, id="a batch of queries"),
        pytest.param(b"[" + body("{ a }") + b"," + body(ORDER) + b"]", UNKNOWN, id="a batch with a mutation"),
        pytest.param(b"", UNKNOWN, id="no body"),
        pytest.param(b"{", UNKNOWN, id="not JSON"),
        pytest.param(b"7", UNKNOWN, id="a number"),
        pytest.param(b"\xff", UNKNOWN, id="not UTF-8"),
        pytest.param(b"[" * 200_000, UNKNOWN, id="deep JSON"),
    ],
)
def test_the_operation_of_a_request(request_body: bytes, expected: Operation) -> None:
    assert read(request_body, "", "/graphql") == expected


@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
def test_a_compressed_request_is_read(coding: str) -> None:
    assert read(gzip.compress(body("{ a }")), coding, "/graphql") == QUERY


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "gzip"])
def test_a_request_that_cannot_be_read_allows_no_replay(coding: str) -> None:
    assert read(body("{ a }"), coding, "/graphql") == UNKNOWN


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("/graphql?trace=1", QUERY, id="other parameters"),
        pytest.param("/graphql?query=mutation{order}", UNKNOWN, id="a document in the target"),
        pytest.param("/graphql?%71uery=mutation{order}", UNKNOWN, id="an encoded one"),
        pytest.param("/graphql?operationName=B", UNKNOWN, id="an operation's name in the target"),
    ],
)
def test_a_target_that_could_override_the_body_allows_no_replay(target: str, expected: Operation) -> None:
    assert read(body("{ a }"), "", target) == expected


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        pytest.param(body("query Who { Me { _id } }"), "Who", id="in the document"),
        pytest.param(body("query Who { a }", operationName="Named"), "Named", id="operationName wins"),
        pytest.param(body("\n  mutation Order { a }"), "Order", id="after white space"),
        pytest.param(body("{ a }"), "anonymous", id="none"),
        pytest.param(body("query A { a }", variables={"photo": "x" * 100_000}), "A", id="a large body"),
        pytest.param(
            b'{"variables":"' + b"x" * 9000 + b'","operationName":"End"}', "End", id="at the end of a large body"
        ),
        pytest.param(b'{"operationName":"not a name"}', "anonymous", id="not a name"),
        pytest.param(b"", "anonymous", id="no body"),
    ],
)
def test_the_label_is_the_operations_name(request_body: bytes, expected: str) -> None:
    assert label(request_body) == expected


@pytest.mark.parametrize(
    ("request_body", "coding", "expected"),
    [
        pytest.param(body("{ a }"), "", False, id="a query"),
        pytest.param(body(ORDER), "", True, id="a mutation"),
        pytest.param(b'{"query":"\\u006dutation { a }"}', "", True, id="hidden by JSON escapes"),
        pytest.param(body("{ a }"), "gzip", True, id="compressed"),
        pytest.param(body("{ a }", variables="x" * 40_000), "", True, id="too large for a glance"),
        pytest.param(b'{"extensions":{}}', "", True, id="a persisted document"),
    ],
)
def test_a_glance_misses_no_mutation(request_body: bytes, coding: str, expected: bool) -> None:
    assert may_mutate(request_body, coding) is expected
