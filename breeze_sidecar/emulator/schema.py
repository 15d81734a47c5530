"""The GraphQL schema of the documented operations, executed by graphql-core over plainly made-up data.

What the documentation leaves open is chosen here: the shape of CredentialOrderDataFieldInput, and which fields are
non-null (CredentialOrderV1 is, so that its null bubbles up to `data`; CredentialTemplatesV2 is not).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo, build_schema

from breeze_sidecar.emulator.state import State

USER = {"_id": "sample-user-1", "userId": "sample-user-1", "email": "user@example.com"}
TENANT = "sample-tenant-1"
OTHER_TENANT = "sample-tenant-2"
TEMPLATE = {
    "_id": "sample-template-1",
    "name": "Sample access card",
    "type_name": "access_card",
    "template_fields": {
        "all_used_fields": [
            {"name": "name", "field_type": "text"},
            {"name": "photo", "field_type": "image"},
        ]
    },
}
_DATA_FIELDS = ("name", "photo")

SCHEMA = build_schema('''
"""Sample data of the Breeze emulator."""
type Query {
  Me: User!
  CredentialTemplatesV2(tenantIds: [ID!]!): CredentialTemplates
}

type Mutation {
  "Issues a credential to a person: sending it twice issues two."
  CredentialOrderV1(credential: CredentialOrderInput!, tenantId: ID, userId: ID): CredentialOrder!
}

type User { _id: ID! userId: ID! email: String! }
type CredentialTemplates { docs: [CredentialTemplate!]! }
type CredentialTemplate { _id: ID! name: String! type_name: String! template_fields: TemplateFields! }
type TemplateFields { all_used_fields: [TemplateField!]! }
type TemplateField { name: String! field_type: String! }
type CredentialOrder { _id: ID! credential_number: String! status: String! created: String! }
input CredentialOrderInput { template_id: ID! data: [CredentialOrderDataFieldInput]! external_id: String }
input CredentialOrderDataFieldInput { name: String! value: String }
''')


@dataclass(slots=True)
class Context:
    """What a resolver needs to know.

    Attributes:
        state: the Breeze that answers.
        now: Unix time.
        allowed: how many root fields run before the token is refused; None for all.
    """

    state: State
    now: float
    allowed: int | None = None


def _enter(info: GraphQLResolveInfo) -> Context:  # type: ignore[type-arg] # generic from graphql-core 3.3 on
    context = cast("Context", info.context)
    if context.allowed is not None:
        if context.allowed == 0:
            raise _error("Token validation failed", "UNAUTHENTICATED")
        context.allowed -= 1
    return context


def _error(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


def _check_tenant(tenant: str) -> None:
    if tenant == OTHER_TENANT:
        raise _error("Insufficient permissions for this tenant", "FORBIDDEN")
    if tenant != TENANT:
        raise _error("Tenant not found", "NOT_FOUND")


def _me(_root: object, info: GraphQLResolveInfo) -> dict[str, str]:  # type: ignore[type-arg] # generic from graphql-core 3.3 on
    _enter(info)
    return USER


def _templates(
    _root: object,
    info: GraphQLResolveInfo,  # type: ignore[type-arg] # generic from graphql-core 3.3 on
    *,
    tenantIds: list[str],  # noqa: N803 # the name in the schema
) -> dict[str, object]:
    _enter(info)
    if not tenantIds:
        raise _error("tenantIds must not be empty", "BAD_USER_INPUT")
    for tenant in tenantIds:
        _check_tenant(tenant)
    return {"docs": [TEMPLATE]}


def _order(
    _root: object,
    info: GraphQLResolveInfo,  # type: ignore[type-arg] # generic from graphql-core 3.3 on
    *,
    credential: dict[str, object],
    tenantId: str | None = None,  # noqa: N803 # the argument's name in the schema
    userId: str | None = None,  # noqa: N803 # the argument's name in the schema
) -> dict[str, object]:
    context = _enter(info)
    if tenantId is not None:
        _check_tenant(tenantId)
    if userId not in (None, USER["userId"]):
        raise _error("User not found", "NOT_FOUND")
    if credential["template_id"] != TEMPLATE["_id"]:
        raise _error("Credential template not found", "NOT_FOUND")
    given = cast("list[dict[str, str] | None]", credential["data"])
    names = [each["name"] for each in given if each is not None]
    for name in names:
        if name not in _DATA_FIELDS:
            raise _error(f"The template has no field {name}", "BAD_USER_INPUT")
    return context.state.order(
        {
            "template_id": credential["template_id"],
            "external_id": credential.get("external_id"),
            "tenantId": tenantId,
            "userId": userId,
            "data": names,
        },
        context.now,
    )


def _bind(root: GraphQLObjectType | None, **resolvers: Callable[..., object]) -> None:
    for name, resolver in resolvers.items():
        cast("GraphQLObjectType", root).fields[name].resolve = resolver


_bind(SCHEMA.query_type, Me=_me, CredentialTemplatesV2=_templates)
_bind(SCHEMA.mutation_type, CredentialOrderV1=_order)
