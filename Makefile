# What Tollgate can do for you, in one word each. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run demo release test bench gpu-check soak format lint clean
SHELL := /bin/bash
export PATH := $(CURDIR)/build/setup/bin:$(PATH)
# Two clones share what the compiler cache holds.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

# $(call build,PRESET,TARGETS): configures once, then builds; Ninja configures again by itself when the build's files change.
define build
	@[ -e build/$(1)/build.ninja ] || { echo "configuring build/$(1)"; cmake --preset $(1) >build/$(1)-configure.log 2>&1 || { cat build/$(1)-configure.log; exit 1; }; }
	@ninja -C build/$(1) $(2)
endef

# What reads strangers' bytes in the gateway; `make test` compiles it without sanitizers.
parser_tests := gateway_front_test gateway_server_test gateway_pipeline_test gateway_config_test

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: ## Set up this machine, build, and start Tollgate with a model, a database and a sample company
	@scripts/setup
	$(call build,dev,tollgate)
	@exec build/dev/bin/tollgate dev

demo: ## Walk through what Tollgate does, against `make run` or a Tollgate of its own
	@scripts/setup
	$(call build,dev,tollgate)
	@exec build/dev/bin/tollgate demo

release: ## Set up, and build the program as it is shipped: build/release/bin/tollgate
	@scripts/setup
	$(call build,release,tollgate)

test: ## Set up, build and run every test
	@scripts/setup --tests
	@scripts/test

bench: ## Measure: all benchmarks, or one with BENCH=name; prints `name value unit`
	@scripts/setup --tests
	@scripts/bench $(BENCH)

gpu-check: ## On a machine with an NVIDIA GPU: build with CUDA, show the devices, check and measure the pool on them
	@scripts/gpu-check

soak: ## Randomised faults 200 times, fuzzers a quarter of an hour each, unit tests under TSan, the gateway's parsers under ASan, all benchmarks built (long)
	@scripts/setup --tests
	$(call build,tsan,unit_tests)
	@mkdir -p build/soak && printf 'set(test_seconds 7200)\ninclude("%s")\n' "$(CURDIR)/build/tsan/unit_tests.cmake" >build/soak/CTestTestfile.cmake
	@TSAN_OPTIONS="halt_on_error=1" ctest --test-dir build/soak --output-on-failure --no-tests=error
	$(call build,asan,$(parser_tests))
	@for test in $(parser_tests); do ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:detect_invalid_pointer_pairs=0" build/asan/bin/$$test || exit 1; done
	$(call build,release,benches)
	@TOLLGATE_LOOPS=$${TOLLGATE_LOOPS:-200} TOLLGATE_FUZZ_SECONDS=$${TOLLGATE_FUZZ_SECONDS:-900} TOLLGATE_TEST_SECONDS=7200 scripts/test

format: ## Format the C++ sources as .clang-format says
	@command -v clang-format >/dev/null || { echo "clang-format is not installed: apt-get install clang-format"; exit 1; }
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: ## Check the format, and the locks' annotations with clang's -Wthread-safety
	@command -v clang-format >/dev/null || { echo "clang-format is not installed: apt-get install clang-format"; exit 1; }
	@git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror
	@command -v clang++ >/dev/null || { echo "clang is not installed: apt-get install clang"; exit 1; }
	@[ -e build/dev/build.ninja ] || { echo "nothing is built yet: make test, or make run"; exit 1; }
	@scripts/lint

clean: ## Remove what was built; the per-user cache of libllama and the model stays
	@rm -rf build/dev build/asan build/tsan build/release build/cuda build/fuzz build/tests build/soak build/*-configure.log
