# Every command of the house. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SHELL := /bin/sh
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
OPENAPI_TOOLS := $(or $(OCTAVO_OPENAPI_TOOLS),$(CACHE)/octavo-openapi-tools)
.DEFAULT_GOAL := help
.PHONY: help deps run demo test walls fuzz bench check lint types fix migrate openapi openapi-lint clients

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

deps: $(STAMP)

$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Octavo needs Python 3.11 or newer; say which one with PYTHON=python3.12 make ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo 'This Python cannot make virtual environments. On Debian: apt-get install python3-venv'; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo 'Installing the locked dependencies into $(VENV) (once; a minute or two)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $(STAMP)

run: deps ## Start everything: database, API, worker, scheduler and a demo agency; Ctrl-C stops it
	@$(BIN)/python -m core.development

demo: deps ## Fill a lively agency in the running development system
	@$(BIN)/python -m tenants demo

test: deps ## Run the whole suite on a database of its own
	@$(BIN)/python -m pytest

walls: deps ## Try every operation, slot and kind of caller against the walls, each wall alone; and lint the catalogue
	@$(BIN)/python -m pytest tests/walls tests/core/test_schema.py

fuzz: deps ## Drive the whole document with many times the requests of the suite, by Schemathesis
	@OCTAVO_FUZZ_EXAMPLES=$${OCTAVO_FUZZ_EXAMPLES:-300} $(BIN)/python -m pytest tests/contract/test_schemathesis.py

bench: deps ## Measure against bare baselines in one run
	@$(BIN)/python -m bench

check: lint types ## Everything that reads the code: lint, types, and the arrows between the rooms
	@$(BIN)/lint-imports

lint: deps ## Find faults of style and common errors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: deps ## Check types, strictly
	@$(BIN)/mypy

fix: deps ## Mend what the linter can mend, and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

migrate: deps ## Make the two roles and bring the schema of OCTAVO_DATABASE_URL to its head
	@$(BIN)/python -m migrations

openapi: deps ## Write openapi/openapi.json and docs/permissions.md from the code
	@$(BIN)/python -m api.openapi_document > openapi/openapi.json.new
	@mv openapi/openapi.json.new openapi/openapi.json
	@$(BIN)/python -m api.permissions_document > docs/permissions.md.new
	@mv docs/permissions.md.new docs/permissions.md

openapi-lint: ## Judge the document by Spectral, OWASP's rules and Redocly; installs them at the first time
	@PYTHON=$(PYTHON) bash openapi/install-tools.sh $(OPENAPI_TOOLS)
	@bash openapi/lint.sh $(OPENAPI_TOOLS)

clients: ## Generate the Python and the TypeScript client into clients/
	@PYTHON=$(PYTHON) bash openapi/install-tools.sh $(OPENAPI_TOOLS)
	@bash openapi/generate-clients.sh $(OPENAPI_TOOLS) clients
