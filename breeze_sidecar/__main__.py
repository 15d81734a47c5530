"""The way in. `healthcheck` runs every few seconds, so it is told apart before anything else is imported."""

import signal
import sys


def main() -> int:
    """Run the command named in the arguments; its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["healthcheck"]:
        from breeze_sidecar import healthcheck  # noqa: PLC0415 # instead of all that cli.py imports

        return healthcheck.main(arguments[1:])
    # As process 1 of a container it would otherwise ignore SIGTERM until it listens, a second or more from here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from breeze_sidecar import cli  # noqa: PLC0415 # as above

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
