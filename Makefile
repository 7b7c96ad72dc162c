# SPDX-License-Identifier: Apache-2.0
# A thin front: what is done stands in cmake/*.sh, tests/run and the CMake presets. `make help` lists the targets.
export DEPS_QUIET := 1
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 10
export JOBS FUZZ_SECONDS

.DEFAULT_GOAL := build
.PHONY: help build run test unit kernel vm fuzz bench cost apps e2e asan tsan soak generate fmt tidy deps clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary, build/sonde (the default)
	@cmake/build.sh release sonde

run: build ## what every container of this machine does, live
	@if [ "$$(id -u)" = 0 ]; then exec build/sonde top; else exec sudo build/sonde top; fi

test: ## unit, kernel, vm
	@tests/run unit kernel vm

unit: ## unit tests: no root, no network, seconds
	@tests/run unit

kernel: ## kernel tests on this machine's kernel (needs root)
	@tests/run kernel

vm: ## kernel tests on Debian's kernels 6.1 and 6.12, and every BPF object on arm64
	@tests/run vm

apps: ## real programs (fio, redis, nginx, PostgreSQL, a build) compared with their own figures
	@tests/run apps

e2e: ## with a real Collector, Prometheus and Kubernetes parts
	@tests/run e2e

fuzz: ## each fuzz target for FUZZ_SECONDS (10)
	@tests/run fuzz

asan: ## unit tests under address and undefined-behaviour sanitizers
	@tests/run asan

tsan: ## unit tests under the thread sanitizer
	@tests/run tsan

soak: ## hours: everything in every way, outages of minutes, ten minutes of each fuzz target; PARTS="fuzz" runs some
	@tests/soak $(PARTS)

bench: ## what a probe costs; prints a table, writes JSON
	@tests/run bench

cost: ## instructions that Sonde adds to five operations on three kernels, compared with tests/bench/budget.json
	@tests/run cost

generate: ## documents that are made from the source: metrics, settings, the agent's own metrics
	@SONDE_UPDATE_DOCS=1 tests/run unit

fmt: ## formats the C++ sources
	@cmake/lint.sh fmt

tidy: ## clang-tidy over the C++ sources
	@cmake/lint.sh tidy

deps: ## installs what building and testing need (apt, dnf, apk)
	@DEPS_QUIET= cmake/deps.sh all

clean: ## removes build/
	@rm -rf build
