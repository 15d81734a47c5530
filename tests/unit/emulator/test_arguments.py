"""emulator/arguments.py: flags become the config."""

import argparse
from pathlib import Path

import pytest

from breeze_sidecar.emulator.arguments import add_arguments, config
from breeze_sidecar.emulator.config import Config
from breeze_sidecar.emulator.faults import GRAPHQL_LIES, KINDS, TOKEN_LIES, Fault

DOCS = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text()


def parsed(*arguments: str) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return config(parser.parse_args(arguments))


def test_no_flags_are_the_defaults() -> None:
    assert parsed() == Config()


def test_each_flag_is_taken() -> None:
    changed = parsed(
        *("--port", "0", "--token-lifetime", "5", "--no-batching", "--sticky-tokens", "--graphql-limit", "7"),
        *("--fault", "fail,status=503,times=2", "--fault", "slow,delay=0.5", "--fault", "lie,lie=bomb"),
    )
    assert (changed.port, changed.token_lifetime, changed.batching, changed.sticky_tokens) == (0, 5.0, False, True)
    assert changed.faults == (
        Fault("fail", status=503, times=2),
        Fault("slow", delay=0.5),
        Fault("lie", lie="bomb"),
    )


@pytest.mark.parametrize("word", [*KINDS, *TOKEN_LIES, *GRAPHQL_LIES])
def test_the_documentation_knows_each_fault(word: str) -> None:
    assert f"`{word}`" in DOCS


@pytest.mark.parametrize("name", [name for name in Config.__dataclass_fields__ if name != "faults"])
def test_the_documentation_knows_each_setting(name: str) -> None:
    flag = name.replace("_", "-")
    assert f"`--{flag}" in DOCS or f"`--no-{flag}" in DOCS
