"""Real clients in other languages: the programs of examples/."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from support.program import ORDER, QUERY, Program, Start

from breeze_sidecar.emulator.app import Running as Emulator

EXAMPLES = Path(__file__).parents[2] / "examples"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on this machine")


async def run(program: Program, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    program.calls += 1
    return output.decode()


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(["curl", "-s", "-H", "Content-Type: application/json"], id="curl", marks=needs("curl")),
        pytest.param(["node", str(EXAMPLES / "client.mjs")], id="Node's fetch", marks=needs("node")),
        pytest.param(["java", str(EXAMPLES / "Client.java")], id="Java's HttpClient", marks=needs("java")),
    ],
)
async def test_a_query_and_a_mutation_over_a_token_expiry(
    sidecar: Start, emulator: Emulator, client: list[str]
) -> None:
    program = await sidecar()
    url = f"{program.url}/graphql"

    def call(document: str) -> list[str]:
        if client[0] == "curl":
            return [*client, url, "-d", json.dumps({"query": document})]
        return [*client, url, document.replace("\n", " ")]

    assert json.loads(await run(program, *call(QUERY)))["data"]["Me"]["email"] == "user@example.com"
    emulator.state.revoke()
    assert json.loads(await run(program, *call(ORDER)))["data"]["CredentialOrderV1"]["status"] == "ORDERED"
    assert (await program.completed())["replayed"] is True
    assert len(emulator.state.orders) == 1
