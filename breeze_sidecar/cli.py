"""The commands and their exit codes: 0 a clean stop, 1 a failed check or calls cut off, 2 settings that cannot work."""

import argparse
import sys
from collections.abc import Callable, Sequence

from breeze_sidecar import __version__
from breeze_sidecar.errors import ConfigurationError
from breeze_sidecar.settings import Loaded, add_flags, load

_EPILOG = (
    "Settings are BREEZE_* environment variables, a .env file, files in /run/secrets, or the flags of each command."
)


def main(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(_with_default(list(arguments)))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 # for people, before there is a log
        return 2
    except KeyboardInterrupt:
        return 1


def _with_default(arguments: list[str]) -> list[str]:
    """`serve` where no command is named."""
    first = arguments[0] if arguments else ""
    named = bool(first) and (not first.startswith("-") or first in {"-h", "--help", "--version"})
    return arguments if named else ["serve", *arguments]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="breeze-sidecar",
        description="A local proxy that gives any application authenticated access to the Breeze GraphQL API.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"breeze-sidecar {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the sidecar (the default)", epilog=_EPILOG, allow_abbrev=False)
    add_flags(serve)
    serve.set_defaults(run=_serve)

    demo = commands.add_parser(
        "demo",
        help="a local Breeze emulator and a sidecar in front of it; no credentials needed",
        allow_abbrev=False,
    )
    demo.add_argument("--port", type=_port, default=4747, help="the sidecar's port (default 4747; 0 picks a free one)")
    demo.add_argument("--admin-port", type=_port, default=4748, help="the admin port (default 4748)")
    demo.add_argument(
        "--token-lifetime", type=_seconds, default=3600.0, metavar="SECONDS", help="of the emulator's tokens (3600)"
    )
    demo.set_defaults(run=_demo)

    emulator = commands.add_parser("emulator", help="the Breeze emulator alone", allow_abbrev=False)
    _add_emulator_arguments(emulator)
    emulator.set_defaults(run=_emulator)

    check = commands.add_parser(
        "check", help="say in plain words what works, and what to do about what does not", allow_abbrev=False
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    add_flags(check)
    check.set_defaults(run=_check)

    commands.add_parser("healthcheck", help="ask a running sidecar whether it is ready, for probes", add_help=False)
    return parser


def _loaded(options: argparse.Namespace) -> Loaded:
    flags = {name: value for name, value in vars(options).items() if name not in {"run", "json"}}
    return load(flags)


def _serve(options: argparse.Namespace) -> int:
    loaded = _loaded(options)
    from breeze_sidecar import sidecar  # noqa: PLC0415 # bad settings are told before the slow imports

    return sidecar.serve(loaded.settings, loaded.warnings)


def _demo(options: argparse.Namespace) -> int:
    from breeze_sidecar import demo  # noqa: PLC0415 # brings the emulator, which `serve` does not need

    return demo.run(options.port, options.admin_port, options.token_lifetime)


def _check(options: argparse.Namespace) -> int:
    from breeze_sidecar import check  # noqa: PLC0415 # as above

    return check.run(lambda: _loaded(options), as_json=options.json)


def _add_emulator_arguments(parser: argparse.ArgumentParser) -> None:
    from breeze_sidecar.emulator import arguments  # noqa: PLC0415 # light, unlike the emulator itself

    arguments.add_arguments(parser)


def _emulator(options: argparse.Namespace) -> int:
    from breeze_sidecar.emulator import command  # noqa: PLC0415 # brings graphql-core's executor

    return command.run(options)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:  # noqa: PLR2004 # the largest port
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 1e9:  # noqa: PLR2004 # thirty years
        raise argparse.ArgumentTypeError("a number of seconds above 0 is asked for")
    return seconds
