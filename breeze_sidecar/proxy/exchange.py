"""The story of one call: take a token, send, judge the answer, replay once, wait once.

Three ports, no I/O of its own: the tokens, the upstream, the clock.
"""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from breeze_sidecar.clock import Clock
from breeze_sidecar.errors import UpstreamUnreachable
from breeze_sidecar.proxy.fields import ResponseFields
from breeze_sidecar.proxy.operation import Operation, read
from breeze_sidecar.proxy.rate_limit import wait_of_429
from breeze_sidecar.proxy.verdict import LOOK, Verdict, judge, replay_is_safe, worth_reading
from breeze_sidecar.token.access_token import AccessToken

TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class Call(Protocol):
    """What the exchange reads of a call."""

    @property
    def target(self) -> str: ...  # noqa: D102 # see upstream.Call
    @property
    def body(self) -> bytes: ...  # noqa: D102 # see upstream.Call
    @property
    def coding(self) -> str: ...  # noqa: D102 # see upstream.Call


class Answer(Protocol):
    """What the exchange does with an answer; see upstream.Answer."""

    @property
    def status(self) -> int: ...  # noqa: D102 # see upstream.Answer
    @property
    def fields(self) -> ResponseFields: ...  # noqa: D102 # see upstream.Answer
    @property
    def head(self) -> bytes: ...  # noqa: D102 # see upstream.Answer
    @property
    def complete(self) -> bool: ...  # noqa: D102 # see upstream.Answer
    async def look(self, limit: int) -> None: ...  # noqa: D102 # see upstream.Answer
    def release(self) -> None: ...  # noqa: D102 # see upstream.Answer


CallT = TypeVar("CallT", bound=Call)
AnswerT = TypeVar("AnswerT", bound=Answer)
CallT_contra = TypeVar("CallT_contra", bound=Call, contravariant=True)
AnswerT_co = TypeVar("AnswerT_co", bound=Answer, covariant=True)


class Tokens(Protocol):
    """Where tokens come from; see token.source.TokenSource."""

    async def get(self) -> AccessToken: ...  # noqa: D102 # see TokenSource
    async def replace(self, rejected: AccessToken) -> AccessToken | None: ...  # noqa: D102 # see TokenSource
    def discard(self, rejected: AccessToken) -> bool: ...  # noqa: D102 # see TokenSource
    def accepted(self, token: AccessToken) -> None: ...  # noqa: D102 # see TokenSource


class Upstream(Protocol[CallT_contra, AnswerT_co]):
    """Where calls go; see upstream.Upstream."""

    async def send(self, call: CallT_contra, token: AccessToken, *, again: bool = False) -> AnswerT_co: ...  # noqa: D102 # see Upstream


@dataclass(frozen=True, slots=True)
class Exchanged(Generic[AnswerT]):
    """How a call went.

    Attributes:
        answer: Breeze's, to be passed on.
        replay: "accepted" or "rejected" after a replay, "unsafe" or "withheld" where one was called for; else None.
        retry_after: seconds to put into Retry-After, for a 429 that says nothing itself; else None.
    """

    answer: AnswerT
    replay: str | None = None
    retry_after: float | None = None


class Exchange(Generic[CallT, AnswerT]):
    """Performs calls.

    Args:
        tokens: gives and replaces tokens.
        upstream: sends.
        clock: the time.
        max_wait: BREEZE_RATE_LIMIT_MAX_WAIT, seconds.
    """

    def __init__(self, tokens: Tokens, upstream: Upstream[CallT, AnswerT], clock: Clock, *, max_wait: float) -> None:
        self._tokens = tokens
        self._upstream = upstream
        self._clock = clock
        self._max_wait = max_wait

    async def perform(self, call: CallT) -> Exchanged[AnswerT]:
        """Bring the call to Breeze and its answer back.

        Raises:
            SidecarError: there is no answer to pass on.
        """
        token = await self._tokens.get()
        answer = await self._send(call, token)
        verdict = self._judge(answer, token)
        if not verdict.token_is_dead:
            return self._passed(answer)
        if not replay_is_safe(verdict, _operation(call)):
            self._tokens.discard(token)
            return Exchanged(answer, "unsafe")
        another = await self._replacement(answer, token)
        if another is None:
            return Exchanged(answer, "withheld")
        answer.release()
        answer = await self._send(call, another)
        if self._judge(answer, another).token_is_dead:
            self._tokens.discard(another)
            return Exchanged(answer, "rejected")
        return self._passed(answer, "accepted")

    async def _send(self, call: CallT, token: AccessToken) -> AnswerT:
        """Send, and wait for a rate limit that passes soon enough: a 429 stands before execution."""
        deadline = self._clock.now() + self._max_wait
        attempt = 0
        while True:
            answer = await self._send_unbroken(call, token)
            if answer.status != TOO_MANY_REQUESTS:
                return answer
            pause = wait_of_429(answer.fields, wall=self._clock.wall(), attempt=attempt)
            if self._clock.now() + pause > deadline:
                return answer
            answer.release()
            await self._clock.sleep(pause)
            attempt += 1

    async def _send_unbroken(self, call: CallT, token: AccessToken) -> AnswerT:
        """Send, and send a query once more where the connection broke under it."""
        try:
            return await self._send_once(call, token, again=False)
        except UpstreamUnreachable as error:
            if not error.sent or not _operation(call).query:
                raise
        return await self._send_once(call, token, again=True)

    async def _send_once(self, call: CallT, token: AccessToken, *, again: bool) -> AnswerT:
        answer = await self._upstream.send(call, token, again=again)
        if not answer.complete and worth_reading(answer.fields.content_type):
            await answer.look(LOOK)
        return answer

    def _judge(self, answer: AnswerT, token: AccessToken) -> Verdict:
        fields = answer.fields
        verdict = judge(
            answer.status, fields.content_type, fields.content_encoding, answer.head, complete=answer.complete
        )
        if not verdict.token_is_dead and answer.status < _SERVER_ERROR and answer.status != TOO_MANY_REQUESTS:
            self._tokens.accepted(token)
        return verdict

    async def _replacement(self, answer: AnswerT, token: AccessToken) -> AccessToken | None:
        try:
            return await self._tokens.replace(token)
        except BaseException:
            answer.release()
            raise

    def _passed(self, answer: AnswerT, replay: str | None = None) -> Exchanged[AnswerT]:
        if answer.status != TOO_MANY_REQUESTS or answer.fields.retry_after is not None:
            return Exchanged(answer, replay)
        return Exchanged(answer, replay, wait_of_429(answer.fields, wall=self._clock.wall(), attempt=0))


def _operation(call: Call) -> Operation:
    return read(call.body, call.coding, call.target)
