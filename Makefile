# Slipway. `make help` lists the targets. Everything runs in .venv, which `make venv` creates.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help venv up demo test fix check types bench soak lock screenshots clean

PYTHON ?= python3
PORT ?= 8000
# Tests often wait for processes and locks, so use more workers than cores.
WORKERS ?= 4
BIN := .venv/bin
STAMP := .venv/.installed
# For checks that import the settings but connect to nothing.
CHECK_ENV := DJANGO_SETTINGS_MODULE=config.settings SECRET_KEY=checks-only \
	SECRETS_KEYS=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \
	DATABASE_URL=postgres://nobody@127.0.0.1:1/none REDIS_URL=redis://127.0.0.1:1/0

help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run Slipway

up: $(STAMP) ## Run everything on this machine (PORT=8001: another web port; NO_RESUME=1: don't launch paused workspaces again)
	@exec $(BIN)/python manage.py up --port $(PORT) $(if $(NO_RESUME),--no-resume)

demo: PORT = 8010
demo: $(STAMP) ## Show a simulated fleet of 60 in every condition, within five minutes, in a data folder of its own
	@exec $(BIN)/python manage.py demo --port $(PORT)

##@ Develop

venv: $(STAMP) ## Create .venv with everything that running and testing need

$(STAMP): requirements.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Slipway needs Python 3.11 or newer: $(PYTHON) is not on PATH."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Slipway needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version | cut -d' ' -f2): name another with \`make PYTHON=python3.11\`."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python's venv module is missing: install it, on Debian with \`apt-get install python3-venv\`."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing the pinned packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@touch $@

test: $(STAMP) ## Run all tests with an embedded Postgres and Redis, in parallel and in random order
	@$(BIN)/python -m pytest -n $(WORKERS) $(if $(NONE_LEFT_OUT),--none-left-out) $(PYTEST_ARGS)

soak: $(STAMP) ## Run the tests with large quantities and long durations
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(PYTEST_ARGS)

bench: $(STAMP) ## Run the benchmarks
	@$(BIN)/python -m bench

fix: $(STAMP) ## Mend the style and write the generated pages
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format
	$(BIN)/python manage.py lifecycle_diagram
	$(BIN)/python manage.py operations_page
	$(BIN)/python manage.py event_catalogue
	$(BIN)/python manage.py config_schema
	$(BIN)/python manage.py openapi_page

check: $(STAMP) ## Check style, types, layers, sizes, Django's checks, status drift, migrations and generated pages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(CHECK_ENV) $(BIN)/mypy
	PYTHONPATH=cli $(BIN)/lint-imports
	$(BIN)/python -m tests.architecture
	$(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python manage.py check --deploy --tag drift --fail-level WARNING
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py lifecycle_diagram --check
	$(BIN)/python manage.py operations_page --check
	$(BIN)/python manage.py event_catalogue --check
	$(BIN)/python manage.py config_schema --check
	$(BIN)/python manage.py openapi_page --check

types: $(STAMP) ## Check types only
	@$(CHECK_ENV) $(BIN)/mypy

##@ Maintain

lock: $(STAMP) ## Pin the packages of requirements.in and requirements-dev.in and all their dependencies
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--output-file requirements.txt requirements.in
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--output-file requirements-dev.txt requirements-dev.in

screenshots: $(STAMP) ## Take the screenshots in docs/images
	@PYTHONPATH=cli $(BIN)/python docs/screenshots.py

clean: ## Remove caches, but keep .data and .venv
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
