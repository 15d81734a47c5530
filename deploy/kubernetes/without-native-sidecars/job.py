"""A job that waits for its sidecar, makes its call, and ends the sidecar whatever happens."""

import json
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

ADMIN, GRAPHQL = "http://127.0.0.1:4748", "http://127.0.0.1:4747/graphql"


def ready() -> bool:
    """Whether the sidecar holds a token."""
    try:
        with urlopen(f"{ADMIN}/readyz", timeout=5):
            return True
    except URLError:
        return False


deadline = time.monotonic() + 120
while not ready() and time.monotonic() < deadline:
    time.sleep(1)
try:
    body = json.dumps({"query": "query WhoAmI { Me { userId } }"}).encode()
    with urlopen(Request(GRAPHQL, body, {"Content-Type": "application/json"}), timeout=60) as answer:
        print(answer.read().decode())
finally:
    urlopen(Request(f"{ADMIN}/quitquitquit", method="POST"), timeout=5).close()
