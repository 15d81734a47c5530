# Everything a developer does here. Needs Python 3.11 or newer, make, and a package index; `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = breeze_sidecar tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test test-containers unit check format clients bench lowest clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/runtime ## a Breeze emulator and a sidecar in front of it; prints a curl to try, runs until interrupted
	@exec $(BIN)/breeze-sidecar demo

test: $(VENV)/developer ## all tests, with the coverage of branches
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto --dist worksteal $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

unit: $(VENV)/developer ## the unit tests alone: no sockets, a few seconds
	$(BIN)/python -m pytest tests/unit $(ARGS)

test-containers: $(VENV)/developer ## the image, compose and a pod on a real engine; needs Docker
	$(BIN)/python -m pytest tests/containers $(ARGS)

check: $(VENV)/developer ## lint, format, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/developer ## format, and repair what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clients: $(VENV)/runtime ## a real curl, Node fetch and Java HttpClient through the sidecar, over a token expiry
	$(BIN)/python examples/clients.py

bench: ## the sidecar beside a plain aiohttp proxy, nginx and mitmproxy, in one interleaved run
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-bench/bin/python -m pip install -q --disable-pip-version-check -e . --group bench
	.venv-bench/bin/python benchmarks/compare.py $(ARGS)

lowest: ## the tests on the oldest dependencies that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -q --disable-pip-version-check --upgrade pip uv
	.venv-lowest/bin/uv pip install -q --python .venv-lowest/bin/python --resolution lowest-direct -e . --group test
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal $(ARGS)

clean: ## remove what the other targets made
	rm -rf .venv* .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

$(VENV)/runtime: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/developer: $(VENV)/runtime
	$(BIN)/python -m pip install -q --disable-pip-version-check --group test --group check
	@touch $@
