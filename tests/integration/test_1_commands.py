"""Section 1 of the contract: commands and exit codes."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from support.program import COMMAND, Start, environment, fault, nothing_leaked

from breeze_sidecar import __version__
from breeze_sidecar.emulator.app import Running as Emulator


async def run(
    *arguments: str, emulator: Emulator | None = None, cwd: Path | None = None, **settings: str
) -> tuple[int, str]:
    """Run a command to its end: the exit code, and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=environment(emulator, settings),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    text = output.decode()
    assert "Traceback" not in text
    if emulator is not None:
        nothing_leaked(emulator, text)
    return process.returncode, text


async def test_1_version_and_help() -> None:
    assert await run("--version") == (0, f"breeze-sidecar {__version__}\n")
    code, text = await run("--help")
    assert code == 0
    assert all(command in text for command in ("serve", "demo", "emulator", "check", "healthcheck"))
    code, text = await run("serve", "--help")
    assert "--shutdown-grace" in text
    assert "--client-secret " not in text


async def test_1_python_m_is_the_same() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "breeze_sidecar", "--version", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode() == f"breeze-sidecar {__version__}\n"


async def test_1_bad_settings_end_with_2_and_a_line_for_each_problem(tmp_path: Path) -> None:
    code, text = await run("serve", cwd=tmp_path, port="http", log_level="loud", upstream_timeout="-1")
    assert code == 2
    named = {line.partition(":")[0] for line in text.splitlines()}
    expected = {"CLIENT_ID", "CLIENT_SECRET", "PORT", "LOG_LEVEL", "UPSTREAM_TIMEOUT"}
    assert named == {f"BREEZE_{name}" for name in expected}


