# Everything here sets itself up in .venv; it needs Python ≥ 3.11.4, make and git.
PYTHON ?= python3
CORES ?= 2
HOURS ?= 2
SCALE ?= laptop

TEMPLATES := src/feature_alignment/publish/templates
VENV := .venv
INSTALLED := $(VENV)/installed
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: help install quickstart test lint fuzz all campaign report site crate clean

help:
	@echo "make quickstart  every figure at smoke scale, from bundled data"
	@echo "make test        linters and tests"
	@echo "make fuzz        damage hundreds of files and settings; each must end in a clear error"
	@echo "make all         every figure and the ledger at laptop scale"
	@echo "make campaign    HOURS=2 CORES=2 SCALE=laptop: the runs that are worth most, archived"
	@echo "make report      SCALE=laptop: report.zip of a finished run, each figure with its table"
	@echo "make site        every page, ledger and public name as a site, in site/"
	@echo "make crate       SCALE=laptop: crate.zip, the published results and their code, to archive"
	@echo "make install     only the virtual environment"
	@echo "make clean       remove everything computed, but not downloads"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

quickstart: $(INSTALLED)
	$(IN_VENV) snakemake --cores $(CORES) all --config scale=smoke
	@echo "Figures: figures/smoke/   Ledger: results/smoke/audit/ledger.html"

all: $(INSTALLED)
	$(IN_VENV) snakemake --cores $(CORES) all

campaign: $(INSTALLED)
	$(IN_VENV) python -m feature_alignment.run.campaign --scale $(SCALE) --hours $(HOURS) --cores $(CORES)

report: $(INSTALLED)
	$(IN_VENV) snakemake --cores 1 all --config scale=$(SCALE) --report report.zip

site: $(INSTALLED)
	rm -rf site
	$(VENV)/bin/python -m sphinx --quiet --fresh-env --fail-on-warning -c docs/site -d $(VENV)/doctrees . site
	@echo "Site: site/index.html"

crate: $(INSTALLED)
	$(VENV)/bin/python -m feature_alignment.publish.crate --scale $(SCALE) --out crate.zip

lint: $(INSTALLED)
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .
	$(IN_VENV) djlint --lint --quiet $(TEMPLATES)
	$(IN_VENV) oxlint --deny-warnings -D correctness -D suspicious $(TEMPLATES)
	$(IN_VENV) snakefmt --check Snakefile workflow
	$(IN_VENV) snakemake --lint --config scale=smoke

test: lint
	$(IN_VENV) pytest -n $(CORES) --dist worksteal

fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/fuzz/run.py --jobs $(CORES)

clean:
	rm -rf results figures/*/ data/prepared .snakemake site
