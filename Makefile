# Two commands do everything on a machine with Python 3.11+, make and a package index: make demo, make test.
PYTHON ?= python3
RUN := .venv/run
DEV := .venv/dev

.PHONY: help demo test lint pictures schema clean

help:
	@echo "make demo      make a synthetic association in demo/, plan it, run it, compare with the truth"
	@echo "make test      run all tests"
	@echo "make lint      ruff, mypy, import-linter, and whether generated files are current"
	@echo "make pictures  draw the README's pictures anew"
	@echo "make schema    write schemas/ anew"

demo: $(RUN)/installed
	rm -rf demo
	$(RUN)/bin/acsrecipe demo demo

test: $(DEV)/installed
	$(DEV)/bin/python -m pytest -n 2 -q

lint: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(DEV)/bin/acsrecipe schema | diff - schemas/recipe-1.json

pictures: $(DEV)/installed
	$(DEV)/bin/python docs/pictures.py

schema: $(DEV)/installed
	$(DEV)/bin/acsrecipe schema > schemas/recipe-1.json

$(RUN)/installed: pyproject.toml
	$(PYTHON) -m venv $(RUN)
	$(RUN)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(DEV)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo
	find . -name __pycache__ -prune -exec rm -rf {} +
