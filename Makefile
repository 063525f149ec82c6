# Each target does its own set-up: a machine with Python 3.11 or newer needs nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Asked for its version, because a pyenv shim exists for versions that are not there.
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
RUNTIME := .venv/runtime
STAMP := .venv/installed
# Arguments for pytest and for the benchmarks: make test ARGS="-k gpus", make bench BENCH=limits
ARGS ?=
BENCH ?=

.PHONY: help run test fuzz load lint lint-api messages client clients console console-dev bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

run: $(RUNTIME) ## serve on http://127.0.0.1:5000
	@exec $(BIN)/python run.py

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# -s: the report is printed of a run without faults, too.
fuzz: $(STAMP) ## send generated requests to a server on each database (ARGS="--fuzz-requests 50000 --fuzz-seed 7")
	$(BIN)/python -m pytest -s tests/fuzz --fuzz-requests 20000 $(ARGS)

# -u: a line from time to time, also into a file.
load: $(STAMP) ## send mixed requests for a minute, then check that nothing was lost (ARGS="--seconds 600 --rate 250")
	$(BIN)/python -u -m tests.load $(ARGS)

# The last two see an empty database of their own, and nothing of a developer's .env.
lint: $(STAMP) ## check style, types, layers, migrations and openapi.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	export FLASK_APP=run FLASK_ENV=testing FLASK_SKIP_DOTENV=1 \
		DATABASE_URL="sqlite:///$$scratch/check.db" UPLOAD_DIR="$$scratch"; \
	unset REDIS_URL; \
	set -x; $(BIN)/flask db upgrade; $(BIN)/flask db check; $(BIN)/flask openapi --check

messages: $(STAMP) ## bring app/translations up to date with the messages in the code
	$(BIN)/python -m app.translations.update

client: ## generate a TypeScript client from openapi.json into build/client (needs Node.js)
	mkdir -p build/client
	cp tests/typescript/{package.json,package-lock.json,.npmrc,client.ts,session.ts,tsconfig.json} build/client
	cp console/generate.mjs console/src/api/query.ts build/client
	cd build/client && npm ci && node generate.mjs ../../openapi.json schema.d.ts && npx tsc -p .

clients: ## generate TypeScript clients with hey-api and orval into build/clients (needs Node.js)
	mkdir -p build/clients
	cp tests/typescript/generators/{*.json,*.mjs,*.cjs,*.ts,.npmrc} console/src/api/query.ts openapi.json build/clients
	cd build/clients && npm ci && npx openapi-ts && npx orval && npx tsc -p .

console: ## build the console into app/console/static (needs Node.js)
	cd console && npm ci && npm run build

console-dev: ## serve the console with reload, against `make run` (needs Node.js)
	cd console && npm ci && npm run dev

# Pinned, so that a new rule of theirs fails nobody's change.
lint-api: ## check openapi.json with Redocly and Spectral (needs Node.js)
	npx --yes @redocly/cli@2.77.0 lint openapi.json
	npx --yes @stoplight/spectral-cli@6.16.3 lint --fail-severity=hint openapi.json

bench: $(STAMP) ## run the benchmarks
	$(BIN)/python -m bench $(BENCH)

clean: ## remove what was installed and cached, but no data (instance/)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (make PYTHON=/path/to/python3)." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(STAMP): $(RUNTIME) requirements-dev.txt requirements-otel.txt requirements-s3.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
