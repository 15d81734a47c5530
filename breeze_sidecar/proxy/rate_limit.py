"""What Breeze's rate limit fields say (pure)."""

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from breeze_sidecar.proxy.fields import ResponseFields

#: Seconds; no longer wait is believed: the window is an hour.
LONGEST = 86400.0
#: Doublings after which the backoff grows no more.
_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """The GraphQL rate limit: calls in the window, calls left, and the Unix time at which it resets."""

    limit: float | None
    remaining: float | None
    reset: float | None


def limits(rate_limit: tuple[str | None, str | None, str | None]) -> Limits:
    """The fields' numbers; what is missing or malformed is None."""
    return Limits(*map(_number, rate_limit))


def wait_of_429(fields: ResponseFields, *, wall: float, attempt: int) -> float:
    """Seconds until a call that was answered 429 may be sent again.

    Args:
        fields: of the response.
        wall: Unix time here, used only where the response bears no Date.
        attempt: how often this call has waited already; the backoff doubles from 1 s where the response says nothing.
    """
    date = _date(fields.date)
    here = wall if date is None else date
    if fields.retry_after is not None:
        seconds = _number(fields.retry_after)
        moment = _date(fields.retry_after) if seconds is None else here + seconds
    else:
        moment = _number(fields.rate_limit[2])
    if moment is None:
        return 2.0 ** min(attempt, _DOUBLINGS)
    return min(max(0.0, moment - here), LONGEST)


def retry_after_value(seconds: float) -> str:
    """The Retry-After field for this wait: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


def _number(text: str | None) -> float | None:
    if text is None or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
