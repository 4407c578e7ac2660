# make demo · make test · make lint · make bench        (README.md says what each does)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 2

# The extension modules are compiled at installation: reinstall when their sources change.
NATIVE := setup.py pyproject.toml $(wildcard dsp/c/src/*.c dsp/c/include/earmark/*.h \
          dsp/earmark_dsp/_native_build.py training/earmark_training/_native_build.py \
          firmware/components/detector/src/*.c firmware/components/detector/include/earmark/*.h \
          firmware/components/pipeline/src/*.c firmware/components/pipeline/include/earmark/*.h)

.PHONY: demo test test-c lint format bench bench-streams bench-accuracy setup setup-demo clean help
help:
	@sed -n '1p' Makefile; echo "first time: make demo"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(NATIVE)
	@command -v $${CC:-cc} >/dev/null || { echo "error: no C compiler; install gcc or clang (Debian: apt-get install build-essential)"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[demo]' 'cmake>=3.25' 'ninja>=1.11'
	@touch $@

$(VENV)/.dev: $(BIN)/python $(NATIVE)
	@command -v $${CC:-cc} >/dev/null || { echo "error: no C compiler; install gcc or clang (Debian: apt-get install build-essential)"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev
setup-demo: $(VENV)/.demo

demo: setup-demo
	$(BIN)/earmark demo $(if $(SERVE),--serve)

test: setup lint
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	git ls-files '*.c' '*.h' | xargs -r $(BIN)/clang-format -i

# Figures for the pages; JSON under build/bench/.
bench: setup
	$(BIN)/python -m earmark_training.bench.frontend
	$(BIN)/python -m earmark_training.bench.engine
	$(BIN)/python -m earmark_gateway.bench

# Hours of sound through the device's C code: BUNDLE=DIR, by default the demonstration's.
BUNDLE ?= build/demo/bundle
bench-streams: setup
	$(BIN)/python -m earmark_training.bench.streams --bundle $(BUNDLE)

# Five folds, three seeds: long; interrupt and repeat to go on.
bench-accuracy: setup
	$(BIN)/python -m earmark_training.bench.accuracy

clean:
	rm -rf build
