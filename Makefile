# Everything a contributor or a newcomer types. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test check bench accept fmt doc sqlx-prepare config-docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and run everything on a private database (Ctrl-C stops it)
	@scripts/bootstrap.sh run
	@scripts/offline cargo build --release --bin postroad
	@scripts/offline target/release/postroad up

test: ## install what is missing and run every test against private servers
	@scripts/bootstrap.sh test
	@scripts/with-databases scripts/test

check: ## everything CI checks besides the tests: format, lints, queries, licences, scripts, documentation
	@scripts/check

bench: ## measure beside Postfix; writes bench/results/
	@scripts/bootstrap.sh bench
	@scripts/offline cargo build --release --bin postroad --bin postroad-load
	@bench/run

fmt: ## format the source
	@cargo fmt --all

doc: ## build the documentation of our crates
	@RUSTDOCFLAGS="-D warnings" scripts/offline cargo doc --workspace --no-deps

sqlx-prepare: ## renew .sqlx after a change of SQL (needs sqlx-cli)
	@scripts/with-databases --migrated cargo sqlx prepare --workspace -- --all-targets

clean: ## remove what was built (never .postroad, which holds data)
	@cargo clean
