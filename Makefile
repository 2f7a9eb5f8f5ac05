# `make` sets everything up in .venv; every other target does so first when it has to.
#
#   make          the environment only
#   make train    trains Touch Cube in simulation, evaluates it and writes the report
#   make check    the fast loop: lint, types, and the tests that take neither long nor real time
#   make test     all tests
#   make bench    speed and learning figures, with the ratios they are held to
#   make lint     formatting, lint and types

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CONFIG ?= configs/touch_cube.yaml
RUN ?= runs/$(basename $(notdir $(CONFIG)))
TORCH := $(shell grep '^torch==' constraints.txt)

# Small networks are fastest on one thread; Ray starts its processes with the same setting.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: setup train check test bench lint clean

setup: $(STAMP)

# The stamp is written last: an install that was cut short has none and starts over from nothing.
$(STAMP): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: there is no '$(PYTHON)'. Install Python 3.11 or 3.12, or name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || { \
	  echo "error: $$($(PYTHON) --version) is too old or too new: Python 3.11 or 3.12 is needed. Name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: this Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	rm -rf $(VENV)
	@echo '[1/3] virtual environment'
	$(PYTHON) -m venv $(VENV)
	@echo '[2/3] PyTorch'
	$(BIN)/pip install -c constraints.txt '$(TORCH)'
	@echo '[3/3] the program and what it needs'
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

train: $(STAMP)
	$(BIN)/e2hil train $(CONFIG) --run-dir $(RUN) --resume

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not realtime"

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks.run

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
