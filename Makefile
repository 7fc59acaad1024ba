# `make ablate` and `make test` need nothing but Python >= 3.11: each sets up .venv first, with the versions in constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: ablate quick test test-slow bench bench-sweep bench-start check format wheel clean
ablate: $(VENV)/.installed
	$(BIN)/python sweeps/ablate_three_stage.py

quick: $(VENV)/.installed
	$(BIN)/python sweeps/ablate_three_stage.py --quick

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile  # files in two processes; one thread each

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.installed
	$(BIN)/python analysis/bench_steps.py

bench-sweep: $(VENV)/.installed  # what a sweep costs beyond training; takes minutes
	$(BIN)/python analysis/bench_sweep.py 30 300
	$(BIN)/python analysis/bench_plan.py 1000

bench-start: $(VENV)/.installed  # until the first step, dry runs, finished studies; minutes, and on a machine with nothing else to do
	$(BIN)/python analysis/bench_start.py 5

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.installed  # what pip installs anywhere: dist/semiseg-VERSION-py3-none-any.whl
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) results

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "semiseg needs Python 3.11 or newer: make PYTHON=python3.12 ..."'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt -e ".[dev]"
	touch $@
