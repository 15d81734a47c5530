"""healthcheck.py: asks the admin port, with the standard library alone."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from breeze_sidecar import healthcheck

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs it against an admin port that answers this."""
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[object, ...]] = []

    def asking(*arguments: str, answers: list[tuple[bool, str]] | None = None, **variables: str) -> tuple[int, str]:
        left = list(answers or [(True, "ready")])
        now = iter(range(1000))
        for name in ("BREEZE_ADMIN_HOST", "BREEZE_ADMIN_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        def answer(*where: object) -> tuple[bool, str]:
            asked.append(where)
            return left.pop(0)

        monkeypatch.setattr(healthcheck, "_ask", answer)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
        code = healthcheck.main(list(arguments))
        said = capsys.readouterr()
        return code, (said.out + said.err).strip()

    asking.asked = asked  # type: ignore[attr-defined] # what it asked for
    return asking


def test_ready_is_0_and_not_ready_1(ask: Ask) -> None:
    assert ask() == (0, "ready")
    assert ask(answers=[(False, "not ready: waiting for the first token")]) == (
        1,
        "not ready: waiting for the first token",
    )


def test_wait_asks_again_until_the_time_is_over(ask: Ask) -> None:
    assert ask("--wait", "5", answers=[(False, "no"), (False, "no"), (True, "ready")]) == (0, "ready")
    assert ask("--wait=3", answers=[(False, "no")] * 9) == (1, "no")


@pytest.mark.parametrize(
    ("arguments", "variables", "asked"),
    [
        pytest.param((), {}, ("127.0.0.1", 4748, "/readyz"), id="defaults"),
        pytest.param(("--live",), {}, ("127.0.0.1", 4748, "/livez"), id="live"),
        pytest.param((), {"BREEZE_ADMIN_PORT": "9"}, ("127.0.0.1", 9, "/readyz"), id="variable"),
        pytest.param((), {"BREEZE_ADMIN_HOST": "0.0.0.0"}, ("127.0.0.1", 4748, "/readyz"), id="everywhere"),
        pytest.param((), {"BREEZE_ADMIN_HOST": "::"}, ("::1", 4748, "/readyz"), id="everywhere, IPv6"),
        pytest.param((), {"BREEZE_ADMIN_PORT": "tcp://10.0.0.1:1"}, ("127.0.0.1", 4748, "/readyz"), id="Kubernetes"),
        pytest.param(
            ("--admin-host=::1", "--admin-port", "8"), {"BREEZE_ADMIN_PORT": "9"}, ("::1", 8, "/readyz"), id="flags"
        ),
    ],
)
def test_it_asks_where_the_settings_say(
    ask: Ask, arguments: tuple[str, ...], variables: dict[str, str], asked: tuple[object, ...]
) -> None:
    ask(*arguments, **variables)
    assert ask.asked == [asked]  # type: ignore[attr-defined] # see the fixture


def test_it_reads_dotenv_and_secrets(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# a comment\nexport BREEZE_ADMIN_PORT='77'\n")
    ask()
    (tmp_path / ".env").write_bytes(b"\xff")
    real = healthcheck._lines
    monkeypatch.setattr(healthcheck, "_lines", lambda path: ["78\n"] if path.endswith("ADMIN_PORT") else real(path))
    ask()
    assert [where[1] for where in ask.asked] == [77, 78]  # type: ignore[attr-defined] # see the fixture


@pytest.mark.parametrize("arguments", [("--loud",), ("--wait",), ("--wait", "long"), ("--admin-port", "x"), ("ready",)])
def test_arguments_that_make_no_sense_are_2(ask: Ask, arguments: tuple[str, ...]) -> None:
    assert ask(*arguments)[0] == 2


def test_help(ask: Ask) -> None:
    assert ask("-h") == (0, healthcheck.USAGE)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nready\n", (True, "ready"), id="ready"),
        pytest.param(b"HTTP/1.0 503 X\r\n\r\nwaiting\n", (False, "not ready: waiting"), id="not ready"),
        pytest.param(b"HTTP/1.0 404 X\r\n\r\nno\n", (False, "is not the sidecar's admin port"), id="another server"),
        pytest.param(b"\x00\xff", (False, "is not the sidecar's admin port"), id="not HTTP"),
    ],
)
def test_it_understands_what_the_port_answers(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, expected: tuple[bool, str]
) -> None:
    class Connection:
        def __init__(self) -> None:
            self.left = [answer[:5], answer[5:]]

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def sendall(self, sent: bytes) -> None:
            assert sent.startswith(b"GET /readyz HTTP/1.0\r\n")

        def recv(self, _: int) -> bytes:
            return self.left.pop(0) if self.left else b""

    monkeypatch.setattr(socket, "create_connection", lambda *_: Connection())
    works, said = healthcheck._ask("127.0.0.1", 4748, "/readyz")
    assert works is expected[0]
    assert said.endswith(expected[1])


def test_no_answer_says_where_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert healthcheck._ask("h", 1, "/") == (False, "no answer at h:1: Connection refused")


def test_it_imports_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; from breeze_sidecar.__main__ import main; sys.argv = ['x', 'healthcheck', '--help']; main(); "
        "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    # Without site, whose .pth files import what an editable installation or a coverage run needs.
    started = [sys.executable, "-S", "-c", program]
    done = subprocess.run(started, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert set(done.stdout.splitlines()[-1].split()) == {"__main__", "breeze_sidecar"}
