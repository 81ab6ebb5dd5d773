# Everything runs in .venv, which is made on first use. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= quickstart
ARGS ?=
# Markers of tests that start processes of their own; they run one after another, so that no two clusters share cores.
PROCESSES := ray or prefect or chromium or slow
# One thread a process: Ray runs one worker a core.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast test-processes lint types check docs clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Make .venv with everything in it (a few minutes the first time)

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): torch, Ray and Prefect are large, this takes a few minutes the first time."
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or 3.12 is needed; got " + sys.version.split()[0] + ". Set PYTHON=…" if not (3, 11) <= sys.version_info < (3, 13) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup ## Run a campaign: the quickstart, or CONFIG=cifar2 ARGS="campaign.n_fit=4000"
	@$(BIN)/coterie run $(CONFIG) $(ARGS)

test: setup ## Run the tests: those that start processes of their own beside the rest
	@$(MAKE) --no-print-directory --keep-going -j2 test-fast test-processes

test-fast: setup ## Run the tests that need neither Ray, Prefect nor a browser
	@$(BIN)/python -m pytest -m "not ($(PROCESSES))"

test-processes: setup ## Run the tests that start Ray, Prefect, a browser or commands
	@$(BIN)/python -m pytest -m "$(PROCESSES)"

lint: setup ## Style
	@$(BIN)/ruff check .

types: setup ## Types
	@$(BIN)/mypy

check: lint types test ## Style, types and tests: what continuous integration runs

docs: setup ## Build the documentation into site/ (open site/index.html)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean: ## Remove .venv and caches; campaigns in runs/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info build site
