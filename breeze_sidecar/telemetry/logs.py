"""One log line per event, JSON or for a terminal; every finished line passes the redactor."""

import logging
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from breeze_sidecar.telemetry.redaction import Redactor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: Characters of one value; a traceback may be longer.
_LONGEST, _LONGEST_TRACEBACK = 1024, 16 * 1024
#: Loggers whose messages quote what callers sent.
_QUOTING = ("aiohttp.server", "aiohttp.access", "aiohttp.web", "aiohttp.client")


class _Lines:
    """The end of the line: bytes on a stream. A closed stream must never break a call."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def msg(self, line: bytes) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            self._stream.write(line + b"\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


def configure(level: str, fmt: str, redactor: Redactor, stream: BinaryIO | None = None) -> FilteringBoundLogger:
    """Set up the process's logging, the libraries' included.

    Args:
        level: BREEZE_LOG_LEVEL.
        fmt: BREEZE_LOG_FORMAT.
        redactor: cleans each line.
        stream: stdout unless given.
    """
    out = stream if stream is not None else sys.stdout.buffer
    console = fmt == "console" or (fmt == "auto" and out.isatty())

    def render(_logger: WrappedLogger, level_name: str, event: EventDict) -> bytes:
        line = (_console if console else _json)(level_name, _bounded(event, redactor))
        return redactor.clean_bytes(line)

    log = structlog.wrap_logger(
        cast("WrappedLogger", _Lines(out)),
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_FromLibraries(log)]
    root.setLevel(max(LEVELS[level], logging.INFO))
    logging.captureWarnings(capture=True)
    return cast("FilteringBoundLogger", log.bind())


class _FromLibraries(logging.Handler):
    """Brings the libraries' messages into the same log."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one message; of loggers that quote callers, only what kind of error it was."""
        error = record.exc_info[1] if record.exc_info else None
        if record.name.startswith(_QUOTING):
            message = f"{record.levelname.lower()} in {record.name}"
            facts: dict[str, object] = {"error": type(error).__name__} if error is not None else {}
        else:
            message = record.getMessage()
            facts = {"exc_info": error} if error is not None else {}
        method = {"WARNING": self._log.warning, "ERROR": self._log.error, "CRITICAL": self._log.error}
        tell = method.get(record.levelname, self._log.info)
        tell("library.logged", logger=record.name, message=message, **facts)


def _json(level: str, event: EventDict) -> bytes:
    facts = {"timestamp": datetime.now(UTC), "level": level, "event": event.pop("event")}
    facts.update(event)
    return orjson.dumps(facts, default=repr, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _console(level: str, event: EventDict) -> bytes:
    now = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 # the reader's own clock
    name = event.pop("event")
    trace = event.pop("traceback", "")
    pairs = " ".join(f"{key}={_plain(value)}" for key, value in event.items() if value is not None)
    lines = "".join(f"\n    {_plain(line)}" for line in str(trace).splitlines())
    return f"{now} {level:<7} {name:<20} {pairs}{lines}".encode("utf-8", "replace")


def _bounded(event: EventDict, redactor: Redactor) -> EventDict:
    """The event with long texts cut, cleaned first as half a secret would not be known for one.

    An exception becomes its traceback, without locals.
    """
    if (error := event.pop("exc_info", None)) is not None:
        event["traceback"] = redactor.clean("".join(traceback.format_exception(error)))[-_LONGEST_TRACEBACK:]
    for key, value in event.items():
        if value.__class__ is str and len(value) > _LONGEST and key != "traceback":
            event[key] = redactor.clean(value)[:_LONGEST] + "…"
    return event


def _plain(value: object) -> str:
    """A value that cannot forge a line or move the cursor."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
