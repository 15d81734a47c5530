"""What can be made to go wrong, and the calls that are held meanwhile."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

TOKEN_LIES = (
    "not-json",
    "array",
    "no-token",
    "token-spaces",
    "token-controls",
    "token-type",
    "expires-negative",
    "expires-zero",
    "expires-string",
    "expires-float",
    "expires-missing",
)
GRAPHQL_LIES = (
    "partial",
    "path",
    "midway",
    "half",
    "html-401",
    "empty-401",
    "not-json",
    "bom",
    "wrong-type",
    "truncated-gzip",
    "bomb",
)
MEDIA = ("text/event-stream", "multipart/mixed")

#: Which settings each kind of fault takes beside `kind`, `endpoint` and `times`.
KINDS: dict[str, tuple[str, ...]] = {
    "fail": ("status", "when"),
    "hang": ("when",),
    "reset": ("when",),
    "throttle": ("retry_after", "reset_after"),
    "reject": (),
    "lie": ("lie", "after"),
    "slow": ("delay", "pieces", "piece_delay"),
    "stream": ("media", "pieces", "piece_delay"),
}
_ONLY_GRAPHQL = ("reject", "stream")
_MOST_PIECES = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. Times are seconds.

    Attributes:
        kind: one of KINDS.
        endpoint: `graphql` or `token`.
        times: for how many calls; None until it is removed.
        status: `fail`'s HTTP status.
        when: `before` or `after` the call is executed; for `reset` also in the middle of the `body`.
        retry_after: `throttle`'s wait, for Retry-After; None leaves the field out.
        reset_after: `throttle`'s wait, for X-RateLimit-Reset; None leaves the field out.
        lie: one of TOKEN_LIES or GRAPHQL_LIES.
        after: how many root fields still run before `midway` refuses the others.
        delay: `slow`'s wait before the answer.
        pieces: in how many pieces the body comes.
        piece_delay: the wait before each piece.
        media: `stream`'s media type, one of MEDIA.
    """

    kind: str
    endpoint: str = "graphql"
    times: int | None = None
    status: int = 500
    when: str = "before"
    retry_after: int | None = None
    reset_after: int | None = None
    lie: str = ""
    after: int = 1
    delay: float = 0.0
    pieces: int = 1
    piece_delay: float = 0.0
    media: str = MEDIA[0]

    @classmethod
    def parse(cls, value: object) -> "Fault":
        """Read a fault as the control endpoint takes it.

        Raises:
            ValueError: the sentence says which setting is wrong and what would be right.
        """
        if not isinstance(value, Mapping):
            raise ValueError('a fault must be a JSON object, for example {"kind": "fail", "status": 503}')  # noqa: TRY004 # one error for all bad input
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        known = ("kind", "endpoint", "times", *KINDS[kind])
        for name in value:
            if name not in known:
                raise ValueError(f"{kind} takes no {name!r}; it takes {', '.join(known[1:])}")
        endpoint = value.get("endpoint", "graphql")
        _one_of("endpoint", endpoint, ("graphql",) if kind in _ONLY_GRAPHQL else ("graphql", "token"))
        for name, given in value.items():
            _check(name, given, kind, str(endpoint))
        if kind == "lie":
            _one_of("lie", value.get("lie"), TOKEN_LIES if endpoint == "token" else GRAPHQL_LIES)
        return cls(**{"pieces": 3, **value} if kind == "stream" else value)

    def described(self) -> dict[str, object]:
        """The fault as the control endpoint shows it: only what its kind takes."""
        every = asdict(self)
        return {name: every[name] for name in ("kind", "endpoint", "times", *KINDS[self.kind])}


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def _whole(name: str, value: object, low: int, high: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        most = "or more" if math.isinf(high) else f"to {high}"
        raise ValueError(f"{name} must be a whole number, {low} {most}, not {value!r}")


def _check(name: str, value: object, kind: str, endpoint: str) -> None:
    match name:
        case "times" if value is not None:
            _whole(name, value, 1)
        case "status":
            _whole(name, value, 300, 599)
            if value == 304:  # noqa: PLR2004 # RFC 9110 15.4.5: it may have no body, and no endpoint of Breeze has it
                raise ValueError("status must be another one: 304 answers only a conditional GET")
        case "when":
            _one_of(name, value, ("before", "after", "body") if kind == "reset" else ("before", "after"))
        case "retry_after" | "reset_after" if value is not None:
            if endpoint == "token" and name == "reset_after":
                raise ValueError("the token endpoint has no X-RateLimit-Reset: leave reset_after out")
            _whole(name, value, 0)
        case "after":
            _whole(name, value, 0)
        case "pieces":
            _whole(name, value, 1, _MOST_PIECES)
        case "delay" | "piece_delay":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and isinstance(value, (int, float)) and 0 <= value < math.inf):
                raise ValueError(f"{name} must be a number of seconds, 0 or more, not {value!r}")
        case "media":
            _one_of(name, value, MEDIA)
        case _:
            pass


class Faults:
    """The faults in force, oldest first, and the calls that they hold.

    Attributes:
        waiting: how many calls are held at this moment.
    """

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._faults = list(faults)
        self._released = asyncio.Event()
        self._closed = False
        self.waiting = 0

    def add(self, faults: list[Fault]) -> None:
        """Put these behind those in force."""
        self._faults += faults

    def described(self) -> list[dict[str, object]]:
        """All in force."""
        return [fault.described() for fault in self._faults]

    def take(self, endpoint: str) -> tuple[Fault | None, Fault | None]:
        """What happens to one call: the first `slow` fault, and the first of any other kind."""
        slow = self._first(endpoint, slow=True)
        return slow, self._first(endpoint, slow=False)

    def clear(self) -> None:
        """Remove all and let the held calls go on."""
        self._faults.clear()
        self._released.set()
        if not self._closed:
            self._released = asyncio.Event()

    def close(self) -> None:
        """Clear, and hold no call from now on: the emulator is stopping."""
        self._closed = True
        self.clear()

    async def hold(self, seconds: float | None) -> None:
        """Hold a call this long; None until the faults are cleared, which ends any hold."""
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._released.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1

    def _first(self, endpoint: str, *, slow: bool) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.endpoint == endpoint and (fault.kind == "slow") is slow:
                if fault.times == 1:
                    del self._faults[index]
                elif fault.times is not None:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None
