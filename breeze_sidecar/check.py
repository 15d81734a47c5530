"""`breeze-sidecar check`: goes the way of a call step by step, and says what was found, what is wrong, what to do."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from breeze_sidecar.clock import SystemClock
from breeze_sidecar.errors import ConfigurationError, SidecarError
from breeze_sidecar.proxy.connections import Pool
from breeze_sidecar.proxy.rate_limit import limits
from breeze_sidecar.proxy.upstream import Answer, Call, Upstream
from breeze_sidecar.settings import Loaded, Settings
from breeze_sidecar.sidecar import tls_context, token_client, token_session
from breeze_sidecar.telemetry.redaction import Redactor
from breeze_sidecar.token.access_token import AccessToken, Grant
from breeze_sidecar.token.backoff import Kind, TokenRequestFailed

STEPS = ("settings", "dns", "tcp", "tls", "token", "me", "clock", "rate limit")
#: Seconds by which the clocks may differ without a word.
SKEW = 30.0
_OK = 200
_ME = b'{"query":"query Check { Me { _id userId email } }","operationName":"Check"}'
#: Bytes of an answer to Me that are read.
_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found.

    Attributes:
        step: one of STEPS.
        outcome: "ok", "warning", "failed" or "skipped".
        found: what was seen.
        do: what to do about it; "" where nothing is to be done.
    """

    step: str
    outcome: str
    found: str
    do: str = ""


class _Stop(Exception):
    """A step failed, and the later ones depend on it."""

    def __init__(self, found: str, do: str) -> None:
        super().__init__(found)
        self.finding = (found, do)


def run(load: Callable[[], Loaded], *, as_json: bool) -> int:
    """Check and print; 0 if all works, else 1."""
    redactor = Redactor()
    findings: list[Finding] = []
    for finding in _findings(load, redactor):
        findings.append(finding)
        if not as_json:
            print(redactor.clean(_line(finding)), flush=True)  # noqa: T201 # its purpose
    works = all(finding.outcome in {"ok", "warning"} for finding in findings)
    if as_json:
        answer = {"works": works, "steps": [asdict(finding) for finding in findings]}
        print(redactor.clean(json.dumps(answer, indent=2)))  # noqa: T201 # its purpose
    else:
        print("Everything works." if works else "Something does not work; see above.")  # noqa: T201 # its purpose
    return 0 if works else 1


def _line(finding: Finding) -> str:
    mark = {"ok": "ok      ", "warning": "warning ", "failed": "FAILED  ", "skipped": "skipped "}[finding.outcome]
    do = f"\n{'':20}What to do: {finding.do}" if finding.do else ""
    return f"{finding.step:<12}{mark}{finding.found}{do}"


def _findings(load: Callable[[], Loaded], redactor: Redactor) -> Iterator[Finding]:
    try:
        loaded = load()
        secret = loaded.settings.read_secret()
    except ConfigurationError as error:
        for problem in error.problems:
            variable, _, what = problem.partition(": ")
            yield Finding("settings", "failed", variable if what else "the settings cannot work", what or problem)
        yield from (Finding(step, "skipped", "needs the settings") for step in STEPS[1:])
        return
    except ValueError as error:
        yield Finding("settings", "failed", "the client secret cannot be read", str(error))
        yield from (Finding(step, "skipped", "needs the settings") for step in STEPS[1:])
        return
    redactor.add(secret, keep=True)
    for warning in loaded.warnings:
        yield Finding("settings", "warning", warning)
    settings = loaded.settings
    yield Finding("settings", "ok", f"{settings.base_url} as client {_shortened(settings.client_id)}")
    with asyncio.Runner() as runner:
        steps = _steps(settings, redactor)
        while True:
            try:
                yield runner.run(_next(steps))
            except StopAsyncIteration:
                return


async def _next(steps: AsyncIterator[Finding]) -> Finding:
    return await anext(steps)


async def _steps(settings: Settings, redactor: Redactor) -> AsyncIterator[Finding]:
    probe = _Probe(settings, redactor)
    try:
        for step, work in (
            ("dns", probe.dns),
            ("tcp", probe.tcp),
            ("tls", probe.tls),
            ("token", probe.token),
            ("me", probe.me),
            ("clock", probe.clock),
            ("rate limit", probe.rate_limit),
        ):
            try:
                yield Finding(step, *await work())
            except _Stop as stop:
                yield Finding(step, "failed", *stop.finding)
                for later in STEPS[STEPS.index(step) + 1 :]:
                    yield Finding(later, "skipped", f"needs {step}")
                return
    finally:
        await probe.close()


