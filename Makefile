# `make demo` and `make test` are all you need; both set things up first.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
# Errors only: neither lists of what is installed, nor warnings about the machine's package index.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: setup demo train-demo test lint types check docs hooks clean

setup: $(VENV)/.ready

# The demo needs the base alone, which takes half the time and half the disk.
$(VENV)/.base: pyproject.toml constraints.txt
	@echo "installing the pipeline into $(VENV); takes about 2 minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "installing the pipeline, torch and the tools of the tests into $(VENV); takes about 4 minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e '.[train,dev]'
	@touch $(VENV)/.base $@

demo: $(VENV)/.base
	$(BIN)/megactor-datagen run demo --output out/demo

train-demo: setup
	$(BIN)/python -m trainer.demo

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m docs.generate.format_page
	$(BIN)/python -m docs.generate.recipe_page
	$(BIN)/python -m docs.generate.weights_table

check: lint types test

hooks: setup
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) out build dist *.egg-info
