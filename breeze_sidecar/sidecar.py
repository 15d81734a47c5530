"""The composition root: builds everything, listens, and stops in the right order."""

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from breeze_sidecar import __version__
from breeze_sidecar.admin.app import application
from breeze_sidecar.clock import SystemClock
from breeze_sidecar.errors import BadRequest
from breeze_sidecar.listening import authority, bind, unix_socket
from breeze_sidecar.proxy.admission import Rules
from breeze_sidecar.proxy.connections import Pool
from breeze_sidecar.proxy.exchange import Exchange
from breeze_sidecar.proxy.handler import Gate, Handler, Server
from breeze_sidecar.proxy.replies import own_answer
from breeze_sidecar.proxy.upstream import Upstream
from breeze_sidecar.settings import Settings
from breeze_sidecar.tasks import Tasks
from breeze_sidecar.telemetry import logs
from breeze_sidecar.telemetry.metrics import Metrics
from breeze_sidecar.telemetry.redaction import Redactor
from breeze_sidecar.telemetry.witness import TokenWitness
from breeze_sidecar.token.caches import open_cache
from breeze_sidecar.token.client import TokenClient
from breeze_sidecar.token.source import TokenSource

#: Seconds that connections get to close after the last call, and after the grace when calls are cut off.
_CLOSING, _CUTTING_OFF = 2.0, 0.05


def serve(settings: Settings, warnings: list[str]) -> int:
    """Run until a signal; the exit code."""
    redactor = Redactor()
    log = logs.configure(settings.log_level, settings.log_format, redactor)
    for warning in warnings:
        log.warning("settings.questioned", message=warning)
    return asyncio.run(_until_signalled(settings, redactor, log))


async def _until_signalled(settings: Settings, redactor: Redactor, log: FilteringBoundLogger) -> int:
    stop = asyncio.Event()
    sidecar = Sidecar(settings, redactor, log, stop.set)

    def signalled(number: signal.Signals) -> None:
        if stop.is_set():
            # For whoever cannot wait: no drain, no goodbye.
            log.warning("sidecar.killed", signal=number.name, calls_cut_off=sidecar.in_flight)
            os._exit(1)
        log.info("sidecar.signalled", signal=number.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled, number)
    async with sidecar:
        await stop.wait()
        return 0 if await sidecar.drain() else 1


