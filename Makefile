# Each target makes its own virtual environment in .venv and needs only Python 3.11 to 3.13, git and make.
PYTHON ?= python3
VENV ?= .venv
COHORT ?=
RUN = $(VENV)/bin/python

.PHONY: demo test bench lint clean

demo: $(VENV)/installed
	$(RUN) Testing/demo.py --output demo $(if $(COHORT),--cohort "$(COHORT)")

test: $(VENV)/installed
	$(RUN) -m pytest

bench: $(VENV)/installed
	$(RUN) Testing/benchmarks

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else 'Python 3.11 to 3.13 is needed, this is ' + sys.version.split()[0] + '; say make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[dev,slicer-host]"
	touch $@

clean:
	rm -rf $(VENV) demo build
