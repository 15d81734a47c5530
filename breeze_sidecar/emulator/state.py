"""What Breeze remembers: its client, tokens, orders and windows. Pure: `now` is Unix time and always an argument."""

import base64
import hashlib
import hmac
import json
import math
import secrets
from collections import Counter, deque
from dataclasses import dataclass, field

from breeze_sidecar.emulator.config import Config, settings
from breeze_sidecar.emulator.faults import Faults

#: Characters of a request's body that the log keeps, and requests that it keeps.
LOGGED_TEXT = 65536
LOGGED_REQUESTS = 50


@dataclass(slots=True)
class Token:
    """An issued access token. Times are Unix seconds."""

    value: str
    client_id: str
    issued_at: float
    expires_at: float
    revoked: bool = False

    def alive(self, now: float) -> bool:
        """Whether /graphql takes it."""
        return not self.revoked and now < self.expires_at


@dataclass(slots=True)
class Window:
    """One fixed window of a rate limit: it opens with its first request."""

    resets_at: float
    used: int = 0


@dataclass(slots=True)
class Limit:
    """Requests in a window, for each key (a client_id, an IP address)."""

    windows: dict[str, Window] = field(default_factory=dict)

    def admit(self, key: str, now: float, most: int, length: float) -> bool:
        """Count a request; false if it is over the limit, and then it is not counted."""
        window = self.window(key, now, length)
        if window.used >= most:
            return False
        window.used += 1
        return True

    def window(self, key: str, now: float, length: float) -> Window:
        """The key's open window."""
        window = self.windows.get(key)
        if window is None or now >= window.resets_at:
            window = self.windows[key] = Window(now + length)
        return window


class State:
    """One Breeze.

    Attributes:
        config: the settings in force.
        faults: what goes wrong.
        client_secret: the secret that is valid now.
        tokens: all issued, oldest first, by value.
        orders: all credentials ordered, oldest first; a doubled order stands twice.
        requests: the last requests to /graphql as they came, oldest first.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.faults = Faults(config.faults)
        self.client_secret = config.client_secret
        self.tokens: dict[str, Token] = {}
        self._old_secret = ""
        self._old_secret_until = -math.inf
        self._key = secrets.token_bytes(32)
        self.reset()

    def reset(self) -> None:
        """Forget all counts, orders, logged requests and windows; tokens, secret and faults stay."""
        self.token_request_times: list[float] = []
        self.token_outcomes: Counter[str] = Counter()
        self.graphql_requests = 0
        self.unauthenticated = 0
        self.executed = 0
        self.orders: list[dict[str, object]] = []
        self.requests: deque[dict[str, object]] = deque(maxlen=LOGGED_REQUESTS)
        self.token_limit = Limit()
        self.graphql_limit = Limit()

    def knows(self, client_id: str, client_secret: str, now: float) -> bool:
        """Whether these credentials are right, by the current secret or by the old one in its grace."""
        if client_id != self.config.client_id:
            return False
        return client_secret == self.client_secret or (
            client_secret == self._old_secret and now < self._old_secret_until
        )

    def issue(self, client_id: str, now: float) -> Token:
        """A token for the client: a new one, or where tokens are sticky the latest that is alive."""
        if self.config.sticky_tokens:
            for token in reversed(self.tokens.values()):
                if token.alive(now):
                    return token
        token = Token("", client_id, now, now + self.config.token_lifetime)
        token.value = self._jwt(token)
        self.tokens[token.value] = token
        return token

    def accepts(self, value: str, now: float) -> bool:
        """Whether this is a token that is alive."""
        token = self.tokens.get(value)
        return token is not None and token.alive(now)

    def revoke(self) -> int:
        """Kill all tokens; how many were not revoked before."""
        living = [token for token in self.tokens.values() if not token.revoked]
        for token in living:
            token.revoked = True
        return len(living)

    def rotate(self, secret: str | None, now: float) -> str:
        """Put this secret, or a random one, in the place of the current one and return it."""
        self._old_secret, self._old_secret_until = self.client_secret, now + self.config.rotation_grace
        self.client_secret = secret or secrets.token_urlsafe(24)
        if self.config.rotation_revokes:
            self.revoke()
        return self.client_secret

    def order(self, order: dict[str, object], now: float) -> dict[str, object]:
        """Issue a credential: the order with its identifier, number, status and time."""
        number = len(self.orders) + 1
        issued: dict[str, object] = {
            "_id": f"sample-order-{number}",
            "credential_number": f"{number:08d}",
            "status": "ORDERED",
            "created": str(int(now * 1000)),
            **order,
        }
        self.orders.append(issued)
        return issued

    def record(self, method: str, path: str, fields: list[tuple[str, str]], body: bytes) -> None:
        """Log a request to /graphql with its raw body."""
        self.graphql_requests += 1
        self.requests.append(
            {
                "method": method,
                "path": path,
                "fields": [list(each) for each in fields],
                "body": body[:LOGGED_TEXT].decode(errors="replace"),
                "bytes": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
        )

    def rate_fields(self, address: str, now: float) -> dict[str, str]:
        """The X-RateLimit fields for an IP address, on Breeze's clock."""
        window = self.graphql_limit.window(address, now, self.config.window)
        return {
            "X-RateLimit-Limit": str(self.config.graphql_limit),
            "X-RateLimit-Remaining": str(max(0, self.config.graphql_limit - window.used)),
            "X-RateLimit-Reset": str(math.ceil(window.resets_at + self.config.date_skew)),
        }

    def described(self) -> dict[str, object]:
        """All of it, as the control endpoint shows it."""
        return {
            "client_id": self.config.client_id,
            "client_secret": self.client_secret,
            "token_requests": len(self.token_request_times),
            "token_request_times": self.token_request_times,
            "token_outcomes": dict(self.token_outcomes),
            "graphql_requests": self.graphql_requests,
            "unauthenticated": self.unauthenticated,
            "executed": self.executed,
            "order_count": len(self.orders),
            "orders": self.orders,
            "tokens": [
                {
                    "access_token": token.value,
                    "client_id": token.client_id,
                    "issued_at": token.issued_at,
                    "expires_at": token.expires_at,
                    "revoked": token.revoked,
                }
                for token in self.tokens.values()
            ],
            "faults": self.faults.described(),
            "waiting": self.faults.waiting,
            "settings": settings(self.config),
        }

    def _jwt(self, token: Token) -> str:
        skew = self.config.date_skew
        claims = {
            "sub": token.client_id,
            "jti": secrets.token_hex(16),
            "iat": int(token.issued_at + skew),
            "exp": int(token.expires_at + skew),
        }
        signed = f"{_part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{_part(json.dumps(claims).encode())}"
        return f"{signed}.{_part(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def _part(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
