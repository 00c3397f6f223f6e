# Everything here works on a machine that has Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One worker more than cores, since many tests wait for a broker or a board. A file's tests stay
# together, those on MicroPython share one run of the interpreter; slow files go first.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# For what hangs, so that a run ends and says where; no test is held against a clock.
HANGS := --timeout 900
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(HANGS)
STAMP := $(VENV)/.installed

.PHONY: help test quick board mutations faults lint format demo bench clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fleetling needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	@touch $@

test: $(STAMP)  ## Every test, the slow ones too
	$(BIN)/python -m pytest $(SPREAD)

quick: $(STAMP)  ## The tests that take no more than a minute
	$(BIN)/python -m pytest $(SPREAD) -m 'not slow'

board: $(STAMP)  ## The tests of tests/board on a real board: make board PORT=/dev/ttyUSB0
	@test -n "$(PORT)" || { echo "Say which board: make board PORT=/dev/ttyUSB0"; exit 2; }
	$(BIN)/python -m pytest tests/board --board $(PORT) $(ARGS)

mutations: $(STAMP)  ## Seed faults in a copy of the product; the tests have to catch each
	$(BIN)/python tests/mutate.py

faults: $(STAMP)  ## Write docs/faults.md anew: what is shown, and how much was tried
	$(BIN)/python tests/faults.py

lint: $(STAMP)  ## Formatting, types, and what device code may use
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/lint_device.py

format: $(STAMP)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(STAMP)  ## Three simulated boards against a real broker, on your terminal
	$(BIN)/fleetling demo

bench: $(STAMP)  ## Sizes, heap and times, measured here
	$(BIN)/python -m tests.bench

clean:  ## Remove what the targets above made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
