.DEFAULT_GOAL := help
.PHONY: help check fmt lint doc test docs deny

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: fmt lint doc test ## everything that CI asks

fmt: ## is the code formatted?
	cargo fmt --all --check

lint: ## clippy, warnings denied
	cargo clippy --locked --all-targets -- -D warnings

doc: ## the crate's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

test: ## all tests
	cargo test

docs: ## write what is made from other files: tables of settings, the PrometheusRule
	cargo test --lib config::keys::tests::write_the_page -- --ignored
	cargo test --test it manifests::write_the_prometheus_rule -- --ignored

deny: ## licences, sources and bans of dependencies (needs cargo-deny)
	cargo deny check licenses bans sources
