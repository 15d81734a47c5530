"""What the emulator can be told, where Breeze's documentation leaves a choice or a test wants another number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from breeze_sidecar.emulator.faults import Fault

UNAUTHENTICATED_STATUSES = (200, 400, 401, 500)


@dataclass(frozen=True, slots=True)
class Config:
    """The emulator's settings. Times are seconds.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 picks a free one.
        client_id: the one client that Breeze knows at the start.
        client_secret: its secret at the start.
        token_lifetime: how long a token lives.
        token_limit: token requests in one window for each client_id.
        graphql_limit: GraphQL requests in one window for each IP address.
        window: how long a window of both limits lasts.
        unauthenticated_status: the HTTP status beside UNAUTHENTICATED.
        unauthenticated_path: whether that error bears the path of each root field, beside `data: null`.
        sticky_tokens: whether the same token is handed out again while it lives.
        rotation_grace: how long the old secret stays valid after a rotation.
        rotation_revokes: whether a rotation kills the tokens issued before.
        client_expired: whether the client's secret has expired.
        date_skew: how far Breeze's clock runs ahead of this machine's.
        compression: whether answers are compressed (gzip, deflate) where the caller accepts it.
        batching: whether a JSON array of operations is executed.
        set_cookie: whether each answer sets a cookie, as load balancers like to.
        keepalive: how long an idle connection is kept.
        faults: what goes wrong from the start.
    """

    host: str = "127.0.0.1"
    port: int = 4780
    client_id: str = "oauth_sample_client"
    client_secret: str = "sample-secret-for-the-emulator"  # noqa: S105 # a sample that opens nothing
    token_lifetime: float = 3600.0
    token_limit: int = 100
    graphql_limit: int = 3600
    window: float = 3600.0
    unauthenticated_status: int = 200
    unauthenticated_path: bool = False
    sticky_tokens: bool = False
    rotation_grace: float = 0.0
    rotation_revokes: bool = False
    client_expired: bool = False
    date_skew: float = 0.0
    compression: bool = True
    batching: bool = True
    set_cookie: bool = False
    keepalive: float = 5.0
    faults: tuple[Fault, ...] = ()


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _positive(value: object) -> bool:
    return _number(value) and isinstance(value, (int, float)) and value > 0


def _not_negative(value: object) -> bool:
    return _number(value) and isinstance(value, (int, float)) and value >= 0


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _switch(value: object) -> bool:
    return isinstance(value, bool)


def _status(value: object) -> bool:
    return _count(value) and value in UNAUTHENTICATED_STATUSES


_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "token_lifetime": (_positive, "a number of seconds above 0"),
    "token_limit": (_count, "a whole number, 0 or more"),
    "graphql_limit": (_count, "a whole number, 0 or more"),
    "window": (_positive, "a number of seconds above 0"),
    "unauthenticated_status": (_status, "one of 200, 400, 401, 500"),
    "unauthenticated_path": (_switch, "true or false"),
    "sticky_tokens": (_switch, "true or false"),
    "rotation_grace": (_not_negative, "a number of seconds, 0 or more"),
    "rotation_revokes": (_switch, "true or false"),
    "client_expired": (_switch, "true or false"),
    "date_skew": (_number, "a number of seconds"),
    "compression": (_switch, "true or false"),
    "batching": (_switch, "true or false"),
    "set_cookie": (_switch, "true or false"),
}


def settings(config: Config) -> dict[str, object]:
    """All that can be changed at run time, by name."""
    return {name: getattr(config, name) for name in _RULES}


def change(config: Config, changes: object) -> Config:
    """The config with the named settings changed.

    Raises:
        ValueError: the sentence names the setting and what would be right.
    """
    if not isinstance(changes, Mapping):
        raise ValueError("the body must be a JSON object of settings")  # noqa: TRY004 # one error for all bad input
    for name, value in changes.items():
        if name not in _RULES:
            raise ValueError(f"unknown setting {name!r}; known: {', '.join(_RULES)}")
        right, expected = _RULES[name]
        if not right(value):
            raise ValueError(f"{name} must be {expected}, not {value!r}")
    return replace(config, **changes)
