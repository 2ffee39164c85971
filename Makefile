# SPDX-License-Identifier: AGPL-3.0-or-later
# One command for each thing; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEV_STAMP := $(VENV)/.ready-dev
ENGINE := $(BIN)/cometbft
GO ?=

.PHONY: help run node engine test test-unit lint format bench differential crash e2e hostile image service lock proto docs clean

help: ## List what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(STAMP) ## Set everything up and start the embedded node (9984, stream 9985)
	$(BIN)/planetmint start

node: $(STAMP) $(ENGINE) ## The same as a complete node: CometBFT makes the blocks, Tarantool keeps them
	@command -v tarantool >/dev/null || { echo "Tarantool is missing (Debian: apt-get install tarantool)." >&2; exit 1; }
	PLANETMINT_CONSENSUS_ENGINE=cometbft PLANETMINT_DATABASE_BACKEND=tarantool_db $(BIN)/planetmint start

engine: $(ENGINE) ## Build the consensus engine CometBFT of go.mod; Go is fetched where it is missing, or GO=/path/to/go

test: $(DEV_STAMP) $(ENGINE) ## Set everything up and run every test, the published drivers and a browser included
	$(BIN)/python -m tests.setup
	$(BIN)/pytest -q $(PYTEST)

test-unit: $(DEV_STAMP) ## The tests that need nothing but Python; a minute or two
	$(BIN)/pytest -q tests/unit tests/property tests/conformance tests/vectors $(PYTEST)

lint: $(DEV_STAMP) ## Format, lint, strict types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_STAMP) ## Measure, beside the machine's limits (BENCH="--quick" for a short run)
	$(BIN)/python -m bench $(BENCH)

differential: $(DEV_STAMP) ## 20,000 generated transactions against the published packages
	$(BIN)/python -m tests.differential --count 20000

crash: $(DEV_STAMP) ## 100 kills at random moments under load
	$(BIN)/python -m tests.functional.kill9 --count 100

e2e: $(DEV_STAMP) $(ENGINE) ## Faults of four real nodes: killed, hung, cut off, two halves; a table of what it cost
	$(BIN)/python -m tests.e2e $(E2E)

hostile: $(DEV_STAMP) $(ENGINE) ## Hostile contracts: by every door into four real nodes, random ones in two sandboxes, what they cost others
	$(BIN)/python -m tests.e2e.contracts $(HOSTILE)
	$(BIN)/python -m tests.e2e.answers
	$(BIN)/python -m tests.e2e.responsiveness

image: $(DEV_STAMP) ## Build the container image on a bare Debian and run it (needs root and buildah)
	$(BIN)/python -m tests.e2e.image

service: $(DEV_STAMP) ## Install on a bare Debian with systemd, and try the units (needs root)
	$(BIN)/python -m tests.e2e.service

proto: $(VENV)/bin/python ## Write the code of the ABCI messages again from their .proto file
	$(BIN)/python -m tests.support.make_proto

docs: $(DEV_STAMP) ## Write the generated parts of the documentation again
	$(BIN)/python -m tests.support.generate_docs

lock: $(DEV_STAMP) ## Resolve requirements*.txt anew from pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-annotate --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-annotate --extra dev --output-file requirements-dev.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["zenroom"], sep="\n")' | \
	  $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-annotate --output-file requirements-zenroom.lock -

clean: ## Remove everything that was made here
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing (Debian: apt-get install python3-venv)" >&2; exit 1; }

# Built without cgo: one static program. Go's own choice of a newer toolchain stays off, so that nothing but the
# modules of go.sum is fetched.
$(ENGINE): export CGO_ENABLED = 0
$(ENGINE): export GOTOOLCHAIN = local
$(ENGINE): go.mod go.sum | $(VENV)/bin/python
	@go=$$(if [ -n "$(GO)" ]; then echo "$(GO)"; else bash deploy/go-toolchain .cache/go; fi) || exit 1; \
	  echo "Building CometBFT with $$("$$go" version)"; \
	  "$$go" build -trimpath -buildvcs=false -ldflags "-s -w" -o $@.part github.com/cometbft/cometbft/cmd/cometbft
	@mv $@.part $@ && touch $@

$(STAMP): $(VENV)/bin/python requirements.lock requirements-zenroom.lock pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@bash deploy/contract-engine $(BIN)/python
	@touch $@

$(DEV_STAMP): $(VENV)/bin/python requirements-dev.lock requirements-zenroom.lock pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-zenroom.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@ $(STAMP)
