# pare: build, test and install. `make help` lists the targets.
SHELL := /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= python3
OPT ?= -O2
SANITIZE ?=

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings
override CFLAGS += -std=c11 -D_GNU_SOURCE $(OPT) -g -fopenmp -fvisibility=hidden -fPIC -ffp-contract=off -I. -I$(BUILD) $(WARN) $(SANITIZE)
LIBS := -ldnnl -lopenblas -llapacke -lprotobuf-c -lcjson -lz -lmd -lm
override LDFLAGS += -fopenmp $(SANITIZE)

LAYERS := base graph formats data engine engine/ops stats fold prune quantize lowrank distill greenness pipeline
SOURCES := $(foreach d,$(LAYERS),$(wildcard $(d)/*.c))
CMD_SOURCES := $(wildcard cmd/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/formats/onnx.pb-c.o
CMD_OBJECTS := $(CMD_SOURCES:%.c=$(BUILD)/%.o)
TEST_DIRS := unit ops passes formats
TEST_SOURCES := $(foreach d,$(TEST_DIRS),$(wildcard tests/$(d)/test_*.c))
TESTS := $(TEST_SOURCES:%.c=$(BUILD)/%)

.DEFAULT_GOAL := all
.PHONY: all clean
all: $(BUILD)/pare

$(BUILD)/pare: $(CMD_OBJECTS) $(BUILD)/libpare.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libpare.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/formats/onnx.pb-c.c $(BUILD)/formats/onnx.pb-c.h &: formats/onnx.proto
	@mkdir -p $(BUILD)/formats
	protoc-c --c_out=$(BUILD) formats/onnx.proto

$(BUILD)/formats/onnx.pb-c.o: $(BUILD)/formats/onnx.pb-c.c
	$(CC) $(CFLAGS) -w -c -o $@ $<

$(BUILD)/%.o: %.c $(BUILD)/formats/onnx.pb-c.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(BUILD)/libpare.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -Itests $(LDFLAGS) -o $@ $< $(BUILD)/libpare.a -lcmocka $(LIBS)

clean:
	rm -rf build build-*

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
