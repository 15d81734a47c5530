"""Sections 2 and 3 of the contract on their way through TLS and proxies, and large bodies."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from support.program import ORDER, Start
from support.relay import proxy, tls

from breeze_sidecar.emulator.app import Running as Emulator


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(made)
    return made


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def test_2_a_ca_file_is_trusted_and_nothing_else(
    sidecar: Start, emulator: Emulator, authority: trustme.CA, ca_file: str
) -> None:
    async with tls(emulator.url, context(authority, "localhost")) as port:
        url = f"https://localhost:{port}"
        program = await sidecar(base_url=url, ca_file=ca_file)
        assert "errors" not in (await program.call(ORDER)).json
        checked = await sidecar("check", "--json", listens=False, base_url=url, ca_file=ca_file)
        assert await checked.ended() == 0
        assert "the certificate is trusted" in "\n".join(checked.lines)
        checked = await sidecar("check", "--json", listens=False, base_url=url)
        assert await checked.ended() == 1
        assert "BREEZE_CA_FILE" in "\n".join(checked.lines)
        program = await sidecar(base_url=url, warm=False, connect_timeout="0.5")
        reply = await program.call()
        assert (reply.status, reply.code) == (503, "SIDECAR_TOKEN_UNAVAILABLE")
    async with tls(emulator.url, context(authority, "another.example")) as port:
        program = await sidecar(base_url=f"https://localhost:{port}", ca_file=ca_file, warm=False)
        assert (await program.call()).status == 503


async def test_2_https_goes_through_a_tunnel_of_the_proxy(
    sidecar: Start, emulator: Emulator, authority: trustme.CA, ca_file: str
) -> None:
    seen: list[str] = []
    async with tls(emulator.url, context(authority, "breeze.test")) as port, proxy(port, seen) as through:
        program = await sidecar(base_url="https://breeze.test", ca_file=ca_file, proxies={"HTTPS_PROXY": through})
        assert "errors" not in (await program.call(ORDER)).json
        checked = await sidecar(
            "check", listens=False, base_url="https://breeze.test", ca_file=ca_file, proxies={"HTTPS_PROXY": through}
        )
        assert await checked.ended() == 0
    assert set(seen) == {"CONNECT breeze.test:443 HTTP/1.1"}
    assert len(emulator.state.orders) == 1


async def test_2_plain_http_goes_through_the_proxy_in_absolute_form(sidecar: Start, emulator: Emulator) -> None:
    seen: list[str] = []
    port = int(emulator.url.rpartition(":")[2])
    async with proxy(port, seen) as through:
        program = await sidecar(
            base_url="http://breeze.test", allow_insecure_upstream="true", proxies={"HTTP_PROXY": through}
        )
        assert "errors" not in (await program.call()).json
    assert set(seen) == {
        "POST http://breeze.test/oauth/token HTTP/1.1",
        "POST http://breeze.test/graphql HTTP/1.1",
    }


async def test_2_a_proxy_that_refuses_is_named(sidecar: Start, emulator: Emulator) -> None:
    seen: list[str] = []
    async with proxy(1, seen, refuse=True) as through:
        program = await sidecar(
            base_url="https://breeze.test", proxies={"HTTPS_PROXY": through}, warm=False, connect_timeout="0.3"
        )
        reply = await program.call()
    assert reply.status == 503
    assert seen


async def test_3_3_a_photo_of_several_megabytes_passes(sidecar: Start, emulator: Emulator) -> None:
    program = await sidecar()
    photo = "x" * 5_000_000
    order = """mutation Order($data: [CredentialOrderDataFieldInput]!) {
      CredentialOrderV1(credential: {template_id: "sample-template-1", data: $data}) { _id } }"""
    body = json.dumps({"query": order, "variables": {"data": [{"name": "photo", "value": photo}]}}).encode()
    reply = await program.post(body)
    assert "errors" not in reply.json
    assert emulator.state.requests[-1]["bytes"] == len(body)
    emulator.state.revoke()
    assert "errors" not in (await program.post(body)).json
    assert len(emulator.state.orders) == 2


async def test_3_4_a_caller_of_http_1_0_gets_its_answer(sidecar: Start) -> None:
    program = await sidecar()
    body = b'{"query": "{ __schema { types { name fields { name } } } }"}'
    head = b"POST /graphql HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answer = await program.raw(head % len(body) + body)
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
