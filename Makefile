# Every command of the project. Needs make and Python 3.11 or later with venv, and neither root
# nor a system package (on a bare Debian: apt install make python3-venv).
#
# ARGS goes to the command behind a target: make demo ARGS="--seconds 20", make test ARGS="-k walk".

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-annotate --no-header --no-emit-index-url $(ARGS)

# One environment, filled as far as a target needs. Each stamp stands for one lock file, so that
# an install happens again only when the lock or the package's own description changed.
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp
SERVERS := $(VENV)/servers.stamp
RELEASE := $(VENV)/release.stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test lint types format bench servers lock clean \
	dist sbom licences audit newcomer-test

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN) ## watch the bridge carry a simulated account's logs; needs no key
	@$(BIN)/fal-log-bridge demo $(ARGS)

run: $(RUN) ## run the bridge (ARGS="--config my.yaml")
	@$(BIN)/fal-log-bridge run $(ARGS)

test: $(DEV) ## run the tests
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup $(ARGS)

.PHONY: image-test chart-test
image-test: $(SERVERS) ## build the container image and try it (as root; names what it needs)
	$(BIN)/pytest --require-servers tests/image $(ARGS)

chart-test: $(SERVERS) ## render the Helm chart and try it (ARGS=--update-golden: take it as it is)
	$(BIN)/pytest --require-servers tests/helm $(ARGS)

lint: $(DEV) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## check types
	$(BIN)/mypy bridge tests benchmarks release

format: $(DEV) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure
	$(BIN)/python -m benchmarks $(ARGS)

servers: $(SERVERS) ## also install the servers that some tests need, as far as PyPI has them

dist: $(RUN) ## build wheel and sdist, check them, try the wheel where nothing else is
	$(BIN)/python -m release.distribution

sbom: $(RELEASE) ## list what is shipped, as CycloneDX, into dist
	$(BIN)/python -m release.sbom

licences: $(RUN) ## list the licences of what is shipped; fails if one does not fit
	@$(BIN)/python -m release.licences

audit: $(RELEASE) ## ask PyPI for known vulnerabilities of what is shipped (needs the internet)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		-r requirements/run.txt $(ARGS)

newcomer-test: $(DEV) ## try the quick start on a bare Debian, as root (apt: mmdebstrap)
	$(BIN)/pytest -n0 -s --require-servers tests/newcomer

lock: $(DEV) ## resolve the locked dependencies anew (ARGS=--upgrade for newer ones)
	$(LOCK) pyproject.toml --extra zstd -o requirements/run.txt
	$(LOCK) --group build -c requirements/run.txt -o requirements/build.txt
	$(LOCK) pyproject.toml --extra zstd --group dev -c requirements/run.txt -c requirements/build.txt \
		-o requirements/dev.txt
	$(LOCK) pyproject.toml --extra zstd --group dev --group servers -c requirements/dev.txt \
		-o requirements/servers.txt
	$(LOCK) --group release -c requirements/servers.txt -o requirements/release.txt

clean: ## remove everything that make made, the environment too
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is \
	needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# Without build isolation: what builds the package is locked too.
$(RUN): requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/pip
	@echo "Installing the locked dependencies into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.txt $(RUN)
	@echo "Installing the locked development tools into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(SERVERS): requirements/servers.txt $(DEV)
	@echo "Installing the locked test servers into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/servers.txt
	@touch $@

$(RELEASE): requirements/release.txt $(DEV)
	@echo "Installing the locked release tools into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/release.txt
	@touch $@
