"""Real clients through a sidecar, over a token's expiry: curl, Node's fetch and Java's HttpClient.

Each makes a query, then a mutation on a token that Breeze no longer accepts, then a query after the next token's
lifetime has passed. Needs breeze-sidecar installed; a client that is not on this machine is left out, and said so.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
LIFETIME = 4.0
QUERY = "query WhoAmI { Me { _id email } }"
MUTATION = 'mutation Order { CredentialOrderV1(credential: {template_id: "sample-template-1", data: []}) { _id } }'


def main() -> int:
    """Run all; 0 if each client that is here got every answer, and each order was made once."""
    command = [str(Path(sys.executable).with_name("breeze-sidecar")), "demo", "--port", "0", "--admin-port", "0"]
    command += ["--token-lifetime", str(LIFETIME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 # our own command
        try:
            url, breeze = addresses(demo)
            print(f"sidecar {url}, emulator {breeze}, token lifetime {LIFETIME:g} s")
            return 0 if sum(not works(name, url, breeze) for name in ("curl", "node", "java")) == 0 else 1
        finally:
            demo.terminate()
            if demo.stdout is not None:
                demo.stdout.read()


def addresses(demo: "subprocess.Popen[str]") -> tuple[str, str]:
    """The sidecar's /graphql and the emulator's control endpoint, as the demo prints them."""
    url = ""
    for line in demo.stdout or ():
        if line.startswith("curl "):
            url = next(word for word in line.split() if word.startswith("http"))
        if line.startswith("What Breeze saw: "):
            return url, line.split()[3].rstrip(";")
    raise SystemExit("the demo did not start")


def works(name: str, url: str, breeze: str) -> bool:
    """Whether this client got its answers."""
    if shutil.which(name) is None:
        print(f"{name:5} is not on this machine: left out")
        return True
    orders = seen(breeze)["order_count"]
    query = call(name, url, QUERY)
    seen(breeze, "/revoke")
    mutation = call(name, url, MUTATION)
    time.sleep(LIFETIME)
    later = call(name, url, QUERY)
    made = seen(breeze)["order_count"] - orders
    good = all("user@example.com" in answer for answer in (query, later)) and "sample-order" in mutation and made == 1
    tokens = seen(breeze)["token_requests"]
    print(f"{name:5} {'works' if good else 'FAILED'}: query, mutation, query; {made} order; {tokens} tokens so far")
    if not good:
        print(query, mutation, later, sep="\n")
    return good


def call(name: str, url: str, document: str) -> str:
    """What this client prints."""
    body = json.dumps({"query": document})
    command = {
        "curl": ["curl", "-s", url, "-H", "Content-Type: application/json", "-d", body],
        "node": ["node", str(HERE / "client.mjs"), url, document],
        "java": ["java", str(HERE / "Client.java"), url, document],
    }[name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 # as above
    return done.stdout + done.stderr


def seen(breeze: str, path: str = "") -> dict[str, int]:
    """What the emulator has seen, or what a POST to its control endpoint brought."""
    request = Request(breeze + path, method="POST" if path else "GET")  # noqa: S310 # the demo's own address
    with urlopen(request) as answer:  # noqa: S310 # as above
        found: dict[str, int] = json.load(answer)
    return found


if __name__ == "__main__":
    sys.exit(main())
