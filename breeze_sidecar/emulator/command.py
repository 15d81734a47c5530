"""`breeze-sidecar emulator`: runs the emulator until it is told to stop."""

import argparse
import asyncio
import signal
import sys

from breeze_sidecar.emulator.app import start
from breeze_sidecar.emulator.arguments import add_arguments, config
from breeze_sidecar.emulator.config import Config

__all__ = ["add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 2 if the port cannot be bound."""
    return asyncio.run(_run(config(options)))


async def _run(settings: Config) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        running = await start(settings)
    except OSError as error:
        print(f"--port: {settings.host}:{settings.port} cannot be bound: {error.strerror}", file=sys.stderr)  # noqa: T201 # for people
        return 2
    print(f"Breeze emulator: {running.url}")  # noqa: T201 # for people
    print(f"client_id {settings.client_id}, client_secret {settings.client_secret} (samples)")  # noqa: T201 # for people
    print(f"what it has seen: curl -s {running.url}/_emulator", flush=True)  # noqa: T201 # for people
    await stop.wait()
    await running.close()
    return 0
