"""errors.py: the tree of errors is the contract's list of codes."""

import re
from pathlib import Path

import pytest

from breeze_sidecar import errors
from breeze_sidecar.errors import ConfigurationError, ShuttingDown, SidecarError

CODES = {
    "SIDECAR_NOT_FOUND": 404,
    "SIDECAR_METHOD_NOT_ALLOWED": 405,
    "SIDECAR_FORBIDDEN": 403,
    "SIDECAR_UNSUPPORTED_MEDIA_TYPE": 415,
    "SIDECAR_PAYLOAD_TOO_LARGE": 413,
    "SIDECAR_BAD_REQUEST": 400,
    "SIDECAR_PRECONDITION_FAILED": 412,
    "SIDECAR_TOKEN_UNAVAILABLE": 503,
    "SIDECAR_CREDENTIALS_REJECTED": 503,
    "SIDECAR_UPSTREAM_UNREACHABLE": 502,
    "SIDECAR_UPSTREAM_TIMEOUT": 504,
    "SIDECAR_SHUTTING_DOWN": 503,
    "SIDECAR_INTERNAL": 500,
}
README = Path(__file__).parents[2] / "README.md"


def test_the_tree_is_the_contracts_list() -> None:
    assert {each.code: each.status for each in SidecarError.__subclasses__()} == CODES


@pytest.mark.parametrize("error", SidecarError.__subclasses__(), ids=lambda each: each.__name__)
def test_each_class_is_named_as_its_code_and_drawn_in_the_docstring(error: type[SidecarError]) -> None:
    assert "SIDECAR" + re.sub(r"(?=[A-Z])", "_", error.__name__).upper() == error.code
    assert re.search(rf"{error.__name__} +{error.status} ", str(errors.__doc__))


@pytest.mark.parametrize("code", CODES)
def test_the_readme_names_each_code(code: str) -> None:
    assert f"`{code}`" in README.read_text()


@pytest.mark.parametrize(("seconds", "field"), [(None, None), (0, 1), (0.2, 1), (1, 1), (1.01, 2), (30, 30)])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float | None, field: int | None) -> None:
    assert ShuttingDown("x", retry_after=seconds).retry_after == field


def test_a_configuration_error_has_a_line_for_each_problem() -> None:
    assert str(ConfigurationError(["a", "b"])) == "a\nb"
