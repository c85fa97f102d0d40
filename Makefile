# Every target makes its virtual environment first if it is not there or pyproject.toml has changed: .venv, or with
# PYTHON=... one of that interpreter's version, such as .venv-3.13.
ifdef PYTHON
VERSION := $(shell ( $(PYTHON) -c 'import sys; sys.version_info < (3, 11) or print("%d.%d" % sys.version_info[:2])' ) 2>/dev/null)
ifneq ($(words $(VERSION))$(filter 3.%,$(VERSION)),1$(VERSION))
$(error PYTHON=$(PYTHON) is no Python 3.11 or newer that runs; name one, or its path)
endif
VENV := .venv-$(VERSION)
else
VENV := .venv
endif
BASE := $(or $(PYTHON),python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := $(VENV)/.clients
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RESULTS ?= results/quick
POLICIES ?= results/policies
# Processes that share the tests, a file each at a time; each takes up to 3 GB.
WORKERS ?= 2

# Fast and broad: under a minute on two cores once JAX's compilations are kept, and nothing here needs torch.
QUICK := tests/test_architecture.py tests/envs/core/test_spaces.py tests/envs/core/test_options.py \
	tests/agents/test_agents.py tests/costmodels/test_tables.py tests/costmodels/test_wide.py \
	tests/costmodels/accelerator/test_workloads.py tests/costmodels/allocation/test_files.py \
	tests/costmodels/memory/test_oracle.py tests/costmodels/memory/test_tracer.py \
	tests/costmodels/reasoning/test_laws.py tests/costmodels/reasoning/test_outcomes.py \
	tests/costmodels/soc/test_files.py tests/costmodels/soc/test_oracle.py tests/experiments/scoring \
	tests/experiments/test_formats.py tests/experiments/test_suite.py

.PHONY: help leaderboard policies test test-quick test-all bench docs lint clean

help:
	@echo "make leaderboard   run a small real competition and show its leaderboard"
	@echo "make policies      train small policies and show what they are worth on instances not seen"
	@echo "make test          the tests (minutes)"
	@echo "make test-quick    the fast ones (under a minute once compiled)"
	@echo "make test-all      the tests, slow ones too"
	@echo "make bench         speed, as ratios measured in one run"
	@echo "make docs          the documentation site, build/docs/html/index.html (minutes the first time)"
	@echo "make lint          ruff and the type checker"
	@echo "PYTHON=python3.13  after any of them: another interpreter, in an environment of its own"

# A further interpreter takes torch, which only PPO needs, as a CPU build or not at all: pip's default on Linux is CUDA.
$(STAMP): pyproject.toml constraints.txt
	@$(BASE) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(BASE) is not Python 3.11 or newer; give one as PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(BASE) -m venv $(VENV)
	@echo "Installing into $(VENV)."; extras=agents,dev,workloads; \
	if [ -n "$(PYTHON)" ] && [ "$$(uname)" = Linux ] && ! $(PIP) "$$(grep ^torch== constraints.txt)+cpu" 2>/dev/null; then \
		echo "No CPU build of torch for $(BASE): PPO stays out, and tests that need it skip."; extras=solvers,dev,workloads; \
	fi; \
	$(PIP) --editable ".[$$extras]"
	@touch $(STAMP)

# Other people's clients, which only tests need; most of them bring torch, and skip where it is left out.
$(CLIENTS): $(STAMP)
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then $(PIP) --editable ".[clients]"; else echo "No torch: tests of other people's clients skip."; fi
	@touch $(CLIENTS)

leaderboard: $(STAMP)
	@$(BIN)/dsegym run quick --output $(RESULTS) --skip-missing
	@$(BIN)/dsegym leaderboard $(RESULTS)

policies: $(STAMP)
	@$(BIN)/dsegym run policies --output $(POLICIES)
	@$(BIN)/dsegym leaderboard $(POLICIES)

test: $(CLIENTS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not minutes"

test-quick: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not minutes" $(QUICK)

test-all: $(CLIENTS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

# A warning, such as a link that leads nowhere, fails it. What the gallery measures is kept in build/docs/gallery.
docs: $(STAMP)
	$(BIN)/python -m sphinx -E -a -W --keep-going -q -b html docs build/docs/html
	@echo "The site: build/docs/html/index.html"

# The type checker looks into the clients too: the converters of spaces name Ax's types.
lint: $(CLIENTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis docs/api docs/gallery docs/project
