"""A Breeze emulator and a sidecar in front of it, in one process: what `make demo` shows."""

import asyncio
import signal

from pydantic import SecretStr

from breeze_sidecar.emulator.app import start
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.settings import Settings
from breeze_sidecar.sidecar import Sidecar
from breeze_sidecar.telemetry import logs
from breeze_sidecar.telemetry.redaction import Redactor

_BODY = '{"query": "query WhoAmI { Me { _id userId email } }"}'


def run(port: int, admin_port: int, token_lifetime: float) -> int:
    """Run until interrupted; the exit code."""
    return asyncio.run(_run(port, admin_port, token_lifetime))


async def _run(port: int, admin_port: int, token_lifetime: float) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    emulator = await start(Config(port=0, token_lifetime=token_lifetime))
    try:
        # Not `load`: the demo looks at nothing of the user's.
        settings = Settings(
            base_url=emulator.url,
            client_id=emulator.state.config.client_id,
            client_secret=SecretStr(emulator.state.config.client_secret),
            port=port,
            admin_port=admin_port,
        )
        redactor = Redactor()
        log = logs.configure("info", "auto", redactor)
        async with Sidecar(settings, redactor, log, stop.set) as sidecar:
            print("Ready. In another terminal:\n")  # noqa: T201 # its purpose
            print(f"curl -s {sidecar.address}/graphql -H 'Content-Type: application/json' -d '{_BODY}'\n")  # noqa: T201 # its purpose
            print(f"What Breeze saw: {emulator.url}/_emulator; the sidecar's state: {sidecar.admin_address}/status")  # noqa: T201 # its purpose
            print("Stop it with Ctrl-C.\n", flush=True)  # noqa: T201 # its purpose
            await stop.wait()
            return 0 if await sidecar.drain() else 1
    finally:
        await emulator.close()
