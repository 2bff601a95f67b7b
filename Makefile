# make demo    scores real handwritten digits with a TensorFlow entry script
# make test    lint, types and all tests
# make chaos   200 runs whose processes are killed at random; about half an hour
# make bench   the benchmarks, each beside its peers; Spark needs Java 17
# make bench-stores  those of object stores
# make screenshot  pictures of RunDetails in JupyterLab into docs/images
# make clean   what the above have made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet
# As pip does with what it installs, but not with what it only links: else each process would compile what it imports,
# where PYTHONDONTWRITEBYTECODE is set. A third of a small run's time.
COMPILE = $(BIN)/python -m compileall -q
DEMO := build/demo
BENCH := build/venv-bench

.DELETE_ON_ERROR:
.PHONY: demo test lint chaos bench bench-stores screenshot test-minimum clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("daskbatch needs Python 3.11 or later, got " + sys.version.split()[0] + ". Next: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@$(PYTHON) -m venv $(VENV)

# The stamps: a second call installs nothing unless the requirements have changed.
$(VENV)/.demo-stamp: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing daskbatch and TensorFlow into $(VENV) (a minute or two, once) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.test-stamp: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing daskbatch and its test tools into $(VENV) (a minute or two, once) ..."
	@$(PIP) -e '.[demo,jupyter,test]'
	@touch $@ $(VENV)/.demo-stamp

demo: $(VENV)/.demo-stamp
	@rm -rf $(DEMO)/out
	@$(COMPILE) daskbatch
	@$(BIN)/python examples/digits/make_data.py $(DEMO)
	@$(BIN)/python examples/digits/train.py $(DEMO) 2>$(DEMO)/train.log || { cat $(DEMO)/train.log; exit 1; }
	$(BIN)/daskbatch run examples/digits/score.py $(DEMO)/images --output $(DEMO)/out --process-count-per-node 2 -- --model $(DEMO)/model.keras
	@$(BIN)/python examples/digits/accuracy.py $(DEMO)

lint: $(VENV)/.test-stamp
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

test: lint
	@$(COMPILE) daskbatch
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The tests with the oldest versions that setup.cfg allows.
test-minimum:
	@test -x build/venv-minimum/bin/python || $(PYTHON) -m venv build/venv-minimum
	@build/venv-minimum/bin/python -m pip install --quiet -e '.[test]' --constraint tests/constraints-minimum.txt
	build/venv-minimum/bin/python -m pytest --ignore tests/test_typing.py $(PYTEST_ARGS)

chaos: $(VENV)/.test-stamp
	DASKBATCH_CHAOS_SEEDS=200 DASKBATCH_CLIENT_KILLS=50 $(BIN)/python -m pytest tests/integration/test_chaos.py $(PYTEST_ARGS)

# All contenders run with one Python, so that pandas and Arrow are the same for all.
$(BENCH)/.stamp: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing daskbatch and its peers into $(BENCH) (some minutes, once) ..."
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BENCH)/bin/python -m pip install --quiet -e '.[bench,demo]'
	@touch $@

bench: $(BENCH)/.stamp
	@$(COMPILE) daskbatch benchmarks
	$(BENCH)/bin/python benchmarks/dispatch.py --repeats 3 --enough 30 --json build/bench
	$(BENCH)/bin/python benchmarks/tables.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/tables_parquet.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/tables_boosted.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/images.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/images_keras.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/threads.py --repeats 3 --enough 40 --json build/bench
	$(BENCH)/bin/python benchmarks/skewed.py --repeats 3 --json build/bench
	$(BENCH)/bin/python benchmarks/startup.py --repeats 5 --json build/bench
	$(BENCH)/bin/python benchmarks/failures.py --repeats 3 --json build/bench
	$(BENCH)/bin/python benchmarks/combine.py --repeats 5 --json build/bench
	$(BENCH)/bin/python benchmarks/resume.py --repeats 3 --json build/bench
	$(BENCH)/bin/python benchmarks/mini_batch_size.py --repeats 3 --json build/bench
	$(BENCH)/bin/python benchmarks/memory.py --million --repeats 2 --json build/bench
	$(BENCH)/bin/python benchmarks/simulation.py --json build/bench
	$(BENCH)/bin/python benchmarks/report.py build/bench

# Each starts Ceph; some ten minutes, and 20 GB of memory for the last.
bench-stores: $(VENV)/.test-stamp
	$(BIN)/python benchmarks/objects.py
	$(BIN)/python benchmarks/objects.py --latency 5 --run 50
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/combine_objects.py --rounds 1

screenshot: $(VENV)/.test-stamp
	DASKBATCH_SCREENSHOTS=build/screenshots $(BIN)/python -m pytest --basetemp /tmp/demo tests/notebooks/test_widget_in_a_browser.py
	mkdir -p docs/images
	cp build/screenshots/run-details-running.png build/screenshots/run-details-finished.png docs/images

# Leaves $(VENV): remove it by hand to start from nothing.
clean:
	rm -rf build dist *.egg-info benchmarks/data .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find daskbatch tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
