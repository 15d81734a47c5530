"""The one holder of the token: single flight, refresh ahead, replacement of what Breeze rejected, and the budget.

One background task asks for tokens; callers only say that they need one and wait for its news. So there is never more
than one request in flight, and a caller that hangs up cancels nothing but its own wait.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from breeze_sidecar.clock import Clock, wait
from breeze_sidecar.errors import CredentialsRejected, SidecarError, TokenUnavailable
from breeze_sidecar.token.access_token import AccessToken, Grant, issue, repeat
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed, bound, cool_down
from breeze_sidecar.token.budget import Budget
from breeze_sidecar.token.caches import Cache, Entry, Kept, Pause

#: Seconds that a caller waits for a token at most.
PATIENCE = 10.0
#: Seconds; the event loop's timers stand still while a laptop sleeps, so the clock is looked at this often.
GLANCE = 60.0
#: Seconds between looks at the secret's file while its content is rejected.
SECRET_POLL = 5.0
#: Seconds between tries to keep a token that a cache in trouble could not keep, and to find one while there is none.
MENDING = 10.0
#: Requests of all in an hour from which on a warning says that the budget runs low.
WARNING = 50
#: Requests in any hour for tokens rejected in a row, and those that all replacements leave for refreshes.
REJECTIONS, LEFT_FOR_REFRESHES = 30, 10


class Witness(Protocol):
    """Who hears of what happens to the token: logs and metrics."""

    def granted(self, lifetime: float, *, again: bool) -> None: ...  # noqa: D102 # named by what happened
    def failed(self, failure: TokenRequestFailed, retry_in: float) -> None: ...  # noqa: D102 # as above
    def rejected(self, row: int, cool_down: float) -> None: ...  # noqa: D102 # as above
    def holds(self, expires_at: float | None) -> None: ...  # noqa: D102 # as above; Unix time
    def adopted(self, lifetime: float) -> None: ...  # noqa: D102 # as above; seconds left
    def budget_low(self, spent: int) -> None: ...  # noqa: D102 # as above


class TokenSource:
    """Gives out a valid token, and replaces it.

    Args:
        request: asks Breeze for a token; raises TokenRequestFailed.
        secret_changed: whether the secret has another value than the last request sent.
        cache: where the token is kept for others.
        clock: the time.
        margin: BREEZE_REFRESH_MARGIN, seconds.
        witness: hears of all that happens.
    """

    def __init__(
        self,
        request: Callable[[], Awaitable[Grant]],
        *,
        secret_changed: Callable[[], bool],
        cache: Cache,
        clock: Clock,
        margin: float,
        witness: Witness,
    ) -> None:
        self._request = request
        self._secret_changed = secret_changed
        self._cache = cache
        self._clock = clock
        self._margin = margin
        self._witness = witness
        self._token: AccessToken | None = None
        self._asking = False
        # After a failure
        self._failure: TokenRequestFailed | None = None
        self._failures = 0
        self._not_before = 0.0
        # After a rejection
        self._unwanted: str | None = None  # the value to be replaced
        self._rejected: str | None = None  # the last value that was rejected
        self._row = 0
        self._calm_until = 0.0
        self._budget = Budget()
        self._warned = False
        self._replacements = Budget(REJECTIONS)
        # Both are made anew for each use; whoever waits holds the old one.
        self._news: asyncio.Future[object] | None = None
        self._nudge: asyncio.Future[object] | None = None

    async def get(self) -> AccessToken:
        """The token to send.

        Raises:
            TokenUnavailable: there is none, and none within the time a caller waits.
            CredentialsRejected: the same, because Breeze rejects the credentials.
        """
        token = self._token
        now = self._clock.now()
        if token is not None and now < token.refresh_at and self._unwanted is None:
            return token
        self._wake()
        return self._usable() or await self._wait(self._usable)

    async def replace(self, rejected: AccessToken) -> AccessToken | None:
        """Another token than this one, which Breeze rejected; None while it is better to wait for better times.

        Raises:
            TokenUnavailable: none came within the time a caller waits.
            CredentialsRejected: the same, because Breeze rejects the credentials.
        """
        if not self.discard(rejected):
            return None
        token = await self._wait(lambda: self._replacement(rejected))
        return None if token.value == rejected.value else token

    def discard(self, rejected: AccessToken) -> bool:
        """Have this rejected token replaced in the background; false in a cool-down, or for lack of budget.

        Tokens are compared, not judged by the clock: of a herd of rejections the first one counts.
        """
        if self._token is None or self._token.value != rejected.value or self._unwanted == rejected.value:
            return True
        now = self._clock.now()
        if self._rejected != rejected.value:
            self._rejected = rejected.value
            self._row += 1
            calm = cool_down(self._row)
            self._calm_until = now + calm
            self._witness.rejected(self._row, calm)
        if now < self._calm_until or self._budget.free_at(now, keep=LEFT_FOR_REFRESHES) > now:
            return False
        if self._row > 1:
            if self._replacements.free_at(now) > now:
                return False
            self._replacements.spend(now)
        self._unwanted = rejected.value
        self._wake()
        return True

    def accepted(self, token: AccessToken) -> None:
        """A call with this token succeeded: whatever was rejected before, the next rejection is a first one."""
        if self._row and self._token is not None and token.value == self._token.value and self._unwanted is None:
            self._row, self._rejected, self._calm_until = 0, None, 0.0

    def requests_last_hour(self) -> int:
        """Token requests of all who share the cache, as far as they are known here."""
        return self._budget.spent(self._clock.now())

    def unready(self) -> str | None:
        """Why there is no valid token, or None while there is one."""
        token, now = self._token, self._clock.now()
        if token is not None and token.valid(now):
            return None
        if self._failure is not None:
            return self._failure.message
        return "the token has expired" if token is not None else "waiting for the first token"

    def status(self) -> dict[str, object]:
        """What people want to know of the token; seconds and counts, never the token."""
        now = self._clock.now()
        token = self._token
        valid = token is not None and token.valid(now)
        return {
            "state": "none" if token is None else "expired" if not valid else "stale" if token.stale(now) else "fresh",
            "expires_in": round(token.expires_at - now) if token is not None and valid else None,
            "refresh_in": max(0, round(self._next() - now)),
            "requests_last_hour": self.requests_last_hour(),
            "rejected_in_a_row": self._row,
            "last_failure": None if self._failure is None else self._failure.message,
        }

    async def run(self) -> None:
        """Ask for tokens when they are due, for ever: the one flight."""
        while True:
            pause = self._next() - self._clock.now()
            if pause <= 0:
                await self._ask()
                continue
            self._nudge = asyncio.get_running_loop().create_future()
            polling = self._failure is not None and self._failure.kind is Kind.CREDENTIALS
            if polling and self._secret_changed():
                self._not_before = 0.0
                continue
            hungry = self._unwanted is not None or self._token is None or not self._token.valid(self._clock.now())
            glance = SECRET_POLL if polling else MENDING if hungry or self._cache.behind else GLANCE
            if await wait(self._clock, self._nudge, min(pause, glance)):
                continue
            if hungry and await self._cache.look(self._take):
                self._tell()  # another one was luckier
            elif self._cache.behind:
                await self._keep()

    def _next(self) -> float:
        """When the next request is due."""
        now = self._clock.now()
        wanted = now if self._token is None or self._unwanted is not None else self._token.refresh_at
        return max(wanted, self._not_before, self._budget.free_at(now))

    async def _ask(self) -> None:
        self._asking = True
        try:
            async with self._cache.turn(self._take) as ours:
                if ours and self._budget.free_at(self._clock.now()) <= self._clock.now():
                    await self._send()
        except Exception as error:  # noqa: BLE001 # a defect must not end the token's life; the witness gets its traceback
            crash = TokenRequestFailed(Kind.FAILED, f"the token request failed: {type(error).__name__}")
            crash.__cause__ = error
            self._failed(crash)
        finally:
            self._asking = False
            self._tell()

    def _tell(self) -> None:
        """Let all who wait look again."""
        news, self._news = self._news, None
        if news is not None:
            news.set_result(None)

    async def _send(self) -> None:
        asked_at = self._clock.now()
        self._spend(asked_at)
        await self._cache.spend(self._clock.wall())
        try:
            grant = await self._request()
        except TokenRequestFailed as failure:
            await self._cache.hold_off(self._failed(failure))
            return
        now = self._clock.now()
        held = self._token
        again = held is not None and held.value == grant.value and held.valid(now)
        if held is not None and again:
            token = repeat(held, grant, asked_at=asked_at, now=now)
        else:
            jitter = self._clock.jitter(0, 1)
            token = issue(grant, asked_at=asked_at, configured_margin=self._margin, jitter=jitter)
        self._hold(token)
        self._witness.granted(grant.lifetime, again=again)
        await self._keep()

    def _spend(self, now: float) -> None:
        self._budget.spend(now)
        spent = self._budget.spent(now)
        if spent < WARNING:
            self._warned = False
        elif not self._warned:
            self._warned = True
            self._witness.budget_low(spent)

    async def _keep(self) -> None:
        """Put the held token into the cache, if it is worth it."""
        token, now = self._token, self._clock.now()
        if token is not None and token.valid(now) and self._unwanted is None:
            await self._cache.store(Entry(token.value, self._clock.wall() + token.expires_at - now))

    def _take(self, kept: Kept) -> bool:
        """Take what others have put into the cache, if it is of use: requests, a token, or a failure to wait after."""
        now = self._clock.now()
        shift = now - self._clock.wall()
        self._budget.share(min(moment + shift, now) for moment in kept.requests)
        if kept.entry is not None and self._adopt(kept.entry):
            return True
        pause = kept.pause
        if pause is None or pause.until + shift <= now:
            return False
        self._failure = TokenRequestFailed(Kind(pause.kind), pause.message)
        self._failures, self._not_before = pause.row, pause.until + shift
        return True

    def _adopt(self, entry: Entry) -> bool:
        """Take a token that another one got, unless it is the one that is held, and perhaps to be replaced."""
        if self._token is not None and entry.value == self._token.value:
            return False
        now = self._clock.now()
        left = entry.expires_at - self._clock.wall()
        token = issue(
            Grant(entry.value, left), asked_at=now, configured_margin=self._margin, jitter=self._clock.jitter(0, 1)
        )
        if left <= 0 or token.stale(now):
            return False
        self._hold(token)
        self._witness.adopted(left)
        return True

    def _hold(self, token: AccessToken) -> None:
        self._token = token
        self._unwanted = self._failure = None
        self._failures, self._not_before = 0, 0.0
        self._witness.holds(self._clock.wall() + token.expires_at - self._clock.now())

    def _failed(self, failure: TokenRequestFailed) -> Pause:
        """Wait after a failure; what others are to know of it."""
        same = self._failure is not None and (self._failure.kind is Kind.CREDENTIALS) is (
            failure.kind is Kind.CREDENTIALS
        )
        self._failure, self._failures = failure, self._failures + 1 if same else 1
        pause = self._clock.jitter(*bound(failure, self._failures))
        self._not_before = self._clock.now() + pause
        self._witness.failed(failure, pause)
        return Pause(self._clock.wall() + pause, failure.kind.value, failure.message, self._failures)

    def _usable(self) -> AccessToken | None:
        """The token, unless it is expired, or rejected and its replacement still on its way."""
        token = self._token
        if token is None or not token.valid(self._clock.now()):
            return None
        return token if self._unwanted is None or self._failure is not None else None

    def _replacement(self, rejected: AccessToken) -> AccessToken | None:
        """Any valid token once this one is no longer waiting to be replaced."""
        token = self._token
        if token is None or self._unwanted == rejected.value or not token.valid(self._clock.now()):
            return None
        return token

    async def _wait(self, wanted: Callable[[], AccessToken | None]) -> AccessToken:
        deadline = self._clock.now() + PATIENCE
        while True:
            if (token := wanted()) is not None:
                return token
            now = self._clock.now()
            due = now if self._asking else self._next()
            if due > deadline or now >= deadline:
                raise self._unavailable(due - now)
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await wait(self._clock, self._news, deadline - now)

    def _unavailable(self, pause: float) -> SidecarError:
        failure = self._failure
        if failure is not None and failure.kind is Kind.CREDENTIALS:
            return CredentialsRejected(failure.message, retry_after=pause)
        if failure is not None:
            return TokenUnavailable(f"No token for this call: {failure.message}", retry_after=pause)
        if pause > PATIENCE:
            reason = "the hourly budget of token requests is spent"
        else:
            reason = "the token endpoint has not answered yet"
        return TokenUnavailable(f"No token for this call: {reason}", retry_after=pause)

    def _wake(self) -> None:
        if self._nudge is not None and not self._nudge.done():
            self._nudge.set_result(None)
