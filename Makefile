# `make serve` and `make test` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BANDIT := $(BIN)/bandit --quiet --recursive rerank rerank_server.py rerank_client.py download_model.py
PEERS  := sentence-transformers onnx infinity vllm
SDKS   := cohere5 cohere7
# the modules' compiled code is kept even where the environment says otherwise: tests start a hundred processes; three
# workers, because many tests wait for those; a worker that dies ends the run, which would wait for it for ever otherwise
PYTEST := env PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder \
          --max-worker-restart=0
BASES  := $(shell sed -En 's/^ARG ((RUNTIME|BUILD)=.*)/\1/p' Dockerfile)

.PHONY: help serve extras ray test test-ray quick coverage mutants check lint types audit format docs clean bench bench-peers sdks browser helm screenshots vendor soak fuzz lock image

help:
	@echo "make serve    start the server on port 8000 (PORT=... to change it; ARGS='--help' for its settings)"
	@echo "make extras   what \`rerank evaluate\` and its like need, and the pictures of the benchmarks"
	@echo "make ray      what \`rerank cluster\` needs"
	@echo "make test     every check and every test"
	@echo "make test-ray several servers under Ray: routing, updates, scaling, lost processes and machines (seven minutes)"
	@echo "make quick    unit and service tests, without those of processes, tensors, models and clients"
	@echo "make coverage which lines and branches do the tests reach? (it makes them take half as long again)"
	@echo "make mutants  change the pure modules in over seven thousand places: do their tests notice 95 in 100?"
	@echo "make check    linters, types, import contracts"
	@echo "make audit    look up known vulnerabilities of every pinned package (needs pypi.org), and bandit"
	@echo "make format   format the code"
	@echo "make docs     build the documentation site in site/, English and Chinese; it needs no network but for installing"
	@echo "make lock     write requirements.lock, the hashes of what the image installs (needs pypi.org)"
	@echo "make helm     fetch helm, with which \`make test\` renders the chart in deploy/helm"
	@echo "make image    build the image from base images by digest, and say which (ARGS='--build-arg ...' for docker)"
	@echo "make bench    measure the server and its peers side by side (an hour; 'make bench-peers' installs the peers)"
	@echo "make soak     five minutes of every kind of request: is anything lost, does anything grow?"
	@echo "make fuzz     a hundred thousand made-up requests, in twenty minutes at most: does it fail, hang or grow?"
	@echo "make screenshots  take the pictures of the pages again"
	@echo "make clean    remove the virtual environments and caches"

serve: $(VENV)/.runtime
	@$(BIN)/python rerank_server.py $(ARGS)

extras: $(VENV)/.extras

ray: $(VENV)/.ray

# what takes minutes or waits for the network runs alongside the tests; those that need it wait for it
test: lint $(VENV)/.docs
	$(BIN)/python -m tools.alongside types sdks browser helm -- $(PYTEST) $(ARGS)

# a dozen processes of Ray, for minutes
test-ray: $(VENV)/.dev
	TEST_RAY=1 $(PYTEST) --numprocesses=0 tests/cluster $(ARGS)

coverage: $(VENV)/.dev sdks browser helm $(VENV)/.docs
	$(PYTEST) --cov --cov-report=term $(ARGS)

quick: $(VENV)/.dev
	$(PYTEST) -p no:schemathesis --numprocesses=2 --quiet tests/unit tests/service $(ARGS)

