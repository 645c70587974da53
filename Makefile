.DEFAULT_GOAL := help
.PHONY: help demo check fmt lint doc test channel docs deny openapi

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole product on this machine, with a sandbox for everything outside; Ctrl-C ends it
	scripts/compiler
	scripts/postgres
	cargo run --release -- demo

check: fmt lint doc test ## everything that CI asks

fmt: ## is the code formatted?
	cargo fmt --all --check

lint: ## clippy, warnings denied
	cargo clippy --locked --all-targets --features test-channel -- -D warnings
	cargo clippy --locked --package unread --no-default-features -- -D warnings # as the image is built

doc: ## the crate's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

test: ## all tests
	scripts/compiler
	scripts/postgres
	cargo test $(if $(FEATURES),--features $(FEATURES))

channel: ## the tests of a third channel, which only a test build has
	cargo test --features test-channel --test it probe::

docs: ## write what is made from other files: tables of settings, the PrometheusRule
	cargo test --lib config::keys::tests::write_the_page -- --ignored
	cargo test --lib domain::rule::settings::reference::write_the_page -- --ignored
	cargo test --test it manifests::write_the_prometheus_rule -- --ignored

openapi: ## is the API's document valid, and do clients made of it compile? (needs npm and pip)
	scripts/openapi

deny: ## licences, bans, sources and advisories of dependencies (needs cargo-deny)
	cargo deny check licenses bans sources advisories
