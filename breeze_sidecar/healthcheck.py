"""`breeze-sidecar healthcheck`: asks the admin port. Little of the standard library: it runs every few seconds."""

import os
import socket
import sys
import time

USAGE = "usage: breeze-sidecar healthcheck [--live] [--wait SECONDS] [--admin-host HOST] [--admin-port PORT]"
#: Seconds for one answer, and between two attempts of --wait.
_TIMEOUT, _PAUSE = 5.0, 0.2
_LONGEST = 4096


def main(arguments: list[str]) -> int:
    """Ask once, or until ready; 0 if it is, 1 if not, 2 for arguments that make no sense."""
    try:
        options = _options(arguments)
        host, port = _address(options)
        wait = float(options.get("--wait", "0"))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 # its purpose
        return 2
    if "--help" in options:
        print(USAGE)  # noqa: T201 # its purpose
        return 0
    path = "/livez" if "--live" in options else "/readyz"
    until = time.monotonic() + wait
    while True:
        works, said = _ask(host, port, path)
        if works or time.monotonic() + _PAUSE > until:
            print(said)  # noqa: T201 # its purpose
            return 0 if works else 1
        time.sleep(_PAUSE)


def _options(arguments: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in {"--live", "--help", "-h"} and not equals:
            options["--help" if name == "-h" else name] = ""
        elif name in {"--wait", "--admin-host", "--admin-port"} and (equals or rest):
            options[name] = value if equals else rest.pop(0)
        else:
            raise ValueError(f"healthcheck does not know {name}, or misses its value; {USAGE}")
    return options


def _address(options: dict[str, str]) -> tuple[str, int]:
    host = options.get("--admin-host") or _setting("BREEZE_ADMIN_HOST") or "127.0.0.1"
    port = options.get("--admin-port") or _setting("BREEZE_ADMIN_PORT") or "4748"
    if port.startswith("tcp://"):  # Kubernetes sets it beside a Service named breeze-admin
        port = "4748"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 # the largest port
        raise ValueError("BREEZE_ADMIN_PORT: must be a whole number, at least 0 and at most 65535")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)  # noqa: S104 # where the sidecar listens everywhere


def _setting(name: str) -> str:
    """The variable, in settings.py's order: the environment, .env, /run/secrets."""
    if value := os.environ.get(name):
        return value
    for line in reversed(_lines(".env")):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key.strip() == name:
            return value.strip().strip("'\"")
    lines = _lines(f"/run/secrets/{name}") or _lines(f"/run/secrets/{name.lower()}")
    return lines[0].strip() if lines else ""


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 # pathlib takes longer to import than all the rest
            return file.readlines()
    except (OSError, UnicodeDecodeError):
        return []


def _ask(host: str, port: int, path: str) -> tuple[bool, str]:
    try:
        with socket.create_connection((host, port), _TIMEOUT) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while len(answer) < _LONGEST and (piece := connection.recv(_LONGEST)):
                answer += piece
    except OSError as error:
        return False, f"no answer at {host}:{port}: {error.strerror or error}"
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    reason = body.strip().partition("\n")[0]
    status = head.split(" ")[1:2]
    if status == ["200"]:
        return True, reason
    return False, f"not ready: {reason}" if status == ["503"] else f"{host}:{port} is not the sidecar's admin port"
