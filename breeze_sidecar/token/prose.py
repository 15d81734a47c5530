"""How long to wait, as the token endpoint says in prose (pure)."""

import re

#: Seconds; the limit's window is an hour.
LONGEST = 3600.0
_WAIT = re.compile(r"\b(\d{1,9}(?:\.\d{1,9})?)\s*(second|sec|s|minute|min|m|hour|h)s?\b", re.IGNORECASE | re.ASCII)
_TRY_AGAIN = re.compile(r"(?:again|retry|wait)(.*)", re.IGNORECASE | re.DOTALL)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def wait_in_prose(description: str, retry_after: str | None) -> float | None:
    """Seconds to wait: what Retry-After says, else "Try again in 420 seconds"; None where neither says anything.

    Args:
        description: the OAuth error's description.
        retry_after: the Retry-After field, or None.
    """
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST)
    where = _TRY_AGAIN.search(description)
    found = _WAIT.search(where[1]) if where else None
    return None if found is None else min(float(found[1]) * _UNITS[found[2][0].lower()], LONGEST)
