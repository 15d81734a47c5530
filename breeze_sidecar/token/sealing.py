"""Seals tokens for caches, so that who reads the store without the client secret has nothing."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from breeze_sidecar.token.caches import Entry, Pause

#: Bytes.
_KEY, _NAME, _NONCE = 32, 8, 12
_VERSION = b"breeze-sidecar token cache 1"


@dataclass(frozen=True, slots=True)
class _Keys:
    secret: str
    cipher: ChaCha20Poly1305
    name: str


class Sealer:
    """An AEAD under a key derived (HKDF, RFC 5869) from the client secret, bound to base URL and client_id.

    Another secret, environment or client cannot open what this one sealed.

    Attributes:
        client: names base URL and client_id in a store; tells nothing of the secret.

    Args:
        base_url: of Breeze.
        client_id: of the client.
        read_secret: the secret as it is now; raises ValueError.
    """

    def __init__(self, base_url: str, client_id: str, read_secret: Callable[[], str]) -> None:
        self._context = b"\0".join((_VERSION, base_url.encode(), client_id.encode()))
        self.client = hashlib.sha256(self._context).hexdigest()[:32]
        self._read_secret = read_secret
        self._keys: _Keys | None = None

    @property
    def name(self) -> str:
        """Names the secret in a store: derived as the key is, so it tells nothing of it.

        Raises:
            ValueError: the secret cannot be read.
        """
        return self._current().name

    def seal(self, content: Entry | Pause) -> bytes:
        """Make it unreadable.

        Raises:
            ValueError: the secret cannot be read.
        """
        nonce = os.urandom(_NONCE)
        plain = json.dumps(asdict(content)).encode()
        return nonce + self._current().cipher.encrypt(nonce, plain, self._associated(type(content)))

    def open_entry(self, sealed: bytes) -> Entry | None:
        """The token; None for what this secret did not seal, or what was changed.

        Raises:
            ValueError: the secret cannot be read.
        """
        plain = self._open(sealed, Entry)
        return None if plain is None else Entry(str(plain["value"]), float(plain["expires_at"]))

    def open_pause(self, sealed: bytes) -> Pause | None:
        """The pause; None and errors as `open_entry`."""
        plain = self._open(sealed, Pause)
        if plain is None:
            return None
        return Pause(float(plain["until"]), str(plain["kind"]), str(plain["message"]), int(plain["row"]))

    def _open(self, sealed: bytes, kind: type[Entry | Pause]) -> dict[str, str] | None:
        cipher = self._current().cipher
        try:
            plain = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._associated(kind))
        except (InvalidTag, ValueError):
            return None
        content: dict[str, str] = json.loads(plain)
        return content

    def _associated(self, kind: type[Entry | Pause]) -> bytes:
        """What an entry and a pause are bound to, each, so that one is never taken for the other."""
        return self._context + b"\0" + kind.__name__.encode()

    def _current(self) -> _Keys:
        secret = self._read_secret()
        if self._keys is None or self._keys.secret != secret:
            derived = HKDF(SHA256(), _KEY + _NAME, salt=None, info=self._context).derive(secret.encode())
            self._keys = _Keys(secret, ChaCha20Poly1305(derived[:_KEY]), derived[_KEY:].hex())
        return self._keys
