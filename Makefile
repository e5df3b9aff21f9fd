# Everything here sets itself up in .venv; it needs Python ≥ 3.11.4, make and git.
PYTHON ?= python3
CORES ?= 2
HOURS ?= 2
SCALE ?= laptop
TORCH ?=
LOCKED ?=

TEMPLATES := src/feature_alignment/publish/templates
VENV := .venv
INSTALLED := $(VENV)/installed
PIP := $(VENV)/bin/python -m pip
UV := uv>=0.9,<1
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

# Three ways to the same versions: pinned; with checksums; or with PyTorch's own build for TORCH,
# which is cpu, auto or a version of CUDA such as cu130 (the values of uv's --torch-backend).
INSTALL_PINNED = $(PIP) install --quiet --constraint constraints.txt --editable ".[test]"
INSTALL_LOCKED = $(PIP) install --quiet --require-hashes --requirement requirements.lock && \
	$(PIP) install --quiet --no-deps --editable .
INSTALL_TORCH = $(PIP) install --quiet "$(UV)" && \
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --torch-backend $(TORCH) \
	--constraint constraints.txt --editable ".[test]"

OTHERWISE := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=SSE41 \
	OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4" \
	GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-FMA

# Hundreds of short processes would each compile the package anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install lock quickstart publish-smoke test lint fuzz all campaign report site crate clean

help:
	@echo "make quickstart  every figure at smoke scale, from bundled data, and whether the tables agree"
	@echo "make test        linters and tests"
	@echo "make fuzz        damage hundreds of files and settings; each must end in a clear error"
	@echo "make all         every figure and the ledger at laptop scale"
	@echo "make campaign    HOURS=2 CORES=2 SCALE=laptop: the runs that are worth most, archived"
	@echo "make publish-smoke  the tables that quickstart agrees with, made anew"
	@echo "make install     only the virtual environment; TORCH=cpu without CUDA, LOCKED=1 with checksums"
	@echo "make lock        requirements.lock from pyproject.toml and constraints.txt"
	@echo "make report      SCALE=laptop: report.zip of a finished run, each figure with its table"
	@echo "make site        every page, ledger and public name as a site, in site/"
	@echo "make crate       SCALE=laptop: crate.zip, the published results and their code, to archive"
	@echo "make clean       remove everything computed, but not downloads"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL_$(if $(TORCH),TORCH,$(if $(LOCKED),LOCKED,PINNED)))
	touch $@

lock: $(INSTALLED)
	$(PIP) install --quiet "$(UV)"
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--no-emit-find-links --no-emit-index-url --python-version 3.11.4 --extra test \
		--constraint constraints.txt \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

quickstart: $(INSTALLED)
	$(IN_VENV) snakemake --cores $(CORES) all --config scale=smoke --logger feature-alignment
	@echo "Figures: figures/smoke/   Ledger: results/smoke/audit/ledger.html"
	@$(IN_VENV) python -m feature_alignment.publish.agreement \
		--fresh results/smoke/tables --published reference/smoke

# Libraries are told to leave out vector instructions, so that they round as another processor does
publish-smoke: $(INSTALLED)
	$(IN_VENV) snakemake --cores $(CORES) all --config scale=smoke
	$(IN_VENV) env $(OTHERWISE) snakemake --cores $(CORES) tables --config scale=smoke \
		--directory results/rounding
	$(IN_VENV) python -m feature_alignment.publish.rehearsal --results results/smoke \
		--again results/rounding/results/smoke/tables --published reference/smoke

all: $(INSTALLED)
	$(IN_VENV) snakemake --cores $(CORES) all --logger feature-alignment

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
