"""What a GraphQL request asks for: read only when a replay is in question (pure)."""

import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from breeze_sidecar.proxy.coding import inflate

if TYPE_CHECKING:
    from graphql import DocumentNode, OperationDefinitionNode

#: URL parameters by which some servers let the target override the body.
_OVERRIDES = frozenset({"query", "operationName", "extensions", "id", "documentId", "doc_id"})
_NAME_MEMBER = re.compile(rb'"operationName"\s*:\s*"([_A-Za-z][_0-9A-Za-z]{0,99})"')
_NAME_IN_DOCUMENT = re.compile(
    rb'"query"\s*:\s*"(?:\\n|\\t|\s)*(?:query|mutation|subscription)\s+([_A-Za-z][_0-9A-Za-z]{0,99})'
)
#: Bytes at each end of a body in which its operation's name is looked for.
_ENDS = 2048
#: Bytes of an operation's document and variables that are read to decide on a replay.
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation that a request executes.

    Attributes:
        query: whether it is a query, which may be sent again at any time.
        field: the response key of a mutation's only root field, or None where it has several, or none that is certain.
    """

    query: bool
    field: str | None = None


#: What is said of a request that cannot be read: nothing that would allow a replay.
UNKNOWN = Operation(query=False)


def label(body: bytes) -> str:
    """The operation's name for logs and metrics: a glance at the body's ends, no parse, and nothing to rely on."""
    ends = body if len(body) <= 2 * _ENDS else body[:_ENDS] + b" " + body[-_ENDS:]
    found = _NAME_MEMBER.search(ends) or _NAME_IN_DOCUMENT.search(ends)
    return found[1].decode() if found else "anonymous"


def may_mutate(body: bytes, content_encoding: str) -> bool:
    """Whether the request could be a mutation, by a glance that never misses one."""
    if content_encoding or len(body) > _ENDS * 16:
        return True
    return b"mutation" in body or b"\\u" in body or b'"query"' not in body


def read(body: bytes, content_encoding: str, target: str) -> Operation:
    """The operation of a request; a batch is a query if each of its parts is one.

    Args:
        body: as the caller sent it.
        content_encoding: its Content-Encoding, lower-case; "" for none.
        target: the request target.
    """
    parameters = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    if any(name in _OVERRIDES for name, _ in parameters):
        return UNKNOWN
    try:
        text, complete = inflate(body, content_encoding, _LARGEST)
        request = json.loads(text.decode(), object_pairs_hook=_members) if complete else None
    except (ValueError, RecursionError, zlib.error):
        return UNKNOWN
    if not isinstance(request, list):
        return _operation(request)
    parts = [_operation(part) for part in request]
    return Operation(query=bool(parts) and all(part.query for part in parts))


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice: parsers differ in which one they take")
    return members


def _operation(request: object) -> Operation:
    document = request.get("query") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(document, str):
        return UNKNOWN
    name = request.get("operationName")
    return _parse(document, name if isinstance(name, str) and name else None)


def _parse(document: str, name: str | None) -> Operation:
    # Imported here: it costs 94 ms and 5 MiB, and most sidecars never see a replay.
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse  # noqa: PLC0415

    try:
        tree = parse(document, no_location=True, max_tokens=100_000)
    except (GraphQLError, RecursionError):
        return UNKNOWN
    operations = [
        node
        for node in tree.definitions
        if isinstance(node, OperationDefinitionNode) and (name is None or (node.name and node.name.value == name))
    ]
    if len(operations) != 1:
        return UNKNOWN
    kind = operations[0].operation
    if kind is OperationType.MUTATION:
        return Operation(query=False, field=_only_field(operations[0], tree))
    return Operation(query=kind is OperationType.QUERY)


def _only_field(operation: "OperationDefinitionNode", tree: "DocumentNode") -> str | None:
    """The response key of the only root field, fragments unfolded; directives count as if they let all pass."""
    from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, InlineFragmentNode  # noqa: PLC0415

    fragments = {
        node.name.value: node.selection_set for node in tree.definitions if isinstance(node, FragmentDefinitionNode)
    }
    fields: list[FieldNode] = []
    waiting = [operation.selection_set]
    while waiting:
        for node in waiting.pop().selections:
            if isinstance(node, FieldNode):
                fields.append(node)
            elif isinstance(node, InlineFragmentNode):
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and (spread := fragments.pop(node.name.value, None)) is not None:
                waiting.append(spread)
            else:
                return None  # a fragment that is not there, or spread twice
    return (fields[0].alias or fields[0].name).value if len(fields) == 1 else None
