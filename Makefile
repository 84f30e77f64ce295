# Two commands do everything on a fresh machine with Python 3.10 to 3.13:
#   make demo   set up, start a local Elasticsearch, ingest the sample catalogue, show three searches
#   make test   set up, run every check
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo down test lint types unit bench mini clean

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing es-xmodal with the local Elasticsearch (once)" >&2
	$(PIP) --editable '.[local]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing es-xmodal with everything its tests need (once)" >&2
	$(PIP) --editable '.[test]'
	@touch $@

demo: $(VENV)/.demo ## set up, start, ingest the sample catalogue, show three searches
	@$(BIN)/es-xmodal demo

down: $(VENV)/.demo ## stop the local Elasticsearch
	@$(BIN)/es-xmodal down

test: lint types $(VENV)/.test ## set up, run every check
	$(BIN)/python -m pytest

lint: $(VENV)/.test ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test ## mypy --strict
	$(BIN)/mypy

unit: $(VENV)/.test ## the tests that need no server and no model
	$(BIN)/python -m pytest -m "unit or golden" -q

bench: $(VENV)/.test ## ratios, measured side by side in one run
	$(BIN)/python -m benchmarks

clean: ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist demo.png
