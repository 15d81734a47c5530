"""How long to wait, in prose."""

import pytest

from breeze_sidecar.token.prose import wait_in_prose

BREEZE = "Rate limit exceeded for OAuth token requests. Maximum 100 requests per hour allowed. Try again in {}."


@pytest.mark.parametrize(
    ("description", "retry_after", "seconds"),
    [
        pytest.param(BREEZE.format("420 seconds"), None, 420, id="as documented"),
        pytest.param(BREEZE.format("1 second"), None, 1, id="one second"),
        pytest.param(BREEZE.format("7 minutes"), None, 420, id="minutes"),
        pytest.param(BREEZE.format("1 hour"), None, 3600, id="an hour"),
        pytest.param(BREEZE.format("99999999 seconds"), None, 3600, id="longer than the window"),
        pytest.param(BREEZE.format("a while"), None, None, id="no number"),
        pytest.param("Maximum 100 requests per 1 hour", None, None, id="the limit is no wait"),
        pytest.param("", None, None, id="nothing"),
        pytest.param("", "30", 30, id="the field"),
        pytest.param(BREEZE.format("420 seconds"), "30", 30, id="the field first"),
        pytest.param(BREEZE.format("420 seconds"), "soon", 420, id="a field that says nothing"),
    ],
)
def test_the_wait(description: str, retry_after: str | None, seconds: float | None) -> None:
    assert wait_in_prose(description, retry_after) == seconds
