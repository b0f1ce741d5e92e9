# fsherald: `make run` shows it, `make test` proves it. Both set up what they need first; `make help` lists the rest.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RIVALS := $(VENV)/.rivals
SARRACENIA := $(VENV)/.sarracenia
# The newest Python from 3.11 on that is there; PYTHON=... overrides.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$name"; break; }; done)

.PHONY: setup run test chaos check format bench lock clean help

setup: $(READY) ## make .venv with everything that is needed, as locked

# Built again when a lock changes, or what defines the command; nothing is done otherwise.
$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@sh tools/make-venv "$(VENV)" "$(PYTHON)"
	@touch $@

run: $(READY) ## watch ./dropbox through a private broker and show its events live; Ctrl-C ends all of it
	@$(BIN)/fsherald demo

test: $(READY) ## all tests, on real brokers (a private node; RabbitMQ 4 in Docker where that is)
	@$(BIN)/python -c 'from control.embedded import find_or_install; find_or_install(print)'
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# Other seeds each time, unless they are given; the header of the run and the name of a failed test tell them.
CHAOS_SEED = $(or $(FSHERALD_CHAOS_SEED),$(shell date +%s))
CHAOS_ROUNDS = $(or $(FSHERALD_CHAOS_ROUNDS),25)
chaos: $(READY) ## kill, cut, fill and unmount for an hour; FSHERALD_CHAOS_SEED and _ROUNDS run a failure again
	@$(BIN)/python -c 'from control.embedded import find_or_install; find_or_install(print)'
	@FSHERALD_CHAOS_SEED=$(CHAOS_SEED) FSHERALD_CHAOS_ROUNDS=$(CHAOS_ROUNDS) $(BIN)/python -m pytest tests/chaos $(PYTEST_ARGS)

check: $(READY) ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict schemas publisher control
	$(BIN)/lint-imports --no-cache

format: $(READY) ## format the code and sort its imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCH := build/bench
bench: $(READY) $(RIVALS) $(SARRACENIA)/.ready ## compare with what one would run instead; tables and plots go to build/bench
	@$(BIN)/python -m bench --markdown $(BENCH)/tables.md --plots $(BENCH)

# What to compare with, and what draws. What is not there has a column or a line that says so; tables need no drawing.
$(RIVALS): requirements-bench.txt $(READY)
	@$(BIN)/python -m pip --disable-pip-version-check -qq --no-input install --require-hashes --only-binary :all: \
		-r requirements-bench.txt && touch $@ || echo "bench: not all of requirements-bench.txt can be installed here" >&2

# In an environment of its own, because a package `tests` comes with it, which would stand before ours.
$(SARRACENIA)/.ready: requirements-bench-sarracenia.txt $(READY)
	@$(BIN)/python -m venv $(SARRACENIA) \
		&& $(SARRACENIA)/bin/python -m pip --disable-pip-version-check -qq --no-input install --require-hashes \
		--only-binary :all: -r requirements-bench-sarracenia.txt && touch $@ \
		|| echo "bench: requirements-bench-sarracenia.txt cannot be installed here" >&2

# Universal: one lock for every Python from 3.11 on; without the address of any index.
COMPILE := uv pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --quiet $(UPGRADE)
lock: ## write requirements*.txt anew from pyproject.toml (needs uv; UPGRADE=--upgrade for newer versions)
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --extra dev --constraint requirements.txt -o requirements-dev.txt
	$(COMPILE) --group build --constraint requirements-dev.txt -o requirements-build.txt
	$(COMPILE) --group bench --constraint requirements-dev.txt -o requirements-bench.txt
	$(COMPILE) --group bench-sarracenia -o requirements-bench-sarracenia.txt

clean: ## remove what was made here: .venv, caches, build output, the demo's state
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info .fsherald
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'
