# `make` says what can be made. Needs Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= python3
BIN    := .venv/bin
# Name what .venv was made of, so that each is made again only when the lock or the folder, or pyproject.toml, changed.
PINNED := .venv/pinned-$(word 1,$(shell { pwd; cat requirements.lock; } | cksum))
STAMP  := $(PINNED)-project-$(word 1,$(shell cksum pyproject.toml))
# pip shows its progress to a person at a terminal, and only its errors to a log.
PIP    := $(BIN)/python -m pip --disable-pip-version-check $(if $(MAKE_TERMOUT),,-qq)
COMPILE := uv pip compile pyproject.toml --universal --fork-strategy fewest --generate-hashes --no-header --quiet
SERVE  := --extra serve --extra postgres
ALL    := $(SERVE) --extra train --extra discover --extra audit --extra tune --extra docs --extra dev

export BENTOML_DO_NOT_TRACK := true
# Bytecode is kept of what is imported, not of all that is installed: that halves the installation.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install peers demo test check lint docs lock clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile

install: $(STAMP) ## create .venv with the pinned dependencies and the sheaf command

peers: $(STAMP) ## add the libraries that benchmarks/ranking compares with
	@$(PIP) install --no-compile --require-hashes --requirement requirements-peers.lock

demo: $(STAMP) ## simulate a bank, train on it, serve it, and ask for bundles
	@$(BIN)/sheaf demo

test: lint ## lint, then run every test
	@if ! command -v pg_ctl >/dev/null && ! ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 \
		&& test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		echo "The decision log is tested on PostgreSQL as well, which this machine lacks: installing it."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql \
			>/dev/null || true; fi
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # a file's tests share services and models; short files, some of them slow, do not all come last

check: lint ## lint, then run the tests of the rooms that start no server and train nothing: about three minutes
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not heavy"

lint: $(STAMP) ## check style, types and import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(STAMP) ## build the documentation site into site/ (read it with: .venv/bin/python -m http.server --directory site)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html."

lock: ## pin again what pyproject.toml asks for (newest of everything: make lock UPGRADE=1)
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-lock/bin/$(COMPILE) $(ALL) $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	@.venv-lock/bin/$(COMPILE) $(ALL) --extra peers --constraint requirements.lock --output-file requirements-peers.lock
	@.venv-lock/bin/$(COMPILE) $(SERVE) --constraint requirements.lock --output-file requirements-serve.lock

clean: ## remove .venv and what the tools left behind; models and data stay
	@rm -rf .venv .venv-lock .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PINNED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Sheaf needs Python 3.11 or newer, and '$(PYTHON)' is not: $$($(PYTHON) --version 2>&1)." \
			"Install one, or name it: make PYTHON=python3.12"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot create environments. Debian, Ubuntu: apt-get install python3-venv." \
			"Elsewhere: install Python with ensurepip."; exit 1; } >&2
	@echo "Creating .venv and installing the pinned dependencies: a few minutes, once."
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --no-compile --require-hashes --requirement requirements.lock
	@if $(BIN)/python -c 'import lightgbm' 2>&1 | grep -q libgomp && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		echo "LightGBM needs the OpenMP runtime libgomp, which this machine lacks: installing it."; \
		apt-get update -qq && apt-get install -qq -y libgomp1 || true; fi
	@$(BIN)/python -c 'import lightgbm' || { \
		echo "LightGBM cannot be loaded. If libgomp (libomp on macOS) is missing, install it, then make again." \
			"Debian, Ubuntu: apt-get install libgomp1. Fedora: dnf install libgomp. macOS: brew install libomp."; exit 1; } >&2
	@touch $@

$(STAMP): $(PINNED)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f .venv/*-project-* && touch $@
