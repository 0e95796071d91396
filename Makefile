# pare: build, test and install. `make help` lists the targets.
SHELL := /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= python3
OPT ?= -O2
SANITIZE ?=
# an object that takes the place of libgomp in programs (tests/tsan)
TEAM ?=
V ?= 0
export BUILD

# one short line a file; V=1 shows the commands
ifeq ($(V),0)
Q := @
say = @printf '  %-5s %s\n' $(1) $(2)
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings
override CFLAGS += -std=c11 -D_GNU_SOURCE $(OPT) -g -fopenmp -fvisibility=hidden -fPIC -ffp-contract=off -I. -I$(BUILD) $(WARN) $(SANITIZE)
HEADERS := dnnl.h cblas.h lapacke.h protobuf-c/protobuf-c.h cjson/cJSON.h zlib.h nettle/sha2.h
# OpenBLAS and LAPACKE are opened when they are first called (engine/blas_library.c)
LIBS := -ldnnl -lprotobuf-c -lcjson -lz -lnettle -lm -ldl
override LDFLAGS += -fopenmp $(SANITIZE)
# clang's OpenMP is libomp; oneDNN of Debian uses libgomp, and one process must not have both
ifneq ($(findstring clang,$(CC)),)
override CFLAGS := $(CFLAGS:-fopenmp=-fopenmp=libgomp)
override LDFLAGS := $(LDFLAGS:-fopenmp=-fopenmp=libgomp)
endif

