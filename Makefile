# tenet: `make` builds build/tenet and build/libtenet.a; `make test` runs the unit tests.
#   make CC=clang        another compiler          make asan / make tsan   sanitizers, reference backend
#   make BUILD=dir       another build folder      make install PREFIX=/usr/local
BUILD   ?= build
CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
OPT     ?= -O2
DEPS    := jansson libpcre2-8 libutf8proc yaml-0.1 zlib
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-unused-parameter
CFLAGS  += -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) -ffp-contract=off -fno-math-errno -fvisibility=hidden \
           -Isrc -Iinclude -Itests -DTN_VERSION='"$(VERSION)"' $(SAN) $(shell pkg-config --cflags $(DEPS))
LDLIBS  += $(shell pkg-config --libs $(DEPS)) -lpthread -lm
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)

SRC  := $(sort $(shell find src -name '*.c'))
ifneq ($(ARCH),x86_64)
SRC  := $(filter-out %_avx2.c %_avx512.c %_avx512bf16.c %_amx.c,$(SRC))
endif
MAIN := src/cmd/main.c
LIB  := $(filter-out $(MAIN),$(SRC))
TEST := $(sort $(shell find tests -name '*.c' -not -path 'tests/fuzz/*'))
OBJ   = $(patsubst %.c,$(BUILD)/%.o,$(1))

all: $(BUILD)/tenet

# Kernel files carry their instruction set in their name; nothing else is built with it.
$(BUILD)/%_avx2.o:       CFLAGS += -O3 -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o:     CFLAGS += -O3 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq
$(BUILD)/%_avx512bf16.o: CFLAGS += -O3 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16
$(BUILD)/%_amx.o:        CFLAGS += -O3 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mamx-tile -mamx-bf16

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libtenet.a: $(call OBJ,$(LIB))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/tenet: $(call OBJ,$(MAIN)) $(BUILD)/libtenet.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)

$(BUILD)/tests/run: $(call OBJ,$(TEST)) $(BUILD)/libtenet.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)

test: $(BUILD)/tests/run $(BUILD)/tenet
	TENET_BIN=$(BUILD)/tenet $(BUILD)/tests/run $(FILTER)

asan:
	$(MAKE) BUILD=$(BUILD)/asan OPT=-O1 SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" $(BUILD)/asan/tests/run $(BUILD)/asan/tenet
tsan:
	$(MAKE) BUILD=$(BUILD)/tsan OPT=-O1 SAN="-fsanitize=thread" $(BUILD)/tsan/tests/run $(BUILD)/tsan/tenet

# Benchmarks, one program a file: make build/bench/gemm_bench
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libtenet.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all test asan tsan clean
