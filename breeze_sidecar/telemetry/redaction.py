"""Takes secrets and tokens out of whatever is about to leave: the second line of defence."""

import base64
import json
import re
from collections import OrderedDict
from urllib.parse import quote

MASK = "[redacted]"
#: Tokens that are remembered; older ones have expired.
_REMEMBERED = 16
#: Characters; a shorter secret would be found in every word.
_SHORTEST = 4
_PATTERNS = (
    r"(?<=Bearer )[A-Za-z0-9\-._~+/=]+",
    r"eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,2}",
    r'(?<="client_secret": ")[^"]+',
    r'(?<="client_secret":")[^"]+',
)
#: What a line that matches one of the patterns holds; looking for a text takes a hundredth of looking for a pattern.
_SIGNS = ("Bearer ", "eyJ", '"client_secret"')


class Redactor:
    """Knows the secrets and tokens in use, in the forms in which they could turn up."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._compile()

    def add(self, secret: str, *, keep: bool = False) -> None:
        """Remember a secret or token.

        Args:
            secret: as it is sent.
            keep: for ever, as the client's secret; tokens make room for newer ones.
        """
        if len(secret) < _SHORTEST or secret in self._kept:
            return
        if not keep and secret in self._recent:
            self._recent.move_to_end(secret)
            return
        if keep:
            self._kept.add(secret)
        else:
            self._recent[secret] = None
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        self._compile()

    def clean(self, text: str) -> str:
        """The text with each secret masked."""
        for sign in self._signs:
            if sign in text:
                return self._pattern.sub(MASK, text)
        return text

    def clean_bytes(self, line: bytes) -> bytes:
        """The same for bytes."""
        for sign in self._signs_of_bytes:
            if sign in line:
                return self._pattern_of_bytes.sub(MASK.encode(), line)
        return line

    def _compile(self) -> None:
        forms = {form for secret in (*self._kept, *self._recent) for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        pattern = "|".join((*map(re.escape, longest_first), *_PATTERNS))
        self._pattern = re.compile(pattern)
        self._pattern_of_bytes = re.compile(pattern.encode())
        self._signs = (*_SIGNS, *longest_first)
        self._signs_of_bytes = tuple(sign.encode() for sign in self._signs)


def _forms(secret: str) -> set[str]:
    data = secret.encode()
    encoded = {coder(data).decode() for coder in (base64.b64encode, base64.urlsafe_b64encode)}
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
        *(form.rstrip("=") for form in encoded),
    }
