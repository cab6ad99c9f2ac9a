# make demo : set up on a fresh machine, then run the main job
# make test : set up on a fresh machine, then lint and test
# make test-fast : the tests without ROS, without processes, without rendering, training and other slow ones
# make docs : the documentation as a site, with the Python API, in build/docs
# make faults : hostile streams in virtual time, against the promise
# make fuzz : damaged messages, files, YAML, recordings and checkpoints through every reader
# make soak : 200,000 frames offline, then 30 minutes live while sensors die and come back: does anything grow?
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
APT_PACKAGES := libusb-1.0-0 libgl1 libegl1 libx11-6 libudev1 libgomp1
STAMP := $(VENV)/.any2seg-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A process for each core, with one thread each. Tests of a file stay together: they share what they have recorded, and
# those of ROS a domain of their own, which no other process on this machine has.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The teacher of the paper needs another transformers than the rest: a folder of its own, which one test puts first.
LANGUAGEBIND := build/languagebind

.PHONY: demo test test-fast faults fuzz soak lint docs install train-data train clean

demo: install
	$(BIN)/any2seg demo $(DEMO_ARGS)

test: install lint $(LANGUAGEBIND)
	$(PYTEST) $(PYTEST_ARGS)

test-fast: install
	$(PYTEST) --fast $(PYTEST_ARGS)

faults: install
	$(BIN)/python tests/streams/faults_run.py $(FAULTS_ARGS)

fuzz: install
	$(BIN)/python tests/fuzz/fuzz_run.py $(FUZZ_ARGS)

soak: install
	$(BIN)/python tests/soak/soak_run.py $(SOAK_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.any2seg-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

$(VENV)/.any2seg-docs: $(STAMP)
	$(PIP) install --quiet -e ".[docs]" -c constraints.txt
	touch $@

install: $(STAMP)

# The virtual environment is rebuilt when the dependency files change.
$(STAMP): pyproject.toml constraints.txt scripts/check_system.sh
	PYTHON="$(PYTHON)" bash scripts/check_system.sh $(APT_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet torch -c constraints.txt
	$(PIP) install --quiet -e ".[drive,ros,dev]" -c constraints.txt
	touch $(STAMP)

$(LANGUAGEBIND): tests/core/teachers/languagebind.txt $(STAMP)
	$(PIP) install --quiet --upgrade --no-deps --target $@ -r $<
	touch $@

train-data: install
	$(BIN)/any2seg drive deliver data/drive --split train --sequences 180 --frames 10
	$(BIN)/any2seg drive deliver data/drive --split val --sequences 30 --frames 8

train: install
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc_per_node=2 training/train.py training/configs/drive_b0.yaml device=cpu

clean:
	rm -rf $(VENV) runs
