PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # each of many processes would translate all sources anew

.PHONY: help demo test test-long test-versions bench pictures clean

help:
	@echo "make demo   set up, then train a recurrent network to add binary numbers (minutes)"
	@echo "make test   set up, then formatter, linter, type checker and all tests"
	@echo "make test-long  the tests that take their time: trainings, documented commands, searches"
	@echo "make test-versions  the tests of compiler and layers on the oldest and newest PyTorch"
	@echo "make bench NAME=…  set up with the peers, then measure; saiki bench lists what"
	@echo "make pictures  train what README.md and docs/ show, and draw it (three hours)"
	@echo "make clean  remove the virtual environment"

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"saiki needs Python 3.11 or newer, and $(PYTHON) is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[voices]'
	@touch $@

.venv/ready-to-test: .venv/ready
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/ready
	$(BIN)/saiki run adder

test: .venv/ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-long: .venv/ready-to-test
	$(BIN)/pytest -m long -n 3 --dist loadfile --no-loadscope-reorder

test-versions:
	$(PYTHON) tools/test_versions.py

bench: .venv/ready-to-test
	$(BIN)/saiki bench $(NAME) $(OPTIONS)

pictures: .venv/ready-to-test
	$(BIN)/python tools/pictures.py

clean:
	rm -rf .venv
