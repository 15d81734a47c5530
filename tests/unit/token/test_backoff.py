"""token/backoff.py: how long until the next token request."""

import pytest

from breeze_sidecar.token.backoff import Kind, TokenRequestFailed, bound, cool_down


@pytest.mark.parametrize(
    ("kind", "wait", "row", "bounds"),
    [
        (Kind.CREDENTIALS, None, 1, (30, 30)),
        (Kind.CREDENTIALS, None, 2, (60, 60)),
        (Kind.CREDENTIALS, None, 99, (300, 300)),
        (Kind.RATE_LIMITED, None, 1, (60, 61)),
        (Kind.RATE_LIMITED, 420.0, 9, (420, 421)),
        (Kind.UNREACHABLE, None, 1, (0, 1)),
        (Kind.UNREACHABLE, None, 99, (0, 60)),
        (Kind.FAILED, None, 3, (0, 4)),
        (Kind.MALFORMED, None, 99, (0, 120)),
    ],
)
def test_the_wait_after_a_failure(kind: Kind, wait: float | None, row: int, bounds: tuple[float, float]) -> None:
    assert bound(TokenRequestFailed(kind, "x", wait=wait), row) == bounds


@pytest.mark.parametrize(("row", "seconds"), [(1, 0), (2, 1), (3, 2), (7, 32), (8, 60), (99, 60)])
def test_the_cool_down_begins_with_the_second_rejection_in_a_row_and_doubles(row: int, seconds: float) -> None:
    assert cool_down(row) == seconds
