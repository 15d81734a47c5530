"""Ports and sockets: bound, or refused with a line that names the setting."""

import errno
import os
import socket
import stat
from pathlib import Path

from aiohttp import web

from breeze_sidecar.errors import ConfigurationError


async def bind(site: web.BaseSite, variable: str, host: str, port: int) -> None:
    """Listen there.

    Args:
        site: to be started.
        variable: BREEZE_ and this is the port's setting.
        host: where.
        port: where.

    Raises:
        ConfigurationError: it cannot be bound; the line names the setting.
    """
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = f"port {port} on {host} is in use; stop what uses it, or choose another one (0 picks a free one)"
        elif error.errno == errno.EACCES:
            what = f"port {port} may not be bound by this user; choose one above 1023"
        else:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "the name is not known"
            what = (
                f"{host}:{port} cannot be bound: {reason}; BREEZE_{variable.replace('PORT', 'HOST')} names the address"
            )
        raise ConfigurationError([f"BREEZE_{variable}: {what}"]) from None


def authority(runner: web.BaseRunner) -> str:
    """Host and port of what was bound first, as in a URL."""
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unix_socket(path: Path) -> socket.socket:
    """A listening socket that only this user may connect to; one that a dead process left behind is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_socket(path):
            _refuse_if_in_use(path)
            path.unlink()
        before = os.umask(0o177)  # the mode is right from the first moment on
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        what = "exists and is no socket" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError([f"BREEZE_UDS: {path}: {what}; choose another path"]) from None
    except BaseException:
        listener.close()
        raise
    return listener


def _refuse_if_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
    raise ConfigurationError([f"BREEZE_UDS: {path} is in use by another process; choose another path"])


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return False
