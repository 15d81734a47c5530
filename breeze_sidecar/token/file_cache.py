"""The token in a file: for restarts of a container, and for laptops."""

import asyncio
import base64
import fcntl
import json
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from breeze_sidecar.clock import Clock
from breeze_sidecar.token.caches import HOUR, Entry, Health, Kept, Pause, Witness
from breeze_sidecar.token.sealing import Sealer

#: Seconds to wait for another process's turn; its token request has ended by then, or the process hangs.
PATIENCE = 45.0
#: Bytes of a file that are read.
_LARGEST = 256 * 1024
_VERSION = 1


class _Unusable(Exception):
    """The file is not one that this process wrote, or not whole; the sentence says how."""


class FileCache:
    """One client's token in one file, mode 0600, written at once or not at all.

    A lock on a second file beside it (``.lock``) lets one process ask at a time; the kernel takes it from a process
    that ends, however it ends.

    Args:
        path: of the file; its directory must exist.
        sealer: seals the token.
        clock: the time.
        witness: hears of troubles.
    """

    def __init__(self, path: Path, sealer: Sealer, clock: Clock, witness: Witness) -> None:
        self._path = path
        self._sealer = sealer
        self._clock = clock
        self._health = Health(witness)
        self._holder = secrets.token_hex(4)
        self._own: list[float] = []

    @property
    def behind(self) -> bool:
        """Whether the last token could not be written."""
        return not self._health.well

    @asynccontextmanager
    async def turn(self, take: Callable[[Kept], bool]) -> AsyncIterator[bool]:
        """See Cache."""
        deadline = self._clock.now() + PATIENCE
        lock = -1
        try:
            while lock < 0:
                if take(await self._load()):
                    yield False
                    return
                try:
                    lock = self._lock()
                except BlockingIOError:
                    if self._clock.now() >= deadline:
                        self._health.failed(f"{self._path}.lock is held by a process that hangs")
                        break
                    await self._clock.sleep(self._clock.jitter(0.05, 0.15))
                except OSError as error:
                    self._health.failed(f"{self._path}.lock cannot be locked: {error.strerror}")
                    break
            # Another one may have asked between the look and the lock.
            yield not take(await self._load())
        finally:
            if lock >= 0:
                os.close(lock)

    async def look(self, take: Callable[[Kept], bool]) -> bool:
        """See Cache."""
        return take(await self._load())

    async def spend(self, moment: float) -> None:
        """See Cache."""
        self._own.append(moment)
        await self._save({})

    async def store(self, entry: Entry) -> None:
        """See Cache."""
        await self._save({"token": entry, "pause": None})

    async def hold_off(self, pause: Pause) -> None:
        """See Cache."""
        await self._save({"pause": pause})

    def _lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._path}.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    async def _load(self) -> Kept:
        content = await self._read()
        moments = _others(content, self._holder, self._clock.wall() - HOUR)
        try:
            return Kept(self._open_entry(content), moments, self._open_pause(content))
        except ValueError:  # the secret cannot be read; the token request will say so
            return Kept(None, moments)

    def _open_entry(self, content: dict[str, object]) -> Entry | None:
        sealed = _bytes(content.get("token"))
        entry = self._sealer.open_entry(sealed) if sealed else None
        if sealed and entry is None:
            self._health.ignored(f"the token in {self._path} was sealed with another secret, or is damaged")
        return entry

    def _open_pause(self, content: dict[str, object]) -> Pause | None:
        sealed = _bytes(content.get("pause"))
        pause = self._sealer.open_pause(sealed) if sealed else None
        return pause if pause is not None and pause.until > self._clock.wall() else None

    async def _read(self) -> dict[str, object]:
        """The file's content; nothing where there is none, or none that can be used."""
        try:
            content = await asyncio.to_thread(_read, self._path)
        except FileNotFoundError:
            return {}
        except _Unusable as error:
            self._health.ignored(f"{self._path} {error}")
            return {}
        except OSError as error:
            self._health.failed(f"{self._path} cannot be read: {error.strerror}")
            return {}
        if content.get("client") != self._sealer.client:
            self._health.ignored(f"{self._path} belongs to another client or environment")
            return {}
        return content

    async def _save(self, changes: Mapping[str, Entry | Pause | None]) -> None:
        """Write what the file holds, with these changes and this process's requests."""
        content = await self._read()
        since = self._clock.wall() - HOUR
        self._own = [moment for moment in self._own if moment > since]
        requests = [[moment, ""] for moment in _others(content, self._holder, since)]
        requests += [[moment, self._holder] for moment in self._own]
        # What stays, stays as it was sealed: perhaps with another secret.
        fresh: dict[str, object] = {name: content[name] for name in ("token", "pause") if name in content}
        try:
            for name, thing in changes.items():
                fresh[name] = None if thing is None else base64.b64encode(self._sealer.seal(thing)).decode()
        except ValueError:
            return  # the secret cannot be read; the token request says so
        fresh |= {"version": _VERSION, "client": self._sealer.client, "requests": requests}
        try:
            await asyncio.to_thread(_write, self._path, json.dumps(fresh).encode())
        except OSError as error:
            self._health.failed(f"{self._path} cannot be written: {error.strerror}")
        else:
            self._health.worked()


def _others(content: dict[str, object], holder: str, since: float) -> tuple[float, ...]:
    """The moments of requests that this process did not make."""
    listed = content.get("requests")
    if not isinstance(listed, list):
        return ()
    pairs = [pair for pair in listed if isinstance(pair, list) and len(pair) == 2]  # noqa: PLR2004 # a pair
    return tuple(
        float(moment) for moment, who in pairs if isinstance(moment, (int, float)) and moment > since and who != holder
    )


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b"damaged"


def _read(path: Path) -> dict[str, object]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Unusable("is not a regular file")
        if status.st_uid != os.geteuid():
            raise _Unusable(f"belongs to uid {status.st_uid}, not to this process's {os.geteuid()}")
        if status.st_mode & 0o077:
            raise _Unusable("may be read or written by others; its mode must be 0600")
        text = file.read(_LARGEST)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _Unusable("is damaged")
    if content.get("version") != _VERSION:
        raise _Unusable("was written by another version")
    return content


def _write(path: Path, data: bytes) -> None:
    """Replace the file: a reader sees the old content or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
