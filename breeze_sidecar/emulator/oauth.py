"""POST /oauth/token: the client credentials grant (RFC 6749 section 4.4) with a JSON body, and its lies."""

import json
import math
from dataclasses import replace

from breeze_sidecar.emulator.answer import Answer
from breeze_sidecar.emulator.state import State, Token

_PARAMETERS = ("grant_type", "client_id", "client_secret")


def grant(state: State, body: bytes, now: float, lie: str = "") -> Answer:
    """Answer a token request: a token or an OAuth error; `lie` is one of faults.TOKEN_LIES."""
    answer, outcome = _decide(state, body, now, lie)
    state.token_outcomes[outcome] += 1
    return replace(answer, fields={"Cache-Control": "no-store", **answer.fields})


def throttled(state: State, wait: float) -> Answer:
    """The 429, which says only in prose how long to wait."""
    return _error(
        "too_many_requests",
        f"Rate limit exceeded for OAuth token requests. Maximum {state.config.token_limit} requests per hour allowed. "
        f"Try again in {math.ceil(wait)} seconds.",
        429,
    )


def _decide(state: State, body: bytes, now: float, lie: str) -> tuple[Answer, str]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return _error("invalid_request", "The request body must be a JSON object."), "invalid_request"
    for name in _PARAMETERS:
        if not isinstance(given.get(name), str) or not given[name]:
            return _error("invalid_request", f"Missing required parameter: {name}."), "invalid_request"
    client_id, length = given["client_id"], state.config.window
    if not state.token_limit.admit(client_id, now, state.config.token_limit, length):
        wait = state.token_limit.window(client_id, now, length).resets_at - now
        return throttled(state, wait), "too_many_requests"
    if given["grant_type"] != "client_credentials":
        why = "Only the client_credentials grant type is supported."
        return _error("unsupported_grant_type", why), "unsupported_grant_type"
    if not state.knows(client_id, given["client_secret"], now):
        return _error("invalid_client", "Invalid client credentials.", 401), "invalid_client"
    if state.config.client_expired:
        return _error("invalid_client", "The client secret has expired.", 401), "invalid_client"
    return _issued(state.issue(client_id, now), now, lie), "issued"


def _error(error: str, description: str, status: int = 400) -> Answer:
    return Answer.of({"error": error, "error_description": description}, status)


def _issued(token: Token, now: float, lie: str) -> Answer:
    left = token.expires_at - now
    whole = int(left) if left >= 1 else round(left, 3)
    honest: dict[str, object] = {"access_token": token.value, "token_type": "Bearer", "expires_in": whole}
    match lie:
        case "not-json":
            return Answer(200, b"<html><body>Welcome</body></html>", "text/html")
        case "array":
            return Answer.of([honest])
        case "no-token":
            del honest["access_token"]
        case "token-spaces":
            honest["access_token"] = f"{token.value} {token.value}"
        case "token-controls":
            honest["access_token"] = f"{token.value}\r\nX-Forged: true"
        case "token-type":
            honest["token_type"] = "mac"  # noqa: S105 # a type, no secret
        case "expires-negative":
            honest["expires_in"] = -1
        case "expires-zero":
            honest["expires_in"] = 0
        case "expires-string":
            honest["expires_in"] = str(whole)
        case "expires-float":
            honest["expires_in"] = left
        case "expires-missing":
            del honest["expires_in"]
        case _:
            pass
    return Answer.of(honest)
