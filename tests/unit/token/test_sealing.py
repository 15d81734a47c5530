"""token/sealing.py: who reads a store without the secret has nothing."""

import pytest

from breeze_sidecar.token.caches import Entry, Pause
from breeze_sidecar.token.sealing import Sealer

ENTRY = Entry("eyJa.token.value", 1_800_000_000.5)
PAUSE = Pause(1_800_000_000.0, "failed", "the token endpoint answered 503", 3)


def sealer(secret: str = "the-secret", base_url: str = "https://breeze", client_id: str = "oauth_a") -> Sealer:
    return Sealer(base_url, client_id, lambda: secret)


def test_what_was_sealed_can_be_opened_and_shows_nothing() -> None:
    sealed = sealer().seal(ENTRY)
    assert sealer().open_entry(sealed) == ENTRY
    assert sealer().open_pause(sealer().seal(PAUSE)) == PAUSE
    assert b"token" not in sealed
    assert sealer().seal(ENTRY) != sealed, "a nonce of its own each time"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(sealer(secret="rotated"), id="another secret"),
        pytest.param(sealer(base_url="https://other"), id="another environment"),
        pytest.param(sealer(client_id="oauth_b"), id="another client"),
    ],
)
def test_nobody_else_can_open_it(other: Sealer) -> None:
    assert other.open_entry(sealer().seal(ENTRY)) is None
    assert other.name != sealer().name, "the key is bound to all three, not only the sealed text"


def test_a_pause_is_no_entry() -> None:
    assert sealer().open_entry(sealer().seal(PAUSE)) is None


@pytest.mark.parametrize("at", [0, 12, 20, -1])
def test_what_was_changed_or_cut_cannot_be_opened(at: int) -> None:
    sealed = bytearray(sealer().seal(ENTRY))
    sealed[at] ^= 1
    assert sealer().open_entry(bytes(sealed)) is None
    assert sealer().open_entry(bytes(sealed[: at if at > 0 else 5])) is None
    assert sealer().open_entry(b"") is None


def test_a_rotated_secret_is_used_from_then_on() -> None:
    secrets = ["first"]
    rotating = Sealer("https://breeze", "oauth_a", lambda: secrets[0])
    before, name = rotating.seal(ENTRY), rotating.name
    secrets[0] = "second"
    assert rotating.open_entry(before) is None
    assert rotating.open_entry(rotating.seal(ENTRY)) == ENTRY
    assert rotating.name != name


def test_an_unreadable_secret_is_an_error() -> None:
    def fail() -> str:
        raise ValueError("BREEZE_CLIENT_SECRET_FILE: gone")

    with pytest.raises(ValueError, match="gone"):
        Sealer("https://breeze", "oauth_a", fail).seal(ENTRY)
