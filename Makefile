# `make run` and `make test` are the two commands to know. Both install what they need into .venv first;
# a second run finds the stamps and starts at once. PYTHON=/path/to/python3.12 picks another interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UPSTREAM ?=
export VLLM_PYTHON VLLM_MODEL
BENCH ?=
TESTS ?= tests

.PHONY: help run test check bench test-vllm clean

help:
	@echo "make run [UPSTREAM=http://127.0.0.1:8000]  the sidecar, in front of your server or a simulated one"
	@echo "make test [TESTS=tests/unit]               the tests"
	@echo "make check                                 lint, format, types, who imports whom"
	@echo "make bench [BENCH=relay]                   the comparisons with other tools"
	@echo "make test-vllm VLLM_PYTHON=P VLLM_MODEL=D  the tests before a real vLLM"
	@echo "make clean                                 removes .venv and caches; no data"

run: $(VENV)/.installed
	@exec $(BIN)/sizewise up $(if $(UPSTREAM),--upstream "$(UPSTREAM)",--simulate)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not vllm" $(TESTS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks $(BENCH)

test-vllm: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m vllm tests/vllm

clean:
	rm -rf $(VENV) .tooling build dist collector/_assets .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems ship Python without ensurepip; virtualenv brings its own pip.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; PYTHON=$(PYTHON) is not. Try make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { rm -rf $(VENV); $(PYTHON) -m pip install --quiet --target .tooling virtualenv \
	       && PYTHONPATH=.tooling $(PYTHON) -m virtualenv --quiet $(VENV); }
	@touch $@

# The lock first, every file by its hash; then this checkout itself, which no lock can name.
$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.made
	@echo "Installing what Sizewise needs (once, about a minute)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml $(VENV)/.made
	@echo "Installing what Sizewise and its tests need (once, a minute or two)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed
