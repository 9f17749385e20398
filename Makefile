# Everything happens in .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo
# Of the tests; one more than cores, since those with clusters, browsers and children wait most of their time.
PROCESSES ?= 3
# Rendering needs no screen: on Linux the tests and the demo use EGL unless told otherwise.
ifeq ($(shell uname -s),Linux)
export MUJOCO_GL ?= egl
endif
# The theme advertises its successor in every build.
export NO_MKDOCS_2_WARNING = 1

.PHONY: demo test check format docs clean

demo: .venv/installed  ## meta-train TESP on the point family, evaluate, adapt to a task it never saw, draw
	if [ -d $(RUN) ]; then $(BIN)/tesp resume $(RUN); else $(BIN)/tesp train point --preset quick --output $(RUN); fi
	$(BIN)/tesp adapt $(RUN) --goal 0.9 1.0
	@echo "look at the pictures in $(RUN)/figures"

test: .venv/installed-dev  ## run the tests
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder

check: .venv/installed-dev  ## the whole gate: format, lint, types, import contract, tests, docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder
	$(BIN)/mkdocs build --strict --quiet

format: .venv/installed-dev  ## mend what can be mended by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: .venv/installed-dev  ## look at the docs while writing them
	$(BIN)/mkdocs serve

clean:
	rm -rf .venv site dist

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs,onnx,ray,sb3,wandb]'
	touch $@
