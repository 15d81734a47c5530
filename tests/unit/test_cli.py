"""cli.py: commands, flags and exit codes."""

import sys

import pytest

from breeze_sidecar import __main__, check, cli, demo, sidecar
from breeze_sidecar.emulator import command
from breeze_sidecar.errors import ConfigurationError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> list[tuple[object, ...]]:
    """What was run instead of the commands."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.chdir(str(tmp_path))
    for name in ("CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"BREEZE_{name}", "sample")

    def note(code: int, *call: object) -> int:
        calls.append(call)
        return code

    monkeypatch.setattr(sidecar, "serve", lambda settings, _: note(0, "serve", settings.port))
    monkeypatch.setattr(demo, "run", lambda *given: note(0, "demo", *given))
    monkeypatch.setattr(check, "run", lambda load, as_json: note(1, "check", load().settings.port, as_json))
    monkeypatch.setattr(command, "run", lambda options: note(0, "emulator", options.port))
    return calls


@pytest.mark.parametrize(
    ("arguments", "call", "code"),
    [
        pytest.param([], ("serve", 4747), 0, id="serve is the default"),
        pytest.param(["--port", "1"], ("serve", 1), 0, id="flags of the default"),
        pytest.param(["serve", "--port=2"], ("serve", 2), 0, id="serve"),
        pytest.param(["demo", "--port", "3"], ("demo", 3, 4748, 3600.0), 0, id="demo"),
        pytest.param(["emulator"], ("emulator", 4780), 0, id="emulator"),
        pytest.param(["check", "--json", "--port", "4"], ("check", 4, True), 1, id="check"),
    ],
)
def test_each_command_runs(
    ran: list[tuple[object, ...]], arguments: list[str], call: tuple[object, ...], code: int
) -> None:
    assert cli.main(arguments) == code
    assert ran == [call]


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--client-secret", "x"],
        ["sevre"],
        ["demo", "--port", "x"],
        ["demo", "--token-lifetime", "0"],
        ["demo", "--token-lifetime", "x"],
        ["serve", "--por", "1"],
        ["emulator", "--fault", "fail,status=abc"],
    ],
)
def test_bad_arguments_end_with_2(ran: list[tuple[object, ...]], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert ran == []


def test_bad_settings_end_with_2_and_a_line_each(
    ran: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--port", "x", "--log-level", "y"]) == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "BREEZE_PORT",
        "BREEZE_LOG_LEVEL",
    ]


@pytest.mark.parametrize(
    ("raised", "code"), [(KeyboardInterrupt(), 1), (ConfigurationError(["BREEZE_PORT: in use"]), 2)]
)
def test_what_ends_a_command_has_an_exit_code(
    ran: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def serve(*_: object) -> int:
        raise raised

    monkeypatch.setattr(sidecar, "serve", serve)
    assert cli.main([]) == code


def test_healthcheck_never_reaches_the_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["breeze-sidecar", "healthcheck", "--nonsense"])
    assert __main__.main() == 2
    monkeypatch.setattr(sys, "argv", ["breeze-sidecar", "--version"])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 0
