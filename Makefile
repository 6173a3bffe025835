SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test faults search bench lint validate build servers lock clean

# The Python that .venv is made of; 3.11 or newer.
PYTHON ?= python3
RUN := .venv/bin
CHECKED := layers cli functions tests

export SAM_CLI_TELEMETRY := 0

help: ## Say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-9s %s\n", $$1, $$2 }'

demo: .venv/made ## Rotate a real registry's password in a sandbox on this machine (ARGS=--help says how else)
	@$(RUN)/python -m tests.sandbox.demo $(ARGS)

test: .venv/made ## Run the tests (ARGS=tests/unit for some)
	@$(RUN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

faults: .venv/made ## Let something go wrong at every I/O call of a rotation (N=100 for random pairs of faults, SEED=…)
	@$(RUN)/python -m tests.faults.campaign $(if $(N),--pairs $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

search: .venv/made ## Let anything go wrong in any order in a model of the reset; prints states and seconds (ARGS=--all)
	@$(RUN)/python -m tests.faults.search $(ARGS)

bench: .venv/made ## Measure how long what matters takes, each beside a peer (ARGS="--times 30")
	@$(RUN)/python -m tests.bench $(ARGS)

lint: .venv/made ## Check style and types
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy $(CHECKED)

validate: .venv/made .venv-sam/made ## Check the template and the state machine
	.venv-sam/bin/sam validate --lint
	$(RUN)/cfn-lint template.yaml
	$(RUN)/pytest -q tests/unit/test_template.py tests/unit/test_template_checks.py tests/unit/test_state_machine.py

# Under pyenv the name on PATH may be a shim that only fails: whether an interpreter runs is asked, not looked up.
build: .venv-sam/made ## Build what is deployed, into .aws-sam (no Docker)
	@for python in "$$(command -v python3.13 || true)" "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do \
	  if [ -n "$$python" ] && "$$python" -m pip --version >/dev/null 2>&1; then \
	    PATH="$$(dirname "$$python"):$$PATH" .venv-sam/bin/sam build $(ARGS); exit; \
	  fi; \
	done; \
	echo "make build: the functions run on Python 3.13, and no python3.13 with pip runs here." >&2; \
	echo "Install one, for example with 'pyenv install 3.13'." >&2; exit 1

servers: .venv/made ## Get the real servers that the tests run against (ARGS=vault for one)
	@$(RUN)/python -m tests.servers.fetch $(ARGS)

# Pins that fit stay as they are; ARGS=--upgrade takes the newest.
lock: export UV_CUSTOM_COMPILE_COMMAND := make lock
lock: ## Resolve the dependencies of pyproject.toml anew (needs uv)
	uv pip compile -q --universal --generate-hashes --python-version 3.11 $(ARGS) --extra cli --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 -c requirements/dev.txt pyproject.toml -o layers/rekey/requirements.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 $(ARGS) --group sam -o requirements/sam.txt

clean: ## Remove what was built and measured; the servers and environments stay
	rm -rf .aws-sam out .mypy_cache .pytest_cache .ruff_cache

# The locks are complete, so nothing is resolved here: --no-deps. uv is taken where it runs, because it is faster.
define environment
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "$(1): installing $(2)"
	@if uv --version >/dev/null 2>&1; then \
	  uv venv --quiet --clear --python "$$("$(PYTHON)" -c 'import sys; print(sys.executable)')" $(1); \
	  install() { uv pip install --quiet --python $(1)/bin/python --no-deps "$$@"; }; \
	else \
	  "$(PYTHON)" -m venv --clear $(1); \
	  install() { $(1)/bin/python -m pip install --quiet --no-deps --disable-pip-version-check "$$@"; }; \
	fi; \
	install --require-hashes -r $(2); \
	$(3) \
	touch $@
endef

.venv/made: requirements/dev.txt pyproject.toml
	$(call environment,.venv,requirements/dev.txt,install --no-build-isolation -e .;)

.venv-sam/made: requirements/sam.txt
	$(call environment,.venv-sam,requirements/sam.txt,)
