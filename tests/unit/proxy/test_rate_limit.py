"""What the rate limit's fields say."""

import pytest

from breeze_sidecar.proxy.fields import response_fields
from breeze_sidecar.proxy.rate_limit import Limits, limits, retry_after_value, wait_of_429

DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"
UNIX = 1_800_000_000.0


@pytest.mark.parametrize(
    ("fields", "attempt", "seconds"),
    [
        pytest.param({}, 0, 1, id="nothing said"),
        pytest.param({}, 3, 8, id="nothing said, again"),
        pytest.param({}, 5000, 1024, id="nothing said, for ever"),
        pytest.param({b"Retry-After": b"7"}, 0, 7, id="seconds"),
        pytest.param({b"Retry-After": b"Fri, 15 Jan 2027 08:00:09 GMT"}, 0, 9, id="a date"),
        pytest.param({b"Retry-After": b"Fri, 15 Jan 2027 07:00:00 GMT"}, 0, 0, id="a date that has passed"),
        pytest.param({b"Retry-After": b"soon"}, 1, 2, id="nonsense"),
        pytest.param({b"Retry-After": b"-5"}, 1, 2, id="negative"),
        pytest.param({b"Retry-After": b"1e999"}, 1, 2, id="infinite"),
        pytest.param({b"Retry-After": b"nan"}, 1, 2, id="not a number"),
        pytest.param({b"Retry-After": b"\xb2"}, 1, 2, id="not ASCII"),
        pytest.param({b"Retry-After": b"99999999"}, 0, 86400, id="too long to be believed"),
        pytest.param({b"X-RateLimit-Reset": b"1800000005"}, 0, 5, id="a reset"),
        pytest.param({b"X-RateLimit-Reset": b"1799999000"}, 0, 0, id="a reset that has passed"),
        pytest.param({b"X-RateLimit-Reset": b"1800000005", b"Retry-After": b"1"}, 0, 1, id="Retry-After first"),
    ],
)
def test_the_wait_of_a_429(fields: dict[bytes, bytes], attempt: int, seconds: float) -> None:
    answer = response_fields([*fields.items(), (b"Date", DATE)])
    assert wait_of_429(answer, wall=0, attempt=attempt) == seconds


@pytest.mark.parametrize("date", [[], [(b"Date", b"nonsense")]])
def test_without_a_date_this_machines_clock_is_used(date: list[tuple[bytes, bytes]]) -> None:
    answer = response_fields([(b"X-RateLimit-Reset", b"1800000005"), *date])
    assert wait_of_429(answer, wall=UNIX, attempt=0) == 5


def test_limits_are_numbers_or_nothing() -> None:
    assert limits(("3600", "12", "1800000000")) == Limits(3600, 12, UNIX)
    assert limits((None, "x", "-1")) == Limits(None, None, None)


def test_retry_after_is_whole_seconds_and_never_none() -> None:
    assert [retry_after_value(seconds) for seconds in (0, 0.2, 1, 1.2)] == ["1", "1", "1", "2"]