class Sidecar:
    """One running sidecar; an async context that listens from its start to its end.

    Args:
        settings: all of them.
        redactor: learns the secret and the tokens.
        log: where events go.
        quit_: what `POST /quitquitquit` does.
    """

    def __init__(
        self, settings: Settings, redactor: Redactor, log: FilteringBoundLogger, quit_: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._redactor = redactor
        self._log = log
        self._quit = quit_
        self._clock = SystemClock()
        self._gate = Gate()
        self._stopping = False
        self._stack = AsyncExitStack()
        self._site: web.BaseSite | None = None
        self._server: Server | None = None
        #: Where callers connect, once listening.
        self.address = ""
        #: Where the admin port is, once listening.
        self.admin_address = ""

    @property
    def in_flight(self) -> int:
        """Calls in flight."""
        return self._gate.in_flight

    async def __aenter__(self) -> Self:
        """Build, listen, and ask for the first token in the background.

        Raises:
            ConfigurationError: a port or socket cannot be bound, or a CA file cannot be read.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything, the first built last."""
        await self._stack.aclose()

    async def drain(self) -> bool:
        """Stop accepting, after the delay; whether all calls in flight ended within the grace."""
        self._stopping = True
        self._log.info("sidecar.stopping", delay=self._settings.shutdown_delay, grace=self._settings.shutdown_grace)
        await self._clock.sleep(self._settings.shutdown_delay)
        if self._site is not None:
            await self._site.stop()
        self._gate.closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_grace):
                await self._gate.empty()
        cut_off = self._gate.in_flight
        if cut_off and self._server is not None:
            # Otherwise aiohttp would give each its own shutdown_timeout, twice, beyond the grace.
            await self._server.shutdown(_CUTTING_OFF)
        self._log.info("sidecar.stopped", calls_cut_off=cut_off)
        return cut_off == 0

    async def _start(self) -> None:
        settings, log = self._settings, self._log
        metrics = Metrics(__version__, settings.environment)
        tls = tls_context(settings)
        proxy = settings.upstream_proxy()
        tasks = Tasks(lambda name, error: log.error("task.failed", task=name, exc_info=error))

        tokens = await self._token_source(tls, proxy, metrics, tasks)
        pool = Pool(
            settings.base_url,
            tls=tls,
            proxy=proxy,
            limit=settings.max_concurrency,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.upstream_timeout,
            clock=self._clock,
        )
        self._stack.push_async_callback(pool.close)
        plain_proxy = proxy is not None and settings.base_url.startswith("http:")
        upstream = Upstream(
            pool,
            absolute=settings.base_url if plain_proxy else "",
            read_timeout=settings.upstream_timeout,
            answered=metrics.upstream_answered,
            clock=self._clock,
        )
        handler = Handler(
            rules=Rules(
                allowed_hosts=frozenset(settings.allowed_hosts),
                allowed_origins=frozenset(settings.allowed_origins),
                required=settings.required_header,
                any_host=settings.uds is not None,
                max_request_bytes=settings.max_request_bytes,
            ),
            exchange=Exchange(tokens, upstream, self._clock, max_wait=settings.rate_limit_max_wait),
            host=settings.base_url.partition("://")[2].encode("ascii"),
            gate=self._gate,
            clock=self._clock,
            metrics=metrics,
            redactor=self._redactor,
            log=log,
        )
        await self._listen(handler)
        await self._listen_admin(tokens, metrics)
        self._source = tasks.start("token.source", tokens.run())
        # Pushed last, so closed first: a token request that ends with its session would be taken for Breeze's failure.
        self._stack.push_async_callback(tasks.close)
        log.info(
            "sidecar.listening",
            address=self.address,
            admin=self.admin_address,
            upstream=settings.base_url,
            version=__version__,
        )

    async def _token_source(
        self, tls: ssl.SSLContext | None, proxy: str | None, metrics: Metrics, tasks: Tasks
    ) -> TokenSource:
        settings = self._settings
        session = token_session(settings, tls)
        self._stack.push_async_callback(session.close)
        client = token_client(settings, session, proxy, self._redactor)
        witness = TokenWitness(self._log, metrics)
        if (password := urlsplit(settings.token_cache).password) is not None:
            self._redactor.add(unquote(password), keep=True)
        cache = open_cache(
            settings.token_cache,
            base_url=settings.base_url,
            client_id=settings.client_id,
            read_secret=settings.read_secret,
            ca_file=settings.ca_file,
            clock=self._clock,
            tasks=tasks,
            witness=witness,
        )
        tokens = TokenSource(
            client.request,
            secret_changed=client.secret_changed,
            cache=cache,
            clock=self._clock,
            margin=settings.refresh_margin,
            witness=witness,
        )
        metrics.token_requests_of_last_hour(tokens.requests_last_hour)
        return tokens

    async def _listen(self, handler: Handler) -> None:
        settings = self._settings
        server = self._server = Server(
            handler,
            lambda request: own_answer(request, BadRequest("This is not an HTTP request."), self._redactor, close=True),
        )
        runner = web.ServerRunner(server, shutdown_timeout=_CLOSING)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        if settings.uds is not None:
            self._site = web.SockSite(runner, unix_socket(settings.uds), backlog=1024)
            self._stack.callback(settings.uds.unlink, missing_ok=True)
            await self._site.start()
            self.address = f"unix:{settings.uds}"
            return
        self._site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        await bind(self._site, "PORT", settings.host, settings.port)
        self.address = f"http://{authority(runner)}"

    async def _listen_admin(self, tokens: TokenSource, metrics: Metrics) -> None:
        settings = self._settings

        def ready() -> str | None:
            reason = "stopping" if self._stopping else tokens.unready()
            return None if reason is None else self._redactor.clean(reason)

        def status() -> dict[str, object]:
            return {
                "version": __version__,
                "environment": settings.environment,
                "upstream": settings.base_url,
                "ready": ready() is None,
                "reason": ready(),
                "calls_in_flight": self._gate.in_flight,
                "token": tokens.status(),
            }

        app = application(
            ready=ready,
            status=status,
            metrics=metrics,
            redactor=self._redactor,
            quit_=self._quit if settings.admin_quit else None,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING, handle_signals=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, settings.admin_host, settings.admin_port)
        await bind(site, "ADMIN_PORT", settings.admin_host, settings.admin_port)
        self.admin_address = f"http://{authority(runner)}"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The context for https, or None for http; SSL_CERT_FILE works in it as everywhere."""
    if not settings.base_url.startswith("https:"):
        return None
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    return context


def token_session(settings: Settings, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """A session of their own for token requests: no cookies, no netrc, a connection each."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True, force_close=True),
        timeout=aiohttp.ClientTimeout(
            total=settings.connect_timeout + settings.upstream_timeout, sock_connect=settings.connect_timeout
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"breeze-sidecar/{__version__}"},
    )


def token_client(
    settings: Settings, session: aiohttp.ClientSession, proxy: str | None, redactor: Redactor
) -> TokenClient:
    """The client for these settings."""
    return TokenClient(
        session,
        base_url=settings.base_url,
        client_id=settings.client_id,
        read_secret=settings.read_secret,
        seen=redactor.add,
        proxy=proxy,
    )
