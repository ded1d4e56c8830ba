# Hero: the few commands that a person needs. `make` alone lists them.
#
# `make up` builds the development profile: on two cores that takes half as long as an optimised build, and
# `make test` uses the same objects. For real work: `make up PROFILE=release`. The node keeps a Redis of its own,
# whatever else listens on this machine; ARGS="--redis-url ..." gives it another.

PROFILE ?= dev
ARGS    ?=
OUT     := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
SECONDS ?= 180
INPUTS  ?= 1000000
E2E     ?= tests/e2e tests/helm tests/observability
SEED    ?=

CARGO    ?= cargo
TOOLS    := target/tools
BUF      := $(shell command -v buf 2>/dev/null || echo $(TOOLS)/bin/buf)
# As root nothing is needed; without sudo the package manager says itself what it lacks.
SUDO     := $(shell [ "$$(id -u)" = 0 ] || command -v sudo 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help up test ui browser fmt lint bench chaos fuzz chart images e2e attacks docker release setup

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## set up what is missing, build, and start a whole node (flags: make up ARGS="--port 8090")
	$(CARGO) build --profile $(PROFILE) -p hero-launcher
	@HERO_LAUNCHER__PRIVATE_REDIS=true exec target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/launcher $(ARGS)

test: setup ## set up what is missing, and run every test
	$(CARGO) test --workspace

ui: setup browser $(TOOLS)/ui/ready ## the dashboard in a real browser (HERO_UI_PICTURES=docs/ui makes the pictures anew)
	$(CARGO) build --workspace --bins --test it
	$(TOOLS)/ui/bin/python -m pytest -q -p no:cacheprovider $(ARGS) tests/ui

fmt: ## format the code
	$(CARGO) fmt --all

lint: $(BUF) ## check the format, clippy's advice, and the protos
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(BUF) lint proto

bench: setup ## measure a job beside the floor of the same run, in an optimised build
	$(CARGO) build --release --workspace --bins
	target/release/hero-bench $(ARGS)

chaos: setup ## kill, freeze and restart parts of a node under load, and check what was promised (SECONDS=180 SEED= SEEDS=)
	$(CARGO) build --workspace --bins --test it --example chaos
ifdef SEEDS
	tests/chaos_seeds.sh $(SECONDS) $(SEEDS)
else
	target/debug/examples/chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)
endif

fuzz: setup ## broken inputs at every door that strangers knock at (INPUTS=1000000 SEED=)
	$(CARGO) build --release -p hero-tests --example fuzz
	target/release/examples/fuzz --inputs $(INPUTS) $(if $(SEED),--seed $(SEED))

chart: $(TOOLS)/e2e/ready ## lint, render and check the Helm chart, the alerts and the dashboards
	$(TOOLS)/e2e/bin/python -m pytest -q -p no:cacheprovider tests/helm tests/observability

# With the tests' own features (those of their dependencies), so that what `make test` has built is not built again.
images: setup ## build the binaries and lay them out for the images (PROFILE=release for real ones)
	$(CARGO) build --locked --profile $(PROFILE) --workspace --bins $(if $(filter dev,$(PROFILE)),--test it)
	@rm -rf target/images && mkdir -p target/images
	@for service in $$(ls services); do \
		strip -o target/images/$$service target/$(OUT)/$$service || exit 1; \
	done

e2e: docker images $(TOOLS)/e2e/ready ## the compose file and the chart, from outside: jobs, kills, cuts, restarts, restore (E2E=tests/e2e/test_1_jobs.py: some)
	$(TOOLS)/e2e/bin/python -m pytest -q -p no:cacheprovider -x --durations=10 $(ARGS) $(E2E)

attacks: docker setup $(TOOLS)/e2e/ready ## scripts that mean harm, in a container with default privileges (make test tries them outside)
	$(TOOLS)/e2e/bin/python -m pytest -q -p no:cacheprovider -x $(ARGS) tests/e2e/test_7_attacks.py

release: setup ## a tarball of optimised binaries with units and docs, checksums and a bill of materials, in target/dist
	$(CARGO) build --locked --release --workspace --bins
	deploy/release/release.sh target/release target/dist

# Docker from Debian's packages where it is missing. Its daemon is started by the tests when none runs.
docker:
	@missing=""; \
	command -v dockerd >/dev/null || missing="$$missing docker.io iptables"; \
	command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || missing="$$missing docker-compose"; \
	command -v debootstrap >/dev/null || missing="$$missing debootstrap"; \
	command -v prometheus >/dev/null || missing="$$missing prometheus"; \
	[ -z "$$missing" ] && exit 0; \
	echo "installing$$missing"; \
	$(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

# What the tests from outside need.
$(TOOLS)/e2e/ready: tests/requirements.txt
	python3 -m venv $(TOOLS)/e2e || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv && python3 -m venv $(TOOLS)/e2e; }
	$(TOOLS)/e2e/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# A browser and its driver from Debian's packages, for the tests of the dashboard alone.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0; \
	echo "installing chromium chromium-driver"; \
	$(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core

$(TOOLS)/ui/ready: tests/ui/requirements.txt
	python3 -m venv $(TOOLS)/ui || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv && python3 -m venv $(TOOLS)/ui; }
	$(TOOLS)/ui/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# What the node and its tests need from outside: Redis, Python for Python jobs, a C compiler for building.
# Nothing is installed that is there already.
setup:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust, https://rustup.rs" >&2; exit 1; }
	@missing=""; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	command -v cc >/dev/null || missing="$$missing build-essential"; \
	[ -z "$$missing" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "missing:$$missing. Install with your package manager" >&2; exit 1; }; \
	echo "installing$$missing"; \
	$(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

# buf lints the protos; PyPI carries its binary, so nobody needs Go.
$(TOOLS)/bin/buf:
	@command -v python3 >/dev/null || { echo "python3 is missing: make setup" >&2; exit 1; }
	python3 -m venv $(TOOLS) || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv && python3 -m venv $(TOOLS); }
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check buf-bin==1.75.0
