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

# One environment, filled as far as a target needs. Each stamp stands for one lock file, and run's
# for the package itself, so that an install happens again only when the lock, the package's own
# description or what is compiled changed.
LOCKED := $(VENV)/locked.stamp
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp
SERVERS := $(VENV)/servers.stamp
RELEASE := $(VENV)/release.stamp

# The part in C, which hatch_build.py compiles where it can; everything works without.
STENCIL := bridge/source/_stencil.c
COMPILED := bridge/source/_stencil.abi3.so
NATIVE = $(shell $(BIN)/python -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))') \
	-shared -fPIC $(STENCIL)
# With malloc for every object, so that one is not read beyond its end into the next.
UNDER_SANITIZERS = PYTHONPATH=$(CURDIR)/$(SANITIZED) PYTHONMALLOC=malloc \
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0

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

# A copy of the package with a module that stops at the first false step, and the tests of it alone:
# all of Python runs slower under the sanitizers.
SANITIZED := build/sanitized
.PHONY: native-check
native-check: $(DEV) ## compile the C part strictly and test it under sanitizers (needs gcc)
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED) && cp -r bridge $(SANITIZED)
	gcc $(NATIVE) -Werror -Wall -Wextra -fanalyzer -O2 -o /dev/null
	gcc $(NATIVE) -fsanitize=address,undefined -fno-sanitize-recover -fno-omit-frame-pointer -g -O1 \
		-o $(SANITIZED)/$(COMPILED)
	$(UNDER_SANITIZERS) $(BIN)/python -P -c 'from bridge.source import _stencil as one; \
		assert "/$(SANITIZED)/" in one.__file__, one.__file__'
	$(UNDER_SANITIZERS) $(BIN)/pytest -n0 -s --require-servers tests/source/test_stencil_native.py $(ARGS)

lint: $(DEV) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## check types
	$(BIN)/mypy

format: $(DEV) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure
	$(BIN)/python -m benchmarks $(ARGS)

servers: $(SERVERS) ## also install the servers that some tests need, as far as PyPI has them

dist: $(RELEASE) ## build sdist and wheels, check them, try them where nothing else is (needs cc)
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
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist $(COMPILED)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is \
	needed; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(LOCKED): requirements/run.txt requirements/build.txt | $(BIN)/pip
	@echo "Installing the locked dependencies into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@touch $@

# Without build isolation: what builds the package is locked too.
$(RUN): $(LOCKED) pyproject.toml hatch_build.py $(STENCIL)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@test -e $(COMPILED) || echo "Not compiled: $(STENCIL). All works without it, slower"
	@touch $@

$(DEV): requirements/dev.txt $(LOCKED) | $(RUN)
	@echo "Installing the locked development tools into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(SERVERS): requirements/servers.txt $(DEV) | $(RUN)
	@echo "Installing the locked test servers into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/servers.txt
	@touch $@

$(RELEASE): requirements/release.txt $(DEV) | $(RUN)
	@echo "Installing the locked release tools into $(VENV), once"
	@$(PIP) install --require-hashes -r requirements/release.txt
	@touch $@
