# Everything a user or a contributor types. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
JOBS ?= 2
SEED ?= 1
# how much: random programs, random graphs, kills, seconds of fuzzing
N ?= 10000
GRAPHS ?= 1000
KILLS ?= 100
SECONDS ?= 60
SETUP_STAMP := $(VENV)/.setup-done
WARM_STAMP := $(VENV)/.warm-done
# ruff and mypy leave out what does not exist yet, so that lint works in a partial checkout.
TYPED := $(wildcard sw sim fpga)

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test bench examples \
  cosim faults coverage interpreters prove mutants bigarrays \
  graphs resnet50-rtl conformance networks networks-int8 fuzz \
  compare-tensorflow kill \
  lint format docs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One line for each missing tool, with the command that installs it; then fail once.
tools:
	@ok=1; need() { ok=0; echo "missing: $$1 -- install it with: $$2" >&2; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || need "Python 3.11 or newer ($(PYTHON))" "sudo apt-get install python3"; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || need "Python's venv module" "sudo apt-get install python3-venv"; \
	command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || need "a C++ compiler" "sudo apt-get install g++"; \
	command -v perl >/dev/null || need "perl" "sudo apt-get install perl"; \
	[ $$ok = 1 ]

$(SETUP_STAMP): pyproject.toml constraints.txt | tools
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --config-settings editable_mode=compat -e '.[test]'
	@touch $@

# The stamp is of its own: a change of pins that keeps Yosys need not compile it again.
$(WARM_STAMP): $(SETUP_STAMP)
	@$(PY) -m sim.rtl.warmup
	@touch $@

setup: $(WARM_STAMP) ## make .venv and warm the tools up (once; again when pins change)

demo: setup ## train a small convnet, quantise it, run it on the Verilated TPU
	@$(VENV)/bin/systolica demo

test: setup ## run all tests
	@$(PY) -m pytest -n $(JOBS) tests

bench: setup ## print each measured figure beside its bound
	@$(PY) -m bench

examples: setup ## run every example in full: all must learn
	@$(PY) -m examples --jobs $(JOBS)

# The core against the oracle, and proofs: docs/verification.md.
cosim: setup ## N random programs (10000) on the Verilated core against the oracle
	@$(PY) -m tests.verification.cosim -n $(N) --seed $(SEED) --jobs $(JOBS)

faults: setup ## bus errors, dead channels, resets and bad words, everywhere in some programs
	@$(PY) -m tests.verification.faults --seed $(SEED)

coverage: setup ## line, branch, expression, toggle and FSM coverage of the core; pages in build/
	@$(PY) -m tests.verification.coverage --seed $(SEED)

interpreters: setup ## N random programs (10000) in C++ and in NumPy, then bugs to be noticed
	@$(PY) -m tests.verification.interpreters -n $(N) --seed $(SEED)
	@$(PY) -m tests.verification.interpreters -n 2000 --seed $(SEED) --float --plants

prove: setup ## prove the properties of the units; plant a bug for each
	@$(PY) -m tests.verification.prove --jobs $(JOBS)

mutants: setup ## small bugs everywhere in five units: each noticed, or proven to be none
	@$(PY) -m tests.verification.mutate --jobs $(JOBS) --seed $(SEED)

bigarrays: setup ## arrays of up to 64x64 on RTL
	@$(PY) -m tests.verification.big_arrays

# Networks and models.
graphs: setup ## GRAPHS (1000) random int8 graphs against plain integers, a tenth on RTL
	@$(PY) -m tests.verification.graphs -n $(GRAPHS) --seed $(SEED)

resnet50-rtl: setup ## all of ResNet-50 on the Verilated core, against its integer meaning
	@$(PY) -m tests.verification.networks resnet50

conformance: setup ## the ONNX standard's node tests: all on the CPU, int8 ones on the TPU
	@$(PY) -m tests.conformance.onnx_nodes
	@$(PY) -m tests.conformance.tpu_nodes

networks: setup ## nine real architectures on the CPU device against ONNX Runtime
	@$(PY) -m tests.conformance.networks

networks-int8: setup ## the same nine quantised, on the TPU device, against ONNX Runtime's integer kernels
	@$(PY) -m tests.conformance.networks_int8 --seed $(SEED)

fuzz: setup ## SECONDS (60) of damaged models against the importer
	@$(PY) -m tests.conformance.fuzz --seconds $(SECONDS) --seed $(SEED)

# The graph language and its training.
compare-tensorflow: setup ## every case of the graph language in TensorFlow itself, in its own environment
	@[ -x .venv-tensorflow/bin/python ] || $(PYTHON) -m venv .venv-tensorflow
	@.venv-tensorflow/bin/python -m pip install --quiet --disable-pip-version-check tensorflow-cpu \
	  amaranth ml_dtypes numpy pillow safetensors scipy threadpoolctl
	@PYTHONPATH=. .venv-tensorflow/bin/python -W ignore -m tests.verification.compare_tensorflow

kill: setup ## KILLS (100) times SIGKILL during training: the same weights in the end
	@$(PY) -m tests.verification.kill -n $(KILLS) --seed $(SEED)

# The house.
lint: setup ## ruff (lint and format) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy $(TYPED)

format: setup ## rewrite files in the house format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

docs: setup ## build the reference pages from the code
	@$(PY) -m docs.build

clean: ## remove everything that make made here (not the model cache)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
