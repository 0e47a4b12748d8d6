# `make demo` and `make test` are all you need; both set things up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo train-demo test lint types check docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/megactor-datagen run demo --output out/demo

train-demo: setup
	$(BIN)/python -m trainer.demo

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m docs.generate.format_page
	$(BIN)/python -m docs.generate.recipe_page

check: lint types test

clean:
	rm -rf $(VENV) out build dist *.egg-info
