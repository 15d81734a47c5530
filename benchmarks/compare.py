"""The sidecar beside other proxies, in one interleaved run; prints a table in Markdown.

Needs wrk and nginx; mitmproxy, FastAPI, httpx and uvicorn are left out where they are not installed. The upstream is
nginx with an answer of 300 bytes, so that the proxies are all that is measured. Read ratios, not numbers: CPU per call
repeats within some 15 % on a shared machine, calls per second do not.
"""

import argparse
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
BODY = json.dumps({"query": "query Who { Me { _id userId email } }", "operationName": "Who"})
FIELDS = {"Content-Type": "application/json"}
ANSWER = json.dumps({"data": {"Me": {"_id": "1", "userId": "1", "email": "user@example.com", "more": "x" * 215}}})
GRANT = json.dumps({"access_token": "eyJsample.eyJsample.sample", "token_type": "Bearer", "expires_in": 3600})
TICK = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 100000000; client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {more}
}}
"""
UPSTREAM = """server {{ listen 127.0.0.1:{port};
  location = /graphql {{ return 200 '{answer}'; }} location = /oauth/token {{ return 200 '{grant}'; }} }}"""
PROXY = """upstream breeze {{ server {upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location = /graphql {{ proxy_pass http://breeze; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_set_header Authorization "Bearer static"; }} }}"""
WRK = 'wrk.method = "POST"\nwrk.body = [==[{body}]==]\nwrk.headers["Content-Type"] = "application/json"\n'


@dataclass
class Peer:
    """One proxy under measurement."""

    name: str
    command: list[str]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    start_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    after_mib: float = 0.0
    calls: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def pids(self) -> list[int]:
        """The process and its children (nginx's worker)."""
        assert self.process is not None
        own = self.process.pid
        listed = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, listed)]

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        ticks = 0
        for pid in self.pids():
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(parts[11]) + int(parts[12])
        return ticks / TICK

    def rss(self) -> float:
        """MiB of memory, of all its processes."""
        kib = 0
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return kib / 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else command


@contextmanager
def running(command: list[str], core: int, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    # Bytecode is kept, as in any installation: else each start would compile the sidecar's own source.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        pinned(core, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own | environment
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def call(port: int) -> bool:
    """Whether one call on a new connection gets a 200."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/graphql", BODY, FIELDS)
        works = connection.getresponse().status == 200
        connection.close()
    except OSError:
        return False
    return works


def until(works: Callable[[], bool], seconds: float = 20) -> float:
    """Milliseconds until it works."""
    began = time.perf_counter()
    while not works():
        if time.perf_counter() - began > seconds:
            raise SystemExit("a proxy did not start")
        time.sleep(0.005)
    return (time.perf_counter() - began) * 1000


def latency(port: int, calls: int) -> float:
    """The median of a call's time in µs, at 50 calls a second on a kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        connection.request("POST", "/graphql", BODY, FIELDS)
        connection.getresponse().read()
        taken.append((time.perf_counter() - began) * 1e6)
        time.sleep(0.02)
    connection.close()
    return statistics.median(taken)


def load(port: int, script: Path, seconds: int) -> int:
    """How many calls wrk gets through."""
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/graphql"]
    output = subprocess.run(pinned(1, command), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"calls failed under load:\n{output}")
    return int(next(line.split()[0] for line in output.splitlines() if "requests in" in line))


def peers(upstream: int, directory: Path) -> list[Peer]:
    """All that are to be had on this machine, the sidecar first."""
    url = f"http://127.0.0.1:{upstream}"
    port = free_port()
    settings = {
        "BREEZE_BASE_URL": url,
        "BREEZE_CLIENT_ID": "sample",
        "BREEZE_CLIENT_SECRET": "sample-secret",
        "BREEZE_PORT": str(port),
        "BREEZE_ADMIN_PORT": "0",
        "BREEZE_LOG_FORMAT": "json",
    }
    found = [Peer("breeze-sidecar", [str(Path(sys.executable).with_name("breeze-sidecar"))], port, settings)]
    port = free_port()
    found.append(Peer("plain aiohttp proxy", [sys.executable, str(HERE / "plain_proxy.py"), str(port), url], port))
    port = free_port()
    nginx = directory / "nginx"
    nginx.mkdir()
    more = PROXY.format(port=port, upstream=f"127.0.0.1:{upstream}")
    (nginx / "conf").write_text(NGINX.format(dir=nginx, more=more))
    found.append(Peer("nginx, static token", ["nginx", "-p", str(nginx), "-c", str(nginx / "conf")], port))
    mitmdump = shutil.which("mitmdump", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if mitmdump is not None:
        port = free_port()
        command = [mitmdump, "--mode", f"reverse:{url}", "--listen-host", "127.0.0.1", "--listen-port", str(port)]
        command += ["--set", f"confdir={directory}", "-s", str(HERE / "mitmproxy_addon.py")]
        found.append(Peer("mitmproxy with an add-on", command, port))
    if all(importlib.util.find_spec(name) for name in ("fastapi", "httpx", "uvicorn")):
        port = free_port()
        command = [sys.executable, str(HERE / "fastapi_proxy.py"), str(port), url]
        found.append(Peer("FastAPI + httpx + uvicorn", command, port))
    return found


def measure(found: list[Peer], upstream: int, directory: Path, rounds: int, seconds: int) -> list[float]:
    """Measure all, round by round; the medians of the direct calls."""
    script = directory / "wrk.lua"
    script.write_text(WRK.format(body=BODY))
    for _ in range(3):
        for peer in found:
            with running(peer.command, 0, peer.environment):
                peer.start_ms.append(until(lambda peer=peer: call(peer.port)))  # type: ignore[misc] # bound now
    direct = []
    with ExitStack() as stack:
        for peer in found:
            peer.process = stack.enter_context(running(peer.command, 0, peer.environment))
        for peer in found:
            until(lambda peer=peer: call(peer.port))  # type: ignore[misc] # bound now
            peer.idle_mib = peer.rss()
        for _ in range(rounds):
            direct.append(latency(upstream, 100))
            for peer in found:
                peer.p50_us.append(latency(peer.port, 100))
                before = peer.cpu()
                calls = load(peer.port, script, seconds)
                peer.calls += calls
                peer.per_second.append(calls / seconds)
                peer.cpu_us.append((peer.cpu() - before) / calls * 1e6)
        for peer in found:
            while peer.calls < 50_000 and peer is found[0]:
                peer.calls += load(peer.port, script, seconds)
            peer.after_mib = peer.rss()
    return direct


def healthcheck() -> float:
    """Milliseconds of `breeze-sidecar healthcheck`, the median of nine."""
    command = [str(Path(sys.executable).with_name("breeze-sidecar")), "healthcheck", "--admin-port", "1"]
    taken = []
    for _ in range(9):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    options = parser.parse_args()
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is needed; Debian's package is called the same")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        upstream = free_port()
        base = directory / "upstream"
        base.mkdir()
        more = UPSTREAM.format(port=upstream, answer=ANSWER, grant=GRANT)
        (base / "conf").write_text(NGINX.format(dir=base, more=more))
        with running(["nginx", "-p", str(base), "-c", str(base / "conf")], 1, {}):
            until(lambda: call(upstream))
            found = peers(upstream, directory)
            direct = measure(found, upstream, directory, options.rounds, options.seconds)
    report(found, statistics.median(direct))


def report(found: list[Peer], direct: float) -> None:
    print("| POST /graphql | calls/s | CPU per call, µs | of the plain proxy | added p50, µs ", end="")
    print("| RSS idle / after, MiB (calls) | start, ms |")
    print("|---|---|---|---|---|---|---|")
    plain = statistics.median(found[1].cpu_us)
    for peer in found:
        cpu = statistics.median(peer.cpu_us)
        print(
            f"| {peer.name} | {statistics.median(peer.per_second):,.0f} | {cpu:.0f} | {cpu / plain:.2f} "
            f"| {statistics.median(peer.p50_us) - direct:.0f} | {peer.idle_mib:.0f} / {peer.after_mib:.0f} "
            f" ({peer.calls:,}) | {statistics.median(peer.start_ms):.0f} |"
        )
    print(f"\n`breeze-sidecar healthcheck`: {healthcheck():.0f} ms")


if __name__ == "__main__":
    main()
