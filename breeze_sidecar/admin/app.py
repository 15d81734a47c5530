"""The admin port: for probes, Prometheus and people. Never a token, a secret or a body; never a call to Breeze."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from breeze_sidecar.telemetry.metrics import Metrics
from breeze_sidecar.telemetry.redaction import Redactor

_PATHS = "/livez, /readyz, /metrics, /status"


def application(
    *,
    ready: Callable[[], str | None],
    status: Callable[[], dict[str, object]],
    metrics: Metrics,
    redactor: Redactor,
    quit_: Callable[[], None] | None,
) -> web.Application:
    """The admin application.

    Args:
        ready: why the sidecar is not ready, or None.
        status: what /status shows.
        metrics: what /metrics shows.
        redactor: cleans both once more.
        quit_: what POST /quitquitquit does; None for no such path.
    """

    async def livez(_: web.Request) -> web.Response:
        return _text("alive")

    async def readyz(_: web.Request) -> web.Response:
        reason = ready()
        return _text("ready") if reason is None else _text(redactor.clean(reason), 503)

    async def prometheus(_: web.Request) -> web.Response:
        body, media_type = metrics.render()
        return web.Response(body=redactor.clean_bytes(body), headers={"Content-Type": media_type})

    async def state(_: web.Request) -> web.Response:
        body = orjson.dumps(status(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=redactor.clean_bytes(body), content_type="application/json")

    app = web.Application(middlewares=[_guarded])
    for path, handler in (("/livez", livez), ("/readyz", readyz), ("/metrics", prometheus), ("/status", state)):
        app.router.add_get(path, handler)
    if quit_ is not None:
        app.router.add_post("/quitquitquit", _quitting(quit_))
    app.on_response_prepare.append(_mark)
    return app


def _quitting(quit_: Callable[[], None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        # A web page can send a POST without a preflight; only browsers send these fields.
        site = request.headers.get("Sec-Fetch-Site", "none")
        if "Origin" in request.headers or site not in {"none", "same-origin"}:
            return _text("web pages may not end the sidecar", 403)
        quit_()
        return _text("stopping")

    return handler


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return _text(
            f"only {', '.join(sorted(error.allowed_methods))}", 405, Allow=", ".join(sorted(error.allowed_methods))
        )
    except web.HTTPNotFound:
        return _text(f"nothing here; the admin port has {_PATHS}", 404)


async def _mark(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "breeze-sidecar"


def _text(text: str, status: int = 200, **fields: str) -> web.Response:
    return web.Response(text=f"{text}\n", status=status, headers=fields)
