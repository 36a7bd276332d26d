# The project's commands. `make help` lists them; each works from a fresh clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# Any Python from 3.11 on; tools/setup.sh looks for one when this is not set.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
# Arguments for pytest, for example: make test PYTEST_ARGS="-k expiry"
PYTEST_ARGS ?=

.PHONY: help
help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET, where TARGET is:\n"} \
	     /^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with every tool and library (quick when nothing changed)
	@PYTHON='$(PYTHON)' sh tools/setup.sh

.PHONY: demo
demo: setup ## Show everything: six sessions from manifest to empty cloud, in under 4 minutes
	@$(BIN)/python -m spawnai_local.demo

.PHONY: local
local: setup ## Run the whole product on this machine until Ctrl-C or `make local-down`
	@$(BIN)/python -m spawnai_local.up

.PHONY: local-down
local-down: setup ## End what `make local` started
	@$(BIN)/python -m spawnai_local.down

.PHONY: test
test: setup ## Run every test, several side by side: unit, simulation, contract, end to end
	@$(BIN)/python -m spawnai_local.toolchain
	$(BIN)/python -m pytest --numprocesses=auto --no-loadscope-reorder $(PYTEST_ARGS)

# For make test-busy: how often.
TIMES ?= 5

.PHONY: test-busy
test-busy: setup ## Run every test five times beside a program that keeps one core busy
	@TIMES='$(TIMES)' PYTEST_ARGS='$(PYTEST_ARGS)' sh tools/test_busy.sh

.PHONY: test-unit
test-unit: setup ## Run the quick tests alone
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

# For make simulation.
SEEDS ?= 10000
FIRST_SEED ?= 0

.PHONY: simulation
simulation: setup ## Tell random stories of faults in simulated time; SEEDS=10000 take 15 minutes
	SPAWNAI_SEEDS=$(SEEDS) SPAWNAI_FIRST_SEED=$(FIRST_SEED) \
		$(BIN)/python -m pytest --numprocesses=auto tests/simulation/test_random_stories.py $(PYTEST_ARGS)

MUTANTS ?= 40
SEED ?= 1

.PHONY: mutants
mutants: setup ## Change the core at random places and see whether its tests notice; 40 take half an hour
	$(BIN)/python tools/mutants.py --count $(MUTANTS) --seed $(SEED)

.PHONY: helm-test
helm-test: setup ## Run the tests of the chart alone: lint, values, and a release's whole life
	$(BIN)/python -m pytest tests/contract/chart tests/e2e/chart -n0 $(PYTEST_ARGS)

.PHONY: check
check: setup ## Lint, format, types, generated files, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m spawnai.api.crds --check
	$(BIN)/python tools/chart.py --check
	$(BIN)/python tools/dashboards.py --check
	$(BIN)/lint-imports

.PHONY: generate
generate: setup ## Write crds/, reference, chart schema and dashboards again from their sources
	$(BIN)/python -m spawnai.api.crds
	$(BIN)/python tools/chart.py
	$(BIN)/python tools/dashboards.py

.PHONY: bench
bench: setup ## Measure the product and print a table
	@$(BIN)/python -m spawnai_local.bench

# For make chaos: one plan by its id, or all whose ids begin so.
PLAN ?=

.PHONY: page-pictures
page-pictures: setup ## Make pictures of the console's page, in .local/pictures (needs Chromium)
	@$(BIN)/python -m spawnai_local.pictures

.PHONY: chaos
chaos: setup ## Let each call of the operator go wrong in every way (half an hour)
	@$(BIN)/python -m spawnai_local.chaos $(if $(PLAN),--plan '$(PLAN)')

.PHONY: compat
compat: setup ## Run installation, admission and a life on the oldest supported Kubernetes
	@$(BIN)/python -m spawnai_local.compat $(PYTEST_ARGS)

.PHONY: gitops
gitops: setup ## Have Flux's own controllers apply classes and sessions from Git
	@$(BIN)/python -m spawnai_local.gitops $(PYTEST_ARGS)

.PHONY: observe
observe: setup ## Run sessions under Prometheus and Alertmanager, and print every panel's value
	@$(BIN)/python -m spawnai_local.observe

# For make quality: a folder of answers (ours by default); DEPLOY=1 runs each on the local stack.
BUNDLES ?=
DEPLOY ?=

.PHONY: quality
quality: setup ## Say what becomes of each answer of a folder: accepted, refused, and why
	@$(BIN)/python -m spawnai_local.quality $(if $(BUNDLES),'$(BUNDLES)') $(if $(DEPLOY),--deploy)

.PHONY: kind-up
kind-up: setup ## Make a kind cluster (needs Docker) for `make local CLUSTER=kubeconfig`
	@$(BIN)/python -m spawnai_local.kind

.PHONY: lock
lock: setup ## Resolve requirements/*.txt again from pyproject.toml
	@sh tools/lock.sh
