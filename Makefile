# Two commands: `make demo` shows what affectus does, `make test` runs everything CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
DEMO ?= demo-report
# Compiling the demo's and the suite's native threads against each other only slows both down.
export OMP_NUM_THREADS ?= 2

.PHONY: demo test lint types imports suite clean

$(VENV)/core: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "affectus needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[aus]"
	touch $@

$(VENV)/dev: $(VENV)/core requirements/constraints.txt
	$(PIP) --editable ".[train,speech,aus,data,dev]"
	touch $@

demo: $(VENV)/core
	@$(BIN)/python examples/demo.py $(DEMO)

test: lint types imports suite

lint: $(VENV)/dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports

# Two workers on two cores: one thread each.
suite: export OMP_NUM_THREADS = 1
suite: $(VENV)/dev
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 15

clean:
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
