"""One access token and the decisions about its age; `now` is always an argument."""

import re
from dataclasses import dataclass, field

#: Seconds; what RFC 6749 section 5.1 leaves to documentation, and Breeze's documentation gives as the default.
DEFAULT_LIFETIME = 3600.0
#: Seconds; a longer life is not believed. A token that dies earlier is found out by its rejection.
LONGEST_LIFETIME = 30 * 86400.0
#: Seconds; where half of what is left of a repeated token's life is less than this, its end is awaited instead.
SHORTEST_REPEAT = 5.0

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)


class MalformedGrantError(ValueError):
    """The token endpoint's answer is not one of RFC 6749 section 5.1; the sentence says how, without the token."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the token endpoint gave: the token and its lifetime in seconds."""

    value: str = field(repr=False)
    lifetime: float

    @classmethod
    def parse(cls, answer: object) -> "Grant":
        """Read the answer's JSON.

        Raises:
            MalformedGrantError: it holds no usable bearer token.
        """
        if not isinstance(answer, dict):
            raise MalformedGrantError("the answer is not a JSON object")
        value = answer.get("access_token")
        if not isinstance(value, str) or not value:
            raise MalformedGrantError("the answer holds no access_token")
        if not _B64TOKEN.fullmatch(value):  # RFC 6750 section 2.1; anything else could forge a field
            raise MalformedGrantError("the access_token holds characters that no bearer token may have")
        kind = answer.get("token_type", "Bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749 section 5.1: case-insensitive
            raise MalformedGrantError("the token_type is not Bearer")
        return cls(value, _lifetime(answer.get("expires_in")))


def _lifetime(expires_in: object) -> float:
    if expires_in is None:
        return DEFAULT_LIFETIME
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float, str)):
        raise MalformedGrantError("expires_in is not a number of seconds")
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        raise MalformedGrantError("expires_in is not a number of seconds") from None
    if not seconds > 0:  # this way round, NaN is caught too
        raise MalformedGrantError("expires_in is not a positive number of seconds")
    return min(seconds, LONGEST_LIFETIME)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that the sidecar holds. Times are seconds of Clock.now().

    Attributes:
        value: what follows "Bearer ".
        expires_at: from here on it is expired.
        refresh_at: from here on it is stale: still valid, but to be refreshed.
    """

    value: str = field(repr=False)
    expires_at: float
    refresh_at: float

    def valid(self, now: float) -> bool:
        """Whether it may be sent."""
        return now < self.expires_at

    def stale(self, now: float) -> bool:
        """Whether a refresh is due."""
        return now >= self.refresh_at


def margin(lifetime: float, configured: float) -> float:
    """Seconds before expiry at which a token becomes stale, never more than a fifth of its lifetime.

    Breeze advises five minutes; taken literally, a token that lives five minutes would be refreshed on every call.
    """
    return min(configured, lifetime / 5)


def issue(grant: Grant, *, asked_at: float, configured_margin: float, jitter: float) -> AccessToken:
    """The token that a grant makes.

    Args:
        grant: what the endpoint gave.
        asked_at: when the request left: the lifetime began no earlier.
        configured_margin: BREEZE_REFRESH_MARGIN.
        jitter: 0 to 1; replicas that started together drift apart by up to a tenth of the margin.
    """
    expires_at = asked_at + grant.lifetime
    ahead = margin(grant.lifetime, configured_margin)
    return AccessToken(grant.value, expires_at, expires_at - ahead * (1 + jitter / 10))


def repeat(held: AccessToken, grant: Grant, *, asked_at: float, now: float) -> AccessToken:
    """The same token, handed out again before its end: asked for again after half of what is left of its life.

    Its life ends when it was first said to, if that is earlier: the endpoint may count each answer anew.
    """
    expires_at = min(held.expires_at, asked_at + grant.lifetime)
    half = (expires_at - now) / 2
    return AccessToken(grant.value, expires_at, now + half if half >= SHORTEST_REPEAT else expires_at)