@pytest.mark.parametrize("variable", ["port", "admin_port"])
async def test_1_a_port_in_use_ends_with_2(emulator: Emulator, tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = await run(emulator=emulator, cwd=tmp_path, **{variable: str(port)})
    assert code == 2
    name = f"BREEZE_{variable.upper()}"
    assert f"{name}: port {port} on 127.0.0.1 is in use" in text


async def test_1_an_address_that_is_not_here_ends_with_2(emulator: Emulator, tmp_path: Path) -> None:
    code, text = await run(emulator=emulator, cwd=tmp_path, host="192.0.2.1")
    assert code == 2
    assert "BREEZE_HOST" in text


async def test_1_flags_go_before_variables(sidecar: Start) -> None:
    started = await sidecar("serve", "--shutdown-grace", "7", shutdown_grace="99")
    started.process.terminate()
    assert await started.ended() == 0
    assert started.events("sidecar.stopping")[0]["grace"] == 7


async def test_1_check_says_that_everything_works(emulator: Emulator, tmp_path: Path) -> None:
    code, text = await run("check", emulator=emulator, cwd=tmp_path)
    assert code == 0
    assert "user@example.com" in text
    assert text.endswith("Everything works.\n")
    code, text = await run("check", "--json", emulator=emulator, cwd=tmp_path)
    steps = json.loads(text)["steps"]
    assert [step["step"] for step in steps] == ["settings", "dns", "tcp", "tls", "token", "me", "clock", "rate limit"]
    assert {step["outcome"] for step in steps} == {"ok"}


@pytest.mark.parametrize(
    ("changed", "faults", "step", "says"),
    [
        pytest.param({"port": "-1"}, [], "settings", "BREEZE_PORT", id="settings"),
        pytest.param({"base_url": "https://breeze.invalid"}, [], "dns", "BREEZE_BASE_URL", id="dns"),
        pytest.param({"base_url": "http://127.0.0.1:9"}, [], "tcp", "cannot be connected", id="tcp"),
        pytest.param({"client_secret": "wrong"}, [], "token", "invalid_client", id="credentials"),
        pytest.param({}, [{"kind": "throttle", "endpoint": "token"}], "token", "wait as told", id="token 429"),
        pytest.param({}, [{"kind": "fail", "endpoint": "token", "status": 503}], "token", "503", id="token 503"),
        pytest.param({}, [{"kind": "lie", "endpoint": "token", "lie": "not-json"}], "token", "not JSON", id="a page"),
        pytest.param({}, [{"kind": "reject"}], "me", "UNAUTHENTICATED", id="rejected"),
        pytest.param({}, [{"kind": "fail", "status": 500}], "me", "answered 500", id="Me 500"),
        pytest.param({}, [{"kind": "reset"}], "me", "broke", id="Me reset"),
        pytest.param({}, [{"kind": "lie", "lie": "html-401"}], "me", "answered 401", id="Me HTML"),
    ],
)
async def test_1_check_says_what_is_wrong_and_what_to_do(
    emulator: Emulator, tmp_path: Path, changed: dict[str, str], faults: list[dict[str, object]], step: str, says: str
) -> None:
    for each in faults:
        fault(emulator, **each)
    code, text = await run("check", "--json", emulator=emulator, cwd=tmp_path, **changed)
    assert code == 1
    failed = [each for each in json.loads(text)["steps"] if each["outcome"] == "failed"]
    assert [each["step"] for each in failed] == [step]
    assert says in failed[0]["found"] + failed[0]["do"]
    assert failed[0]["do"]
    code, text = await run("check", emulator=emulator, cwd=tmp_path, **changed)
    assert code == 1
    assert "What to do:" in text


async def test_1_check_sees_plain_http_behind_https_and_a_wrong_clock(emulator: Emulator, tmp_path: Path) -> None:
    url = emulator.url.replace("http:", "https:")
    code, text = await run("check", emulator=emulator, cwd=tmp_path, base_url=url)
    assert code == 1
    assert "speaks TLS" in text
    emulator.state.config = emulator.state.config.__class__(
        client_secret=emulator.state.config.client_secret, date_skew=-120, graphql_limit=10
    )
    for _ in range(9):
        emulator.state.graphql_limit.admit("127.0.0.1", 4e9, 10, 3600)
    code, text = await run("check", emulator=emulator, cwd=tmp_path, breze="1")
    assert code == 0
    assert "ahead of Breeze's" in text
    assert "BREEZE_BREZE is not a setting" in text
    assert "0 of 10 calls" in text


async def test_1_check_reads_the_secrets_file(emulator: Emulator, tmp_path: Path) -> None:
    code, text = await run("check", emulator=emulator, cwd=tmp_path, client_secret="", client_secret_file="/nowhere")
    assert code == 1
    assert "BREEZE_CLIENT_SECRET_FILE" in text


async def test_1_healthcheck_asks_readyz_and_livez(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar(client_secret="wrong", warm=False)
    port = program.admin.rpartition(":")[2]
    assert await run("healthcheck", "--live", admin_port=port) == (0, "alive\n")
    code, text = await run("healthcheck", admin_port=port)
    assert code == 1
    assert text.startswith("not ready: ")
    program = await sidecar()
    port = program.admin.rpartition(":")[2]
    assert await run("healthcheck", "--wait", "5", "--admin-port", port) == (0, "ready\n")


async def test_1_demo_prints_a_curl_that_works_and_runs_until_interrupted() -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("demo", "--port", "0", "--admin-port", "0"),
        env=environment(None, {}),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    while not (line := (await process.stdout.readline()).decode()).startswith("curl "):
        assert line
    call = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
    answer, _ = await call.communicate()
    assert json.loads(answer)["data"]["Me"]["email"] == "user@example.com"
    process.terminate()
    await process.stdout.read()
    assert await process.wait() == 0


async def test_1_the_emulator_runs_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("emulator", "--port", "0", "--fault", "reset,times=1", "--fault", "fail,status=503,times=1"),
        env=environment(None, {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    port = int(first.rpartition(":")[2])
    code, text = await run("emulator", "--port", str(port))
    assert code == 2
    assert text.startswith("--port: ")
    code, text = await run("emulator", "--fault", "nonsense")
    assert code == 2
    assert "kind must be one of" in text
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"http://127.0.0.1:{port}/graphql", json={})
        async with session.post(f"http://127.0.0.1:{port}/graphql", json={}) as answer:
            assert answer.status == 503
    process.send_signal(2)
    assert b"Traceback" not in await process.stdout.read(), "a caller that is reset is no defect"
    assert await process.wait() == 0
