"""When the next token request may leave after one that failed, and after a token that was rejected (pure)."""

from enum import Enum

#: Seconds between attempts with credentials that were rejected: the first wait, and the longest.
CREDENTIALS_FIRST, CREDENTIALS_LONGEST = 30.0, 300.0
#: Seconds; full jitter is drawn from 0 to a bound that doubles from 1 up to this.
FAILURE_LONGEST = 60.0
#: Seconds; the same for requests that reached Breeze: thirty an hour on average, which the budget can bear for ever.
ANSWERED_LONGEST = 120.0
#: Seconds; a cool-down doubles from 1 up to this.
COOL_DOWN_LONGEST = 60.0


class Kind(Enum):
    """Why a token request failed; the value is the metric's label."""

    CREDENTIALS = "rejected"
    RATE_LIMITED = "rate_limited"
    MALFORMED = "malformed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


class TokenRequestFailed(Exception):  # named as the event it reports
    """One token request brought no token.

    Attributes:
        kind: why.
        message: a sentence without secrets.
        wait: seconds that Breeze asked to wait, where it did.
    """

    def __init__(self, kind: Kind, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.wait = wait


def bound(failure: TokenRequestFailed, row: int) -> tuple[float, float]:
    """The shortest and longest wait, in seconds, after this failure, the row-th (from 1) in a row."""
    doubled = 2.0 ** min(row - 1, 20)
    match failure.kind:
        case Kind.CREDENTIALS:
            wait = min(CREDENTIALS_FIRST * doubled, CREDENTIALS_LONGEST)
            return wait, wait
        case Kind.RATE_LIMITED:
            wait = 60.0 if failure.wait is None else failure.wait
            return wait, wait + 1
        case Kind.UNREACHABLE:
            return 0.0, min(doubled, FAILURE_LONGEST)
        case Kind.MALFORMED | Kind.FAILED:
            return 0.0, min(doubled, ANSWERED_LONGEST)


def cool_down(row: int) -> float:
    """Seconds for which the row-th token in a row to be rejected is kept: none for the first."""
    return 0.0 if row < 2 else min(2.0 ** min(row - 2, 20), COOL_DOWN_LONGEST)  # noqa: PLR2004 # the second in a row
