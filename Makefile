# make install | demo | test | lint | bench | scipion     (make help says what each does)
#
# Everything runs in .venv, made here from constraints.txt; nothing else has to be set up.
#   PYTHON=...       the Python 3.11 that .venv is made from
#   TORCH_INDEX=...  package index for torch alone; that of its CPU builds avoids the CUDA libraries
#   PYTEST_ARGS=...  arguments of pytest in "make test"

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
TORCH_INDEX ?=
PYTEST_ARGS ?=
PIP_ARGS = install -qq --disable-pip-version-check --root-user-action=ignore

# One stamp per checkout path: a copied or moved .venv does not work and is made anew.
KEY := $(shell pwd -P | cksum | cut -d ' ' -f 1)
STAMP := .venv/.installed-$(KEY)

# Scipion leaves the path of its interpreter unquoted. Where that would break (a space, for example), the
# environment is reached through a link with a plain name.
VENV := $(shell sh .ci/venv_path 2>/dev/null)
PY := $(VENV)/bin/python

.PHONY: help install demo test lint bench scipion clean

help:
	@echo "make install   .venv with this checkout, editable: .venv/bin/cflex"
	@echo "make demo      the adenylate kinase example in a Scipion project under demo/, with its accuracy and a report"
	@echo "make test      the whole test suite: pytest, then the suites that Scipion runs"
	@echo "make lint      ruff and mypy"
	@echo "make bench     speed and accuracy; writes benchmarks/results.json and docs/benchmarks.md"
	@echo "make scipion   the Scipion project window of the demo"
	@echo "make clean     remove .venv and demo"

install: $(STAMP)
	@sh .ci/venv_path --link
	@echo "installed: .venv/bin/cflex"

$(STAMP): setup.py constraints.txt continuousflex_dl/_version.py
	@sh .ci/venv_path --link
	@"$(PYTHON)" .ci/check_tools.py
	@for stamp in .venv/.installed-*; do case "$$stamp" in "$@"|*\*) ;; *) rm -rf .venv ;; esac; done
	@echo "making .venv ($(PYTHON)): torch, ProDy, Scipion and the rest; 2 GB, some minutes"
	@"$(PYTHON)" -m venv .venv
	@.venv/bin/python -m pip $(PIP_ARGS) -c constraints.txt setuptools wheel
	@.venv/bin/python -m pip $(PIP_ARGS) -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@.venv/bin/python -m pip $(PIP_ARGS) -c constraints.txt -e ".[scipion,trajectories,viewer,umap,dev]" scipion-app
	@.venv/bin/python -m pip check
	@touch "$@"

demo: $(STAMP)
	@sh .ci/venv_path --link
	@"$(PY)" examples/demo.py

scipion: $(STAMP)
	@sh .ci/venv_path --link
	@"$(PY)" examples/demo.py --open

test: $(STAMP)
	@sh .ci/venv_path --link
	@"$(PY)" .ci/run_tests.py $(PYTEST_ARGS)

lint: $(STAMP)
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

bench: $(STAMP)
	@sh .ci/venv_path --link
	@"$(PY)" benchmarks/run_benchmarks.py

clean:
	rm -rf .venv demo
