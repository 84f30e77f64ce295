# Three commands do everything on a fresh machine with Python 3.10 to 3.13:
#   make demo   set up, start a local Elasticsearch, ingest the sample catalogue, show three searches
#   make page   the same sample on its search page
#   make test   set up, run every check
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo page pictures down test lint types unit bench mini browser clean

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

$(VENV)/.page: pyproject.toml | $(BIN)/python
	@echo "installing es-xmodal with the local Elasticsearch and the service (once)" >&2
	$(PIP) --editable '.[local,server]'
	@touch $@ $(VENV)/.demo

page: $(VENV)/.page ## the sample's search page, in a browser where there is a display; Ctrl-C stops it
	@$(BIN)/es-xmodal demo --page

down: $(VENV)/.demo ## stop the local Elasticsearch
	@$(BIN)/es-xmodal down

test: lint types $(VENV)/.test browser ## set up, run every check
	$(BIN)/python -m pytest

browser: ## the browser that tests of the page need: Debian's, where there is none
	@command -v chromium >/dev/null || test -n "$$ES_XMODAL_TEST_BROWSER" || { \
	  command -v apt-get >/dev/null || { echo "install chromium, or name one in ES_XMODAL_TEST_BROWSER" >&2; exit 0; }; \
	  root=$$(test "$$(id -u)" = 0 || echo "sudo -n"); \
	  echo "installing chromium with apt-get (once)" >&2; \
	  { $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install -y --no-install-recommends chromium fonts-noto-cjk >/dev/null; } \
	  || echo "chromium could not be installed: the tests of the page skip, and fail in CI" >&2; }

pictures: $(VENV)/.test browser ## take the pictures of the page in docs/pictures anew
	$(BIN)/python -m tests.browser.pictures

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
