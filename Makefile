# `make serve` and `make test` are all there is to know; both need Python 3.11+ and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help serve test check format clean

help:
	@echo "make serve    start the server on port 8000 (PORT=... to change it; ARGS='--help' for its settings)"
	@echo "make test     every check and every test"
	@echo "make check    linters, types, import contracts"
	@echo "make format   format the code"
	@echo "make clean    remove the virtual environment and caches"

serve: $(VENV)/.runtime
	@$(BIN)/python rerank_server.py $(ARGS)

test: check
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict compose.yaml

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another: make serve PYTHON=python3.12")'
	@echo "installing into $(VENV), once; this takes a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(PIP) -r requirements-dev.txt
	@touch $@
