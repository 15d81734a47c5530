"""admin/app.py, in-process."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from pytest_aiohttp.plugin import AiohttpClient

from breeze_sidecar.admin.app import application
from breeze_sidecar.telemetry.metrics import Metrics
from breeze_sidecar.telemetry.redaction import MASK, Redactor

Client = TestClient[Request, Application]
Begin = Callable[..., Awaitable[Client]]


@pytest.fixture
def admin(aiohttp_client: AiohttpClient) -> Begin:
    async def begin(reason: str | None = None, quit_: Callable[[], None] | None = None) -> Client:
        redactor = Redactor()
        redactor.add("the-secret")
        app = application(
            ready=lambda: reason,
            status=lambda: {"ready": reason is None, "slip": "the-secret"},
            metrics=Metrics("1.0", "test"),
            redactor=redactor,
            quit_=quit_,
        )
        return await aiohttp_client(app)

    return begin


async def test_livez_and_readyz(admin: Begin) -> None:
    client = await admin()
    assert await (await client.get("/livez")).text() == "alive\n"
    answer = await client.get("/readyz", headers={"Host": "any.name:1"})
    assert (answer.status, await answer.text()) == (200, "ready\n")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "breeze-sidecar"
    assert (await client.head("/readyz")).status == 200
    client = await admin("waiting for the-secret")
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, f"waiting for {MASK}\n")


async def test_status_and_metrics_are_cleaned(admin: Begin) -> None:
    client = await admin()
    assert await (await client.get("/status")).json() == {"ready": True, "slip": MASK}
    answer = await client.get("/metrics")
    assert answer.content_type == "text/plain"
    assert "breeze_sidecar_build_info" in await answer.text()


async def test_nothing_else_is_there(admin: Begin) -> None:
    client = await admin()
    answer = await client.get("/elsewhere")
    assert (answer.status, await answer.text()) == (
        404,
        "nothing here; the admin port has /livez, /readyz, /metrics, /status\n",
    )
    answer = await client.post("/readyz")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (await client.post("/quitquitquit")).status == 404


async def test_quitquitquit_is_not_for_web_pages(admin: Begin) -> None:
    ended: list[bool] = []
    client = await admin(quit_=lambda: ended.append(True))
    for fields in ({"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert (await client.post("/quitquitquit", headers=fields)).status == 403
    assert (await client.get("/quitquitquit")).status == 405
    assert ended == []
    assert (await client.post("/quitquitquit")).status == 200
    assert ended == [True]
