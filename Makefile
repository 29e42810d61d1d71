# Each target sets up .venv from nothing; git, make and Python 3.11 or later are enough.

PYTHON ?= python3
BIN := .venv/bin
CORE := .venv/.core
STAMP := .venv/.installed

.PHONY: demo test test-slow lint bench docs clean

demo: $(CORE)
	$(BIN)/factorysim compare quickstart quickstart-open --out runs/demo

test: lint
	$(BIN)/python -m pytest -q -m "not slow" -n auto --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pytest -q -s analysis/bench

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv node_modules site build dist .mypy_cache .pytest_cache .ruff_cache

$(CORE): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs,explore]'
	touch $@