class _Probe:
    """The steps, each of which leaves what the next one needs."""

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._clock = SystemClock()
        self._proxy = settings.upstream_proxy()
        self._context: ssl.SSLContext | None = None
        self._grant: Grant | None = None
        self._answer: Answer | None = None
        self._stack = AsyncExitStack()
        parts = urlsplit(settings.base_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)

    async def close(self) -> None:
        """Close all that the steps opened."""
        await self._stack.aclose()

    async def dns(self) -> tuple[str, str]:
        if self._proxy is not None:
            return "ok", "left to the proxy that HTTPS_PROXY names"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            raise _Stop(
                f"the name {self._host} could not be resolved",
                "check BREEZE_BASE_URL, this machine's DNS, and whether it needs HTTPS_PROXY",
            ) from None
        return "ok", f"{self._host} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}"

    async def tcp(self) -> tuple[str, str]:
        if self._proxy is not None:
            return "ok", "left to the proxy that HTTPS_PROXY names"
        await self._open(None)
        return "ok", f"port {self._port} accepts connections"

    async def tls(self) -> tuple[str, str]:
        self._context = tls_context(self._settings)
        if self._context is None:
            return "ok", "not used: the base URL is http"
        if self._proxy is not None:
            return "ok", "seen with the token, through the proxy"
        try:
            version = await self._open(self._context)
        except ssl.SSLCertVerificationError as error:
            raise _Stop(
                f"the certificate is not trusted: {error.verify_message}",
                "set BREEZE_CA_FILE to the CA that signs it, or check that BREEZE_BASE_URL is right",
            ) from None
        except ssl.SSLError as error:
            raise _Stop(f"the handshake failed: {error.reason}", "check that the port speaks TLS") from None
        return "ok", f"{version}, the certificate is trusted"

    async def _open(self, context: ssl.SSLContext | None) -> str:
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except ssl.SSLError:
            raise
        except TimeoutError:
            raise _Stop(
                f"no answer from port {self._port} within {self._settings.connect_timeout:g} s",
                "look for a firewall between here and Breeze, or set HTTPS_PROXY",
            ) from None
        except OSError as error:
            raise _Stop(
                f"port {self._port} cannot be connected to: {error.strerror or type(error).__name__}",
                "check BREEZE_BASE_URL and the network",
            ) from None
        tls = writer.get_extra_info("ssl_object")
        version = str(tls.version()) if tls is not None else ""
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return version

    async def token(self) -> tuple[str, str]:
        session = token_session(self._settings, self._context)
        self._stack.push_async_callback(session.close)
        client = token_client(self._settings, session, self._proxy, self._redactor)
        try:
            self._grant = await client.request()
        except TokenRequestFailed as failure:
            raise _Stop(failure.message, _ADVICE[failure.kind]) from None
        return "ok", f"granted for {self._grant.lifetime:g} s (this used one of Breeze's 100 requests an hour)"

    async def me(self) -> tuple[str, str]:
        grant = self._grant
        if grant is None:  # pragma: no cover # the step before would have stopped
            raise _Stop("there is no token", "")
        settings = self._settings
        pool = Pool(
            settings.base_url,
            tls=self._context,
            proxy=self._proxy,
            limit=1,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.upstream_timeout,
            clock=self._clock,
        )
        self._stack.push_async_callback(pool.close)
        absolute = settings.base_url if self._proxy is not None and self._context is None else ""
        host = settings.base_url.partition("://")[2]
        head = f"Host: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(_ME)}\r\n".encode()
        call = Call("/graphql", head, _ME, "", steady=True)
        try:
            upstream = Upstream(
                pool,
                absolute=absolute,
                read_timeout=settings.upstream_timeout,
                answered=lambda _: None,
                clock=self._clock,
            )
            answer = self._answer = await upstream.send(call, AccessToken(grant.value, 0, 0))
            self._stack.callback(answer.release)
            await answer.look(_LARGEST)
        except SidecarError as error:
            raise _Stop(error.message, "try again; if it stays, ask Breeze's support") from None
        return _who(answer)

    async def clock(self) -> tuple[str, str, str]:
        said = self._answer.fields.date if self._answer is not None else None
        try:
            theirs = parsedate_to_datetime(said or "").timestamp()
        except ValueError:
            return "ok", "Breeze sent no Date to compare with", ""
        skew = self._clock.wall() - theirs
        if abs(skew) <= SKEW:
            return "ok", f"this machine's clock and Breeze's differ by {abs(skew):.0f} s", ""
        way = "ahead of" if skew > 0 else "behind"
        return (
            "warning",
            f"this machine's clock is {abs(skew):.0f} s {way} Breeze's",
            "set this machine's clock (NTP); tokens are counted on another clock and are not affected",
        )

    async def rate_limit(self) -> tuple[str, str]:
        known = limits(self._answer.fields.rate_limit) if self._answer is not None else None
        if known is None or known.limit is None or known.remaining is None:
            return "ok", "Breeze did not say"
        outcome = "ok" if known.remaining > known.limit / 10 else "warning"
        return outcome, f"{known.remaining:g} of {known.limit:g} calls an hour are left for this IP address"


def _who(answer: Answer) -> tuple[str, str]:
    try:
        content = json.loads(answer.head)
    except ValueError:
        content = None
    content = content if isinstance(content, dict) else {}
    data = content.get("data")
    me = data.get("Me") if isinstance(data, dict) else None
    if answer.status == _OK and isinstance(me, dict):
        return "ok", f"Breeze knows the client as {me.get('email') or me.get('userId') or me.get('_id')}"
    errors = content.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    extensions = first.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    raise _Stop(
        f"Breeze answered {answer.status}{f' with {code}' if isinstance(code, str) else ''}",
        _CODES.get(code, "check that BREEZE_BASE_URL is Breeze, and try again"),
    )


def _shortened(client_id: str) -> str:
    """Enough to recognize it by, too little to use."""
    return client_id if len(client_id) <= 12 else f"{client_id[:10]}…"  # noqa: PLR2004 # "oauth_" and a little more


_ADVICE = {
    Kind.CREDENTIALS: "the sentence before says which setting to look at; test credentials do not work in production",
    Kind.RATE_LIMITED: "wait as told; look for other programs that use the same client without caching its token",
    Kind.MALFORMED: "check that BREEZE_BASE_URL is Breeze and not a page in front of it",
    Kind.FAILED: "try again; if it stays, ask Breeze's support",
    Kind.UNREACHABLE: "check the network and HTTPS_PROXY",
}
_CODES: dict[object, str] = {
    "UNAUTHENTICATED": "the token that Breeze just gave is rejected: ask its support whether the client was revoked",
    "FORBIDDEN": "ask an administrator for the roles that this client needs",
}
