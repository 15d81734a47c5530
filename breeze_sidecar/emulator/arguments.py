"""The emulator's flags; light, because every command's parser holds them."""

import argparse

from breeze_sidecar.emulator.config import UNAUTHENTICATED_STATUSES, Config
from breeze_sidecar.emulator.faults import KINDS, Fault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting."""
    default = Config()
    parser.add_argument("--host", default=default.host, help=f"the address to listen on ({default.host})")
    parser.add_argument("--port", type=int, default=default.port, help=f"0 picks a free one ({default.port})")
    parser.add_argument("--client-id", default=default.client_id, help=f"the sample client ({default.client_id})")
    parser.add_argument("--client-secret", default=default.client_secret, help="its secret: a sample, never a real one")
    for name, text in (
        ("token-lifetime", "how long a token lives, seconds"),
        ("window", "how long a window of both limits lasts, seconds"),
        ("rotation-grace", "how long the old secret stays valid after a rotation, seconds"),
        ("date-skew", "how far Breeze's clock runs ahead, seconds"),
        ("keepalive", "how long an idle connection is kept, seconds"),
    ):
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=float, default=value, metavar="SECONDS", help=f"{text} ({value:g})")
    for name, text in (("token-limit", "token requests in a window"), ("graphql-limit", "calls in a window")):
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=value, metavar="NUMBER", help=f"{text} ({value})")
    parser.add_argument(
        "--unauthenticated-status",
        type=int,
        choices=UNAUTHENTICATED_STATUSES,
        default=default.unauthenticated_status,
        help="the HTTP status beside UNAUTHENTICATED (200)",
    )
    for name, text in (
        ("unauthenticated-path", "that error bears the path of each root field, beside data: null"),
        ("sticky-tokens", "the same token is handed out again while it lives"),
        ("rotation-revokes", "a rotation of the secret kills the tokens issued before"),
        ("client-expired", "the client's secret has expired"),
        ("set-cookie", "each answer sets a cookie"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--no-compression", dest="compression", action="store_false", help="never compress answers")
    parser.add_argument(
        "--no-batching", dest="batching", action="store_false", help="refuse a JSON array of operations"
    )
    parser.add_argument(
        "--fault",
        dest="faults",
        action="append",
        type=_fault,
        default=[],
        metavar="KIND[,NAME=VALUE…]",
        help=f"what goes wrong from the start, such as fail,endpoint=token,times=2; kinds: {', '.join(KINDS)}",
    )


def config(options: argparse.Namespace) -> Config:
    """The config that the flags make."""
    given = {name: getattr(options, name) for name in Config.__dataclass_fields__}
    return Config(**{**given, "faults": tuple(options.faults)})


def _fault(text: str) -> Fault:
    kind, *pairs = text.split(",")
    fields: dict[str, object] = {"kind": kind}
    for pair in pairs:
        name, _, value = pair.partition("=")
        fields[name] = _value(value)
    try:
        return Fault.parse(fields)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _value(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
