# Every target makes the virtual environment .venv first if it is not there or pyproject.toml has changed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RESULTS ?= results/quick
# Processes that share the tests, a file each at a time; each takes up to 3 GB.
WORKERS ?= 2

.PHONY: help leaderboard test test-all bench lint clean

help:
	@echo "make leaderboard   run a small real competition and show its leaderboard"
	@echo "make test          the tests (minutes)"
	@echo "make test-all      the tests, slow ones too"
	@echo "make bench         speed, as ratios measured in one run"
	@echo "make lint          ruff and the type checker"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[agents,dev]"
	touch $(STAMP)

leaderboard: $(STAMP)
	$(BIN)/dsegym run quick --output $(RESULTS)
	$(BIN)/dsegym leaderboard $(RESULTS)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
