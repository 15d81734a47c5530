"""A token's life."""

import pytest

from breeze_sidecar.token.access_token import AccessToken, Grant, MalformedGrantError, issue, margin, repeat


@pytest.mark.parametrize(
    ("members", "lifetime"),
    [
        pytest.param({}, 3600, id="no expires_in"),
        pytest.param({"expires_in": None}, 3600, id="null"),
        pytest.param({"expires_in": 60}, 60, id="integer"),
        pytest.param({"expires_in": 59.5}, 59.5, id="float"),
        pytest.param({"expires_in": "60"}, 60, id="string of digits"),
        pytest.param({"expires_in": 10**400 // 10**390}, 2592000, id="longer than is believed"),
        pytest.param({"token_type": "bearer"}, 3600, id="lower case"),
        pytest.param({"token_type": "BEARER", "scope": "x"}, 3600, id="upper case"),
    ],
)
def test_a_grant(members: dict[str, object], lifetime: float) -> None:
    assert Grant.parse({"access_token": "a.b-c_d~+/==", **members}) == Grant("a.b-c_d~+/==", lifetime)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param([], "not a JSON object", id="a list"),
        pytest.param({}, "no access_token", id="no token"),
        pytest.param({"access_token": ""}, "no access_token", id="an empty token"),
        pytest.param({"access_token": 7}, "no access_token", id="a number"),
        pytest.param({"access_token": "a b"}, "characters", id="a space"),
        pytest.param({"access_token": "a\r\nX: y"}, "characters", id="a line end"),
        pytest.param({"access_token": "a\n"}, "characters", id="a line end at the end"),
        pytest.param({"access_token": "å"}, "characters", id="not ASCII"),
        pytest.param({"access_token": "a", "token_type": "mac"}, "token_type", id="another type"),
        pytest.param({"access_token": "a", "token_type": None}, "token_type", id="no type"),
        pytest.param({"access_token": "a", "expires_in": -1}, "positive", id="negative"),
        pytest.param({"access_token": "a", "expires_in": 0}, "positive", id="zero"),
        pytest.param({"access_token": "a", "expires_in": float("nan")}, "positive", id="NaN"),
        pytest.param({"access_token": "a", "expires_in": True}, "number", id="a boolean"),
        pytest.param({"access_token": "a", "expires_in": "soon"}, "number", id="prose"),
        pytest.param({"access_token": "a", "expires_in": 10**400}, "number", id="beyond a float"),
        pytest.param({"access_token": "a", "expires_in": []}, "number", id="a list as lifetime"),
    ],
)
def test_a_malformed_grant_says_what_is_wrong(answer: object, says: str) -> None:
    with pytest.raises(MalformedGrantError, match=says):
        Grant.parse(answer)


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(Grant("secret", 1)) + repr(AccessToken("secret", 1, 1))


@pytest.mark.parametrize(("lifetime", "ahead"), [(3600, 300), (300, 60), (30, 6), (1500, 300)])
def test_the_margin_is_at_most_a_fifth(lifetime: float, ahead: float) -> None:
    assert margin(lifetime, 300) == ahead


def test_a_token_is_fresh_then_stale_then_expired() -> None:
    token = issue(Grant("a", 3600), asked_at=100, configured_margin=300, jitter=0)
    assert not token.stale(3399)
    assert token.stale(3400)
    assert token.valid(3699)
    assert not token.valid(3700)


def test_jitter_moves_the_refresh_by_a_tenth_of_the_margin_at_most() -> None:
    assert issue(Grant("a", 3600), asked_at=0, configured_margin=300, jitter=1).refresh_at == 3270


def test_a_repeated_token_keeps_its_end_and_is_asked_for_after_half_of_what_is_left() -> None:
    held = AccessToken("a", 3600, 3300)
    assert repeat(held, Grant("a", 3600), asked_at=3300, now=3300) == AccessToken("a", 3600, 3450)
    assert repeat(held, Grant("a", 100), asked_at=3300, now=3300) == AccessToken("a", 3400, 3350)
    assert repeat(held, Grant("a", 3600), asked_at=3595, now=3595) == AccessToken("a", 3600, 3600)
