"""A proxy as one would write it with aiohttp in an afternoon: no checks, one static token, aiohttp's access log."""

import logging
import sys

import aiohttp
from aiohttp import web


async def session(app: web.Application) -> None:
    app["session"] = aiohttp.ClientSession()


async def pass_on(request: web.Request) -> web.Response:
    fields = {name: value for name, value in request.headers.items() if name not in {"Host", "Content-Length"}}
    fields["Authorization"] = "Bearer static"
    url = sys.argv[2] + request.path_qs
    async with request.app["session"].post(url, data=await request.read(), headers=fields) as answer:
        return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    app = web.Application()
    app.on_startup.append(session)
    app.router.add_post("/graphql", pass_on)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
