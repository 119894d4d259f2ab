# `make demo` and `make test` need python3.11, git and make; the first run makes .venv and fetches the pinned packages,
# later runs need no network.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS ?= runs

.PHONY: demo test lint types unit setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV) || { echo "install python3.11 with its venv module (Debian: python3.11-venv)"; exit 1; }
	$(BIN)/pip install -q "pip==26.3"
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt --build-constraint constraints.txt -e ".[dev]"
	touch $@

# Train on four annotated articles from the embedded model, score on the fifth, show what was found.
demo: $(READY)
	$(BIN)/wasl train annotations --output $(RUNS)/demo --holdout 003
	$(BIN)/wasl evaluate $(RUNS)/demo annotations --documents 003
	$(BIN)/python scripts/show_predictions.py $(RUNS)/demo annotations/003.txt --count 3

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) $(RUNS) dist .mypy_cache .ruff_cache .pytest_cache
