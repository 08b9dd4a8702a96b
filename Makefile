# The one way to check this project. Tools come from the active environment, or PYTHON=path/to/python make check.
PYTHON ?= python
export OMP_NUM_THREADS ?= 1

.PHONY: check lint types test bench cards

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -n auto

lint:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n auto

# Speed, as JSON lines; never part of pass or fail.
bench:
	$(PYTHON) -m offmarl_bench bench engine --json
	$(PYTHON) -m offmarl_bench bench generate --json
	$(PYTHON) -m offmarl_bench bench load --json
	$(PYTHON) -m offmarl_bench bench train --json

# One page a dataset, from the files in $OFFMARL_HOME; doing it again changes nothing.
cards:
	$(PYTHON) -m offmarl_bench card --published
