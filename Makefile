# Shardway's tasks. `make` alone lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test test-clients soak bench bench-scale bench-micro lint build clean

# Arguments of the demo: make demo ARGS='--once'
ARGS ?=
CARGO ?= cargo
DEPS := ./scripts/install-deps.sh

# The Python that has psycopg; suites find it by this name.
VENV := $(CURDIR)/.venv
export SHARDWAY_PYTHON := $(VENV)/bin/python
# Where node-postgres is installed.
NODE_CLIENTS := $(CURDIR)/tests/clients/node
export SHARDWAY_NODE_CLIENTS := $(NODE_CLIENTS)

help: ## List the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r task what; do \
		printf '%-20s %s\n' "$$task" "$$what"; done

demo: ## Start a sharded shop on this machine and tour it (ARGS='--once', '--data-dir DIR', '--port N')
	@$(DEPS) cc postgres redis
	$(CARGO) build --release --bin shardway
	@target/release/shardway demo $(ARGS)

test: $(VENV)/psycopg.ready ## Run every test against real servers
	@$(DEPS) cc postgres redis
	$(CARGO) build --bin shardway
	$(CARGO) test --workspace

test-clients: $(VENV)/asyncpg.ready $(NODE_CLIENTS)/node_modules/.package-lock.json ## Run the suites of node-postgres and asyncpg
	@$(DEPS) cc postgres redis
	$(CARGO) build --bin shardway
	$(CARGO) test -p shardway-tests --test clients -- --ignored

# How long a soak takes, and the seed that repeats one.
SECONDS ?= 600
SEED ?=

soak: ## Search at random for what one client sees of another's, lost money and wrong answers (SECONDS=600, SEED=…)
	@$(DEPS) cc postgres
	$(CARGO) build --bin shardway
	SHARDWAY_SOAK_SECONDS='$(SECONDS)' SHARDWAY_SOAK_SEED='$(SEED)' \
		$(CARGO) test -p shardway-tests --test suite -- soak:: bank:: reads::differ:: --ignored --nocapture --test-threads 1

bench: ## Measure Shardway beside PgBouncer and Postgres itself (ARGS='--quick', '--list', '--also NAME=PATH')
	@$(DEPS) cc postgres pgbouncer
	$(CARGO) build --release --bin shardway
	$(CARGO) build -p shardway-benches
	@target/debug/shardway-bench $(ARGS)

bench-scale: ## Measure Shardway with ever more workers beside PgBouncer, which has one core
	@$(MAKE) bench ARGS='--scale $(ARGS)'

bench-micro: ## Measure the pure hot paths, without servers, in about a minute (ARGS='recognise', '--save-baseline before')
	$(CARGO) bench -p shardway-benches --bench micro -- $(ARGS)

lint: ## Check format, lints and docs, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps

build: ## Build the release binary, target/release/shardway
	@$(DEPS) cc
	$(CARGO) build --release --bin shardway

clean: ## Remove everything that was built or fetched
	$(CARGO) clean
	rm -rf $(VENV) $(NODE_CLIENTS)/node_modules

# Stamps say that the packages are complete: an interrupted pip leaves an environment without them.
$(VENV)/psycopg.ready:
	@$(DEPS) cc postgres redis python
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet 'psycopg[binary]>=3.2,<4'
	@touch $@

$(VENV)/asyncpg.ready: $(VENV)/psycopg.ready
	$(VENV)/bin/pip install --quiet 'asyncpg>=0.30,<1'
	@touch $@

$(NODE_CLIENTS)/node_modules/.package-lock.json: $(NODE_CLIENTS)/package.json
	@$(DEPS) node
	cd $(NODE_CLIENTS) && npm install --silent --no-audit --no-fund --no-package-lock
	@touch $@