LAYERS := base graph formats data engine engine/ops stats fold prune quantize lowrank distill greenness pipeline
SOURCES := $(foreach d,$(LAYERS),$(wildcard $(d)/*.c))
CMD_SOURCES := $(wildcard cmd/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/formats/onnx.pb-c.o
CMD_OBJECTS := $(CMD_SOURCES:%.c=$(BUILD)/%.o)
TEST_SOURCES := $(foreach d,unit ops passes formats,$(wildcard tests/$(d)/test_*.c))
TESTS := $(TEST_SOURCES:%.c=$(BUILD)/%)
TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tools/*.c))
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:%=$(BUILD)/tests/fuzz/replay_%)

.DEFAULT_GOAL := all
.PHONY: all deps demo check check-built sanitize tsan tsan-built lint interop conformance dnnl3 bench-quantize bench-engine docs fuzz install clean help

all: $(BUILD)/pare ## build the program, build/pare, and the library

deps: ## install what is missing (apt; elsewhere print the packages)
	@tools/deps.sh

demo: ## compress the example network and print the before/after table
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all
	@examples/digits/demo.sh

check: ## build and run all tests
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory check-built

check-built: $(BUILD)/pare $(BUILD)/libpare.so $(TESTS) $(TOOLS) $(REPLAYS)
	@tests/run $(ONLY)

sanitize: ## the whole suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory BUILD=build-sanitize OPT=-O1 SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" check-built

# tests that compute in more than one thread, the short ones
TSAN_TESTS := ops/test_engine ops/test_rows ops/test_integers ops/test_recurrent unit/test_solve unit/test_dataset passes/test_trial \
              passes/test_quantize_threads
tsan: ## the tests with threads under ThreadSanitizer, OpenMP on pthreads
	@$(MAKE) --no-print-directory BUILD=build-tsan OPT=-O1 SANITIZE=-fsanitize=thread TEAM=build-tsan/tests/tsan/gomp.o tsan-built

.SECONDARY: $(TEAM)
tsan-built: $(TSAN_TESTS:%=$(BUILD)/tests/%)
	@TSAN_OPTIONS="halt_on_error=1:suppressions=tests/tsan/suppressions" tests/run $(TSAN_TESTS)

lint: $(BUILD)/libpare.so ## layer rules, names, lengths, warnings of gcc and clang, cppcheck
	@tools/lint.sh
	@$(MAKE) --no-print-directory BUILD=build-gcc OPT=-O1 CFLAGS=-Werror objects
	@$(MAKE) --no-print-directory BUILD=build-clang CC=clang OPT=-O1 CFLAGS=-Werror objects

interop: $(BUILD)/pare $(TOOLS) ## check against onnx and ONNX Runtime from PyPI
	@tests/interop/run $(ONLY)

conformance: $(BUILD)/pare $(BUILD)/tests/ops/test_conformance ## ONNX's test cases counted by op, pare beside ONNX Runtime
	@$(BUILD)/tests/ops/test_conformance
	@tests/interop/run --show test_conformance

dnnl3: ## build against oneDNN 3.x from PyPI and run the engine's tests with it
	@tools/dnnl3.sh $(ONLY)

bench-quantize: $(BUILD)/pare ## the tables of docs/performance.md: pare beside ONNX Runtime and NNCF (hours; taken up where it was left)
	@$(PYTHON) bench/quantize.py

bench-engine: $(BUILD)/pare $(BUILD)/bench/serve ## latency, memory and load time beside ONNX Runtime, into docs/performance.md (an idle machine)
	@$(PYTHON) bench/engine.py --write

docs: $(BUILD)/pare ## generate docs/*.md, the schemas and the man page from the tables
	@tools/docs.sh

fuzz: ## run every fuzz target for SECONDS_EACH (60)
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang OPT=-O1 SANITIZE="-fsanitize=address,undefined,fuzzer-no-link" $(FUZZERS:%=fuzz-%)

install: all $(BUILD)/libpare.so ## install under PREFIX (/usr/local), DESTDIR respected
	install -D -m 755 $(BUILD)/pare $(DESTDIR)$(PREFIX)/bin/pare
	install -D -m 644 include/pare.h $(DESTDIR)$(PREFIX)/include/pare.h
	install -D -m 644 $(BUILD)/libpare.a $(DESTDIR)$(PREFIX)/lib/libpare.a
	install -D -m 755 $(BUILD)/libpare.so $(DESTDIR)$(PREFIX)/lib/libpare.so.0
	ln -sf libpare.so.0 $(DESTDIR)$(PREFIX)/lib/libpare.so
	install -D -m 644 docs/pare.1 $(DESTDIR)$(PREFIX)/share/man/man1/pare.1

clean: ## remove everything built
	rm -rf build build-*

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: objects fuzz-%
objects: $(OBJECTS) $(CMD_OBJECTS) $(TESTS) $(TOOLS)

fuzz-%: $(BUILD)/tests/fuzz/fuzz_%
	@mkdir -p $(BUILD)/corpus/$*
	$< -max_total_time=$(or $(SECONDS_EACH),60) -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 $(BUILD)/corpus/$* tests/fuzz/corpus/$*

$(BUILD)/pare: $(CMD_OBJECTS) $(BUILD)/libpare.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libpare.a: $(OBJECTS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/libpare.so: $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,libpare.so.0 $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/formats/onnx.pb-c.c $(BUILD)/formats/onnx.pb-c.h &: formats/onnx.proto
	@mkdir -p $(BUILD)/formats
	@command -v protoc-c >/dev/null && printf '#include <%s>\n' $(HEADERS) | $(CC) $(CFLAGS) -E -x c -o /dev/null - || { \
		command -v protoc-c >/dev/null || echo "protoc-c is missing" >&2; \
		echo "pare: what the build needs is not all here; run 'make deps'" >&2; exit 1; }
	$(call say,GEN,$@)
	$(Q)protoc-c --c_out=$(BUILD) formats/onnx.proto

$(BUILD)/formats/onnx.pb-c.o: $(BUILD)/formats/onnx.pb-c.c
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -w -c -o $@ $<

$(BUILD)/%.o: %.c $(BUILD)/formats/onnx.pb-c.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/fuzz/replay_%: tests/fuzz/fuzz_%.c $(BUILD)/libpare.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -DFUZZ_REPLAY -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libpare.a $(LIBS)

$(BUILD)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/libpare.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(BUILD)/libpare.a $(LIBS)

$(BUILD)/tests/%: tests/%.c $(BUILD)/libpare.a $(TEAM)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -Itests $(LDFLAGS) -o $@ $< $(TEAM) $(BUILD)/libpare.a -lcmocka $(LIBS)

$(BUILD)/bench/%: bench/%.c $(BUILD)/libpare.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libpare.a $(LIBS)

# the allocator's calls from libpare.a go through these tests: one fails each once, one counts them
$(BUILD)/tests/unit/test_allocation $(BUILD)/tests/unit/test_steady: override LDFLAGS += $(foreach f,malloc calloc realloc aligned_alloc strdup strndup,-Wl,--wrap=$(f))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
