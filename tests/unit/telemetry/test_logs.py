"""telemetry/logs.py: one line per event, which no value can break."""

import json
import logging
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from breeze_sidecar.telemetry import logs
from breeze_sidecar.telemetry.redaction import MASK, Redactor


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


class Log:
    def __init__(self, level: str = "info", fmt: str = "json") -> None:
        self.stream = BytesIO()
        self.redactor = Redactor()
        self.log = logs.configure(level, fmt, self.redactor, self.stream)

    def text(self) -> str:
        return self.stream.getvalue().decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


def test_json_is_one_object_per_line() -> None:
    log = Log()
    log.log.info("call.completed", status=200, note="two\nlines", nothing=None)
    (line,) = log.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"level": "info", "event": "call.completed", "status": 200, "note": "two\nlines", "nothing": None}


def test_the_console_is_for_people_and_no_value_forges_a_line() -> None:
    log = Log(fmt="console")
    log.log.warning("token.refresh_failed", message="two\nlines \x1b[31m", nothing=None)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning token\.refresh_failed message=two\\nlines \\x1b\[31m\n", log.text())


def test_auto_is_json_where_there_is_no_terminal() -> None:
    log = Log(fmt="auto")
    log.log.info("x.done")
    assert log.lines()[0]["event"] == "x.done"


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_kept(level: str, told: int) -> None:
    log = Log(level)
    log.log.debug("a")
    log.log.info("b")
    log.log.warning("c")
    log.log.error("d")
    assert len(log.lines()) == told


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_every_line_passes_the_redactor_tracebacks_too(fmt: str) -> None:
    log = Log(fmt=fmt)
    log.redactor.add("the-secret")
    error = ValueError("holds the-secret")
    log.log.error("call.crashed", value="the-secret", exc_info=error)
    assert "the-secret" not in log.text()
    assert "ValueError: holds" in log.text()
    assert MASK in log.text()


def test_a_long_value_is_cleaned_before_it_is_cut() -> None:
    log = Log()
    log.redactor.add("the-secret")
    log.log.info("x.done", value="x" * 1020 + "the-secret" + "x" * 100)
    assert log.lines()[0]["value"] == "x" * 1020 + MASK[:4] + "…"


def test_libraries_log_into_the_same_stream_and_what_quotes_callers_is_not_quoted() -> None:
    log = Log("debug")
    logging.getLogger("some.library").warning("a %s", "message")
    logging.getLogger("some.library").info("fine")
    logging.getLogger("some.library").debug("noise")
    error = ValueError("quotes a caller")
    logging.getLogger("aiohttp.server").error("quotes a caller", exc_info=error)
    logging.getLogger("some.library").error("broke", exc_info=error)
    logging.getLogger("aiohttp.server").error("quotes a caller")
    lines = log.lines()
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("warning", "some.library"),
        ("info", "some.library"),
        ("error", "aiohttp.server"),
        ("error", "some.library"),
        ("error", "aiohttp.server"),
    ]
    assert lines[2]["error"] == "ValueError"
    assert "quotes a caller" not in lines[2]["message"] + lines[4]["message"]
    assert "ValueError" in lines[3]["traceback"]


def test_a_closed_stream_breaks_nothing() -> None:
    log = Log()
    log.stream.close()
    log.log.info("x.done")
