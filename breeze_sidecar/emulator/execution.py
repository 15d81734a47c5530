"""POST /graphql: tokens checked, operations executed by graphql-core, and the endpoint's lies."""

import gzip
import json

from graphql import GraphQLError, OperationDefinitionNode, execute_sync, parse, validate
from graphql.language.ast import DocumentNode, FieldNode

from breeze_sidecar.emulator.answer import Answer
from breeze_sidecar.emulator.faults import Fault
from breeze_sidecar.emulator.schema import SCHEMA, Context
from breeze_sidecar.emulator.state import State

UNAUTHENTICATED = {"message": "Token validation failed", "extensions": {"code": "UNAUTHENTICATED"}}
_ODDLY_PACKED = ("html-401", "empty-401", "not-json", "bom", "wrong-type", "truncated-gzip", "bomb")
_BOMB = 32 * 1024 * 1024


def respond(state: State, body: bytes, token: str, now: float, fault: Fault | None) -> Answer:
    """Answer a GraphQL request.

    Args:
        state: this Breeze.
        body: the request's, decoded.
        token: what followed "Bearer ", or "".
        now: Unix time.
        fault: a `reject` or `lie` fault, or None.
    """
    lie = fault.lie if fault is not None and fault.kind == "lie" else ""
    rejected = fault is not None and fault.kind == "reject"
    try:
        request = json.loads(body)
    except ValueError:
        request = None
    if rejected or lie in (*_ODDLY_PACKED, "path") or not state.accepts(token, now):
        state.unauthenticated += 1
        return _refusal(state, request, lie, with_path=state.config.unauthenticated_path or lie == "path")
    if isinstance(request, list):
        if not state.config.batching:
            return _bad("Batched requests are not supported")
        results = [_execute(state, part, Context(state, now)) for part in (request[:-1] if lie == "half" else request)]
        return Answer.of([*results, {"errors": [UNAUTHENTICATED]}] if lie == "half" else results)
    if not isinstance(request, dict) or not isinstance(request.get("query"), str):
        return _bad("Must provide query string")
    allowed = fault.after if fault is not None and lie == "midway" else None
    result = _execute(state, request, Context(state, now, allowed))
    if lie == "partial":
        result = {**result, "errors": [UNAUTHENTICATED]}
    return Answer.of(result, 200 if "data" in result else 400)


def _execute(state: State, request: object, context: Context) -> dict[str, object]:
    if not isinstance(request, dict) or not isinstance(request.get("query"), str):
        return {"errors": [{"message": "Must provide query string"}]}
    variables, name = request.get("variables"), request.get("operationName")
    try:
        document = parse(request["query"])
        errors = validate(SCHEMA, document)
    except (GraphQLError, RecursionError) as error:
        errors = [error if isinstance(error, GraphQLError) else GraphQLError("Document is too deep")]
        return {"errors": [problem.formatted for problem in errors]}
    if errors:
        return {"errors": [{**error.formatted, "extensions": {"code": "BAD_USER_INPUT"}} for error in errors]}
    state.executed += 1
    result = execute_sync(
        SCHEMA,
        document,
        context_value=context,
        variable_values=variables if isinstance(variables, dict) else None,
        operation_name=name if isinstance(name, str) else None,
    )
    return dict(result.formatted)


def _refusal(state: State, request: object, lie: str, *, with_path: bool) -> Answer:
    status = state.config.unauthenticated_status
    whole: dict[str, object] = {"errors": [UNAUTHENTICATED]}
    if with_path:
        whole = {"errors": [{**UNAUTHENTICATED, "path": [key]} for key in _root_keys(request)], "data": None}
    content: object = [whole] * len(request) if isinstance(request, list) and request else whole
    text = json.dumps(content).encode()
    match lie:
        case "html-401":
            return Answer(401, b"<html><body>Unauthorized</body></html>", "text/html")
        case "empty-401":
            return Answer(401, b"", "text/plain")
        case "not-json":
            return Answer(401, b"UNAUTHENTICATED")
        case "bom":
            return Answer(status, b"\xef\xbb\xbf" + text)
        case "wrong-type":
            return Answer(status, text, "text/html")
        case "truncated-gzip":
            return Answer(status, gzip.compress(text)[:-4], fields={"Content-Encoding": "gzip"})
        case "bomb":
            bomb = gzip.compress(text[:-1] + b" " * _BOMB + text[-1:])
            return Answer(status, bomb, fields={"Content-Encoding": "gzip"})
        case _:
            return Answer(status, text)


def _root_keys(request: object) -> list[str]:
    """The response keys of the operation's root fields, as far as they stand in it."""
    try:
        document: DocumentNode = parse(request["query"])  # type: ignore[index] # anything else is caught below
    except (GraphQLError, TypeError, KeyError, AttributeError):
        return ["unknown"]
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    fields = [node for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    return [(node.alias or node.name).value for node in fields] or ["unknown"]


def _bad(message: str) -> Answer:
    return Answer.of({"errors": [{"message": message, "extensions": {"code": "BAD_USER_INPUT"}}]}, 400)
