"""Where a token is kept between its requests, and for whom.

memory    this process
file      the processes that see one directory, one after the other: restarts of a container, a laptop
redis     all replicas of a client, at once
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from breeze_sidecar.clock import Clock
from breeze_sidecar.tasks import Tasks

#: Seconds for which a token request counts against the hourly limit, a little over an hour.
HOUR = 3601.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A token that is kept. Times are Unix times: whoever shares the cache shares no other clock.

    Attributes:
        value: the token.
        expires_at: its end.
    """

    value: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A failed token request, after which nobody asks for a while.

    Attributes:
        until: Unix time.
        kind: backoff.Kind's value.
        message: a sentence without secrets.
        row: how many requests in a row have failed.
    """

    until: float
    kind: str
    message: str
    row: int


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a cache knows of a client.

    Attributes:
        entry: its token, if there is one.
        requests: Unix times of the token requests of others within the last hour.
        pause: the last failure, if its wait is not over.
    """

    entry: Entry | None = None
    requests: tuple[float, ...] = ()
    pause: Pause | None = None


class Witness(Protocol):
    """Who hears of a cache's troubles."""

    def cache_failed(self, reason: str) -> None: ...  # noqa: D102 # named by what happened
    def cache_recovered(self) -> None: ...  # noqa: D102 # as above
    def cache_ignored(self, reason: str) -> None: ...  # noqa: D102 # as above


class Cache(Protocol):
    """A place for one client's token. No method fails: a cache in trouble does as the memory cache, and says so."""

    @property
    def behind(self) -> bool:
        """Whether the last token could not be kept, so that `store` is worth another try."""
        ...

    def turn(self, take: Callable[[Kept], bool]) -> AbstractAsyncContextManager[bool]:
        """The exclusive right to ask for a token, among all who share the cache.

        Args:
            take: is offered what is kept, and says whether it took it; then there is nothing to ask for.

        Returns:
            A context: True for the right to ask, False once `take` took something.
        """
        ...

    async def look(self, take: Callable[[Kept], bool]) -> bool:
        """Offer what is kept, without a turn; whether `take` took it."""
        ...

    async def spend(self, moment: float) -> None:
        """Count a token request that leaves now (Unix time), for all."""
        ...

    async def store(self, entry: Entry) -> None:
        """Keep this token for the next one who looks."""
        ...

    async def hold_off(self, pause: Pause) -> None:
        """Keep all others from asking for a while."""
        ...


class MemoryCache:
    """Nothing beyond what the source itself holds; ends with the process."""

    behind = False

    def turn(self, take: Callable[[Kept], bool]) -> AbstractAsyncContextManager[bool]:  # noqa: ARG002 # nothing to offer
        """At once: nobody shares it."""
        return nullcontext(enter_result=True)

    async def look(self, take: Callable[[Kept], bool]) -> bool:  # noqa: ARG002 # as above
        """Nothing to see."""
        return False

    async def spend(self, moment: float) -> None:
        """Nothing to do: the source counts."""

    async def store(self, entry: Entry) -> None:
        """Nothing to do: the source holds it."""

    async def hold_off(self, pause: Pause) -> None:
        """Nothing to do: there is nobody else."""


class Health:
    """Tells of a cache's trouble once when it begins and once when it ends.

    Attributes:
        well: whether the last token could be kept.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._ignored = ""
        self.well = True

    def failed(self, reason: str) -> None:
        """An operation failed."""
        if self.well:
            self.well = False
            self._witness.cache_failed(reason)

    def ignored(self, reason: str) -> None:
        """What is kept cannot be used."""
        if reason != self._ignored:
            self._ignored = reason
            self._witness.cache_ignored(reason)

    def worked(self) -> None:
        """A token was kept or found: less, as a read from a store that cannot be written, ends no trouble."""
        self._ignored = ""
        if not self.well:
            self.well = True
            self._witness.cache_recovered()


def open_cache(
    url: str,
    *,
    base_url: str,
    client_id: str,
    read_secret: Callable[[], str],
    ca_file: Path | None,
    clock: Clock,
    tasks: Tasks,
    witness: Witness,
) -> Cache:
    """The cache that BREEZE_TOKEN_CACHE names.

    Args:
        url: memory://, file:///path or redis[s]://[user:password@]host[:port][/db].
        base_url: of Breeze: a token of another environment is never found.
        client_id: nor another client's.
        read_secret: reads the secret that tokens are sealed with.
        ca_file: BREEZE_CA_FILE, for rediss.
        clock: the time.
        tasks: runs what keeps the turn while a token is asked for.
        witness: hears of troubles.
    """
    if url == "memory://":
        return MemoryCache()
    # The packages that these need are extras, imported only when used.
    from breeze_sidecar.token.sealing import Sealer  # noqa: PLC0415 # see above

    sealer = Sealer(base_url, client_id, read_secret)
    parts = urlsplit(url)
    if parts.scheme == "file":
        from breeze_sidecar.token.file_cache import FileCache  # noqa: PLC0415 # as above

        return FileCache(Path(unquote(parts.path)), sealer, clock, witness)
    from breeze_sidecar.token.redis_cache import RedisCache, connect  # noqa: PLC0415 # as above

    return RedisCache(connect(parts, ca_file), sealer, clock, tasks, witness)
