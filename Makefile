# Two commands do everything: `make run` (the main job) and `make test`. Each sets up .venv first, from the lock.

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv),.tools/bin/uv)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Where this is set, each of the many processes that tests start would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
WORKERS := 6
# Tests wait more than they compute, so more of them run side by side than there are cores. A file's tests run in one
# process, unless they are marked `long`; the order is that of tests/conftest.py, long ones first.
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install run test all-tests quick check advisories docs notebook format lock clean bench bench-throughput bench-quality bench-studies bench-coverage bench-export bench-scale bench-cost bench-gpu bench-audit bench-privacy soak

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## make .venv from requirements.lock

run: $(INSTALLED)  ## the main job: a quick study of MNIST (of scikit-learn's digits where MNIST cannot be had)
	$(BIN)/augment run --preset quick

test: $(INSTALLED)  ## the static checks and, beside them, all tests
	$(MAKE) --no-print-directory --jobs 2 check all-tests

all-tests: $(INSTALLED)
	$(BIN)/pytest $(SIDE_BY_SIDE)

quick: $(INSTALLED)  ## the unit tests alone, for the inner loop
	$(BIN)/pytest $(SIDE_BY_SIDE) --numprocesses logical -m "not slow" -x

check: $(INSTALLED)  ## ruff, mypy --strict, import-linter, the links of docs/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

advisories: $(UV)  ## known faults of the locked packages (asks a database in the network, so it is no part of check)
	$(UV) tool run pip-audit==2.10.1 --requirement requirements.lock --require-hashes --disable-pip

docs: $(INSTALLED)  ## the site of docs/ in build/site, without a network; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebook: $(INSTALLED)  ## execute docs/notebook.ipynb and store what it shows (minutes)
	$(BIN)/python docs/notebook.py

bench: bench-throughput bench-export bench-cost bench-quality bench-studies bench-coverage bench-audit bench-privacy bench-scale  ## all benchmarks (hours)

bench-throughput: $(INSTALLED)  ## training images per second against a plain float32 step
	$(BIN)/python -m benchmarks.throughput

bench-quality: $(INSTALLED)  ## time until samples of all of MNIST train a good classifier
	$(BIN)/python -m benchmarks.quality --split test

bench-studies: $(INSTALLED)  ## the studies behind the figures: few labels, rare classes, images without labels, and with AUGMENT_REAL other data (hours; continues where it stopped)
	$(BIN)/python -m benchmarks.studies few-labels more-labels cheap-generators rare-classes unlabelled \
		$(if $(AUGMENT_REAL),x-rays photographs unlabelled-x-rays rare-classes-photographs rare-classes-x-rays)

bench-coverage: $(INSTALLED)  ## whether the intervals keep their promise, on simulated studies (20 minutes)
	$(BIN)/python -m benchmarks.coverage rows
	$(BIN)/python -m benchmarks.coverage learners
	$(BIN)/python -m benchmarks.coverage stopping

bench-gpu: $(INSTALLED)  ## all that needs a GPU: its tests, throughput, cells side by side, studies (10 minutes)
	$(BIN)/python -m benchmarks.gpu

AUDITED ?= digits mnist  # data sets: names, or KIND:PATH
bench-audit: $(INSTALLED)  ## how often the checks catch planted generators, and fail honest ones (an hour)
	$(BIN)/python -m benchmarks.audit --workers 2 --datasets $(AUDITED)

bench-privacy: $(INSTALLED)  ## what samples and generators give away, and what it costs to give away less (hours)
	$(BIN)/python -m benchmarks.privacy --workers 2

bench-export: $(INSTALLED)  ## a million images to Parquet: images per second, memory
	$(BIN)/python -m benchmarks.export --num-images 1000000

bench-scale: $(INSTALLED)  ## cells per minute against workers, Prefect's overhead
	$(BIN)/python -m benchmarks.scale

bench-cost: $(INSTALLED)  ## seconds and memory against subset, batch, image size and number of samples
	$(BIN)/python -m benchmarks.cost

soak: $(INSTALLED)  ## augment serve for an hour, its parts killed at random: due runs, memory, disk
	$(BIN)/python -m benchmarks.soak --minutes 60 --interval 60

format: $(INSTALLED)  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV)  ## resolve pyproject.toml into requirements.lock (names, versions, hashes; no addresses)
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras \
		--no-header --no-annotate pyproject.toml --output-file requirements.lock

clean:  ## remove what make made
	rm -rf .venv .tools build *.egg-info

$(INSTALLED): requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --clear --python 3.11 .venv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet uv==$(UV_VERSION)
