# make demo   set up and map the synthetic world: results/bed
# make test   set up and run the tests
# make test-slurm  run the tests that start a SLURM cluster; as root, with SLURM's packages
# make test-conda  run the tests that make conda environments
# make pins   solve envs/*.yaml and write exact versions beside them
# make check  formatters, linters, types, import directions
# make generate  schemas and reference pages from the models; envs/Dockerfile
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || echo 2)
READY = $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-slurm test-conda pins check generate clean

demo: $(READY)
	$(BIN)/snakemake --cores $(CORES)
	@cat results/bed/evaluate/metrics.md
	@echo "Look at results/bed/evaluate/*.png and results/bed/publish/*.tif"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) -m 'not slurm and not conda'

test-slurm: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/slurm

test-conda: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/conda

pins: $(READY)
	$(BIN)/python envs/pin.py

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/workflow/test_imports.py tests/workflow/test_schema.py tests/workflow/test_docs.py

generate: $(READY)
	$(BIN)/python -m nunatak schema
	$(BIN)/python docs/generate.py
	PATH="$(CURDIR)/tests/conda/bin:$$PATH" $(BIN)/snakemake --containerize --quiet > envs/Dockerfile

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) results .snakemake
