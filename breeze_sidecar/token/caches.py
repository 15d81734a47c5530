"""Where a token is kept between its requests."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """What a cache holds. Times are Unix times: whoever shares the cache shares no other clock.

    Attributes:
        value: the token.
        expires_at: its end.
    """

    value: str = field(repr=False)
    expires_at: float


class Cache(Protocol):
    """A place for one client's token."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The exclusive right to ask for a token, among all who share the cache."""
        ...

    async def load(self) -> Entry | None:
        """The token that is kept, or None."""
        ...

    async def store(self, entry: Entry) -> None:
        """Keep this token for the next one who looks."""
        ...


class MemoryCache:
    """Nothing beyond what the source itself holds; ends with the process."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """At once: nobody shares it."""
        return nullcontext()

    async def load(self) -> Entry | None:
        """Nothing: the source holds the only copy."""
        return None

    async def store(self, entry: Entry) -> None:
        """Nothing to do: the source holds it."""
