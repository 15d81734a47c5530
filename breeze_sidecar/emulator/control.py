"""The control endpoint, /_emulator: what an application's tests look at and change at run time."""

import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from breeze_sidecar.emulator.config import change, settings
from breeze_sidecar.emulator.faults import Fault
from breeze_sidecar.emulator.state import State

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, state: State, clock: Callable[[], float]) -> None:
    """Put the control endpoint into the emulator's application."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(state.described())

    async def requests(_: web.Request) -> web.Response:
        return web.json_response(list(state.requests))

    async def add_faults(request: web.Request) -> web.Response:
        given = await _json(request)
        faults = [Fault.parse(each) for each in (given if isinstance(given, list) else [given])]
        state.faults.add(faults)
        return web.json_response({"faults": state.faults.described()})

    async def clear_faults(_: web.Request) -> web.Response:
        state.faults.clear()
        return web.json_response({"faults": []})

    async def revoke(_: web.Request) -> web.Response:
        return web.json_response({"revoked": state.revoke()})

    async def rotate(request: web.Request) -> web.Response:
        given = await _json(request) if request.can_read_body else {}
        secret = given.get("client_secret") if isinstance(given, dict) else None
        if secret is not None and not (isinstance(secret, str) and secret):
            raise ValueError("client_secret must be a text")
        return web.json_response({"client_secret": state.rotate(secret, clock())})

    async def reset(_: web.Request) -> web.Response:
        state.reset()
        return web.json_response(state.described())

    async def patch(request: web.Request) -> web.Response:
        state.config = change(state.config, await _json(request))
        return web.json_response(settings(state.config))

    routes: list[tuple[str, str, Handler]] = [
        ("GET", "", show),
        ("GET", "/requests", requests),
        ("POST", "/faults", add_faults),
        ("DELETE", "/faults", clear_faults),
        ("POST", "/revoke", revoke),
        ("POST", "/rotate", rotate),
        ("POST", "/reset", reset),
        ("PATCH", "/settings", patch),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, f"/_emulator{path}", _told(handler))


async def _json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise ValueError("the body must be JSON") from None


def _told(handler: Handler) -> Handler:
    """Bad input gets a sentence that says what would be right."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return guarded
