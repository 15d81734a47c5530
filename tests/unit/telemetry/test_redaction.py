"""telemetry/redaction.py: secrets and tokens are masked in each form in which they could turn up."""

import base64
import json
from urllib.parse import quote

import pytest

from breeze_sidecar.telemetry.redaction import MASK, Redactor

SECRET = 'a "sample" sécret+/='


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(SECRET, id="itself"),
        pytest.param(json.dumps(SECRET)[1:-1], id="JSON"),
        pytest.param(json.dumps(SECRET, ensure_ascii=False)[1:-1], id="JSON in UTF-8"),
        pytest.param(quote(SECRET, safe=""), id="percent-encoded"),
        pytest.param(base64.b64encode(SECRET.encode()).decode().rstrip("="), id="base64"),
        pytest.param(base64.urlsafe_b64encode(SECRET.encode()).decode(), id="base64url"),
    ],
)
def test_a_known_secret_is_masked_in_each_form(form: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET, keep=True)
    assert form.rstrip("=") not in redactor.clean(f"before {form} after")
    assert redactor.clean_bytes(f"before {form} after".encode()).startswith(f"before {MASK}".encode())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("Bearer abc.def-123=", f"Bearer {MASK}", id="a bearer token"),
        pytest.param("x eyJhbGciOiJI.eyJzdWIi.sig y", f"x {MASK} y", id="a JWT"),
        pytest.param("x eyJhbGciOiJI.eyJzd", f"x {MASK}", id="a JWT that was cut"),
        pytest.param('{"client_secret": "anything"}', f'{{"client_secret": "{MASK}"}}', id="a token request"),
        pytest.param("an innocent line", "an innocent line", id="nothing"),
    ],
)
def test_what_looks_like_a_secret_is_masked_without_being_known(text: str, cleaned: str) -> None:
    assert Redactor().clean(text) == cleaned


def test_old_tokens_make_room_and_the_secret_stays() -> None:
    redactor = Redactor()
    redactor.add("the-secret", keep=True)
    redactor.add("often-used")
    for n in range(15):
        redactor.add(f"token-number-{n}")
        redactor.add("often-used")
    redactor.add("token-number-15")
    assert redactor.clean("the-secret often-used") == f"{MASK} {MASK}"
    assert redactor.clean("token-number-0.") == "token-number-0."
    assert redactor.clean("token-number-15.") == f"{MASK}."


def test_a_secret_that_would_be_found_in_every_word_is_not_looked_for() -> None:
    redactor = Redactor()
    redactor.add("a")
    assert redactor.clean("banana") == "banana"