mutants: $(VENV)/.mutants
	$(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats
	$(BIN)/python -m tools.mutants

check: lint types

# seconds
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile deploy/ray/Dockerfile
	$(BIN)/yamllint --strict compose.yaml deploy
	$(BIN)/python tools/words.py

# minutes, the first time
types: $(VENV)/.dev
	$(BIN)/mypy
	$(BANDIT)

# `--strict`: a package that could not be looked up is a failure. The files pin everything, so nothing is resolved;
# all are named, because pip-audit follows no `-r` within a file.
audit: $(VENV)/.dev
	$(BANDIT)
	@$(BIN)/pip-audit --strict --disable-pip --no-deps -r requirements.txt -r requirements-evaluate.txt -r requirements-ray.txt -r requirements-dev.txt -r requirements-docs.txt || { \
	  echo "make audit: a package above has a known vulnerability, or could not be looked up at pypi.org; nothing was shown to be safe" >&2; \
	  exit 1; }

# what the image installs but torch: the server's packages, and those that send traces; hashes of every platform's files
lock: $(VENV)/.dev
	{ grep -Ev '^torch==' requirements.txt; grep -E '^(opentelemetry|googleapis|protobuf)' requirements-dev.txt; } | \
	  $(BIN)/uv pip compile --quiet --no-deps --generate-hashes --no-annotate --python-version 3.13 \
	  --python-platform linux --custom-compile-command 'make lock' --output-file requirements.lock -

# the digest that each base image's tag names now
image:
	@set -e; given=; for base in $(BASES); do \
	  name=$${base%%=*}; tagged=$${base#*=}; \
	  digest=$$(docker buildx imagetools inspect "$$tagged" --format '{{.Manifest.Digest}}'); \
	  given="$$given --build-arg $$name=$$tagged@$$digest"; \
	done; set -x; docker build -t rerank-gateway $$given $(ARGS) .

# what the tests of the pages drive; they are skipped where it cannot be had
browser:
	@command -v chromium chromium-browser google-chrome > /dev/null || { \
	  echo "installing chromium for the tests of the pages"; \
	  DEBIAN_FRONTEND=noninteractive timeout 150 apt-get install --yes --quiet --no-install-recommends chromium > /dev/null 2>&1; \
	} || echo "chromium is missing, and apt-get could not install it: the tests of the pages are skipped"

# what renders the chart in tests; they are skipped where it cannot be had
helm: $(VENV)/.helm

$(VENV)/.helm: tools/helm.py tools/helm.txt | $(VENV)/.runtime
	@$(BIN)/python tools/helm.py $(BIN) && touch $@ || echo "helm could not be fetched: the tests of the chart are skipped"

# the pictures of the pages in docs/images; without a font for Chinese half of them would show boxes
screenshots: $(VENV)/.dev browser
	@fc-list :lang=zh | grep -q . || DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet fonts-wqy-microhei > /dev/null
	$(BIN)/python -m tools.screenshots

# what the pages use of other people's, from npm; the files are in the repository
vendor:
	$(PYTHON) tools/vendor.py

# third-party SDKs that tests run as clients; some exclude each other
sdks: $(SDKS:%=.venv-sdks/%/.installed)

.venv-sdks/%/.installed: tests/contract/sdks/%.txt $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-sdks/$*
	$(BIN)/uv pip install --quiet --python .venv-sdks/$* --override tests/contract/sdks/overrides.txt -r $<
	@touch $@

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -W ignore::SyntaxWarning -m mkdocs build --quiet $(ARGS)
	@echo "site/index.html opens in a browser; for the search: $(PYTHON) -m http.server --directory site"

bench: $(VENV)/.runtime
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.runtime
	$(BIN)/python -m benchmarks.soak $(ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.abuse.fuzz $(ARGS)

# one virtual environment per peer; the files list all packages
bench-peers: $(PEERS:%=.venv-peers/%/.installed)

.venv-peers/%/.installed: benchmarks/peers/%.txt
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers .venv-sdks site mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/.runtime: requirements.txt pyproject.toml tools/install.py
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another: make serve PYTHON=python3.12")'
	@echo "installing into $(VENV), once; this takes a minute"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python tools/install.py $(VENV) requirements.txt
	@touch $@

$(VENV)/.extras: requirements-evaluate.txt $(VENV)/.runtime
	@$(BIN)/python tools/install.py $(VENV) requirements-evaluate.txt
	@touch $@

$(VENV)/.ray: requirements-ray.txt $(VENV)/.runtime
	@$(BIN)/python tools/install.py $(VENV) requirements-ray.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements-evaluate.txt requirements-ray.txt $(VENV)/.runtime
	@$(BIN)/python tools/install.py $(VENV) requirements-dev.txt
	@touch $@

# with the tests' packages where both are wanted, because two installers at a time disturb each other
$(VENV)/.docs: requirements-docs.txt $(VENV)/.runtime $(if $(filter test coverage,$(MAKECMDGOALS)),$(VENV)/.dev)
	@$(BIN)/python tools/install.py $(VENV) requirements-docs.txt
	@touch $@

$(VENV)/.mutants: requirements-mutants.txt $(VENV)/.dev
	@$(BIN)/python tools/install.py $(VENV) requirements-mutants.txt
	@touch $@
