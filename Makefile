# tenet: `make` builds build/tenet and build/libtenet.a; `make test` runs the unit tests.
#   make CC=clang        another compiler          make asan / make tsan   sanitizers
#   make BUILD=dir       another build folder      make install PREFIX=/usr/local DESTDIR=
#   make test FILTER=dpo only tests whose name contains it
#   make fuzz            mutated files into every parser, under AddressSanitizer
#   make MPICC=          without tenet-mpi.so, which is built when there is mpicc (or name another one)
# CFLAGS, LDFLAGS and LDLIBS of the caller are added to our own.
BUILD   ?= build
CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
OPT     ?= -O2
DEPS    := jansson libutf8proc yaml-0.1 zlib
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-unused-parameter
FLAGS   := -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) -ffp-contract=off -fno-math-errno -fvisibility=hidden \
           -Isrc -Iinclude -Itests -DTN_VERSION='"$(VERSION)"' $(SAN) $(shell pkg-config --cflags $(DEPS))
LIBS    := $(shell pkg-config --libs $(DEPS)) -lpthread -ldl -lm
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)

SRC  := $(sort $(shell find src -name '*.c' -not -path 'src/comm/mpi/*'))
ifneq ($(ARCH),x86_64)
SRC  := $(filter-out %_avx2.c %_avx512.c %_avx512bf16.c %_amx.c,$(SRC))
endif
MAIN := src/cmd/main.c
LIB  := $(filter-out $(MAIN),$(SRC))
TEST := $(sort $(shell find tests -name '*.c' -not -path 'tests/fuzz/*' -not -path 'tests/e2e/*'))
OBJ   = $(patsubst %.c,$(BUILD)/%.o,$(1))

# The part that speaks MPI is loaded at run time, by processes that mpirun or srun started.
MPICC  ?= mpicc
PLUGIN := $(if $(MPICC),$(if $(shell command -v $(MPICC)),$(BUILD)/tenet-mpi.so))
all: $(BUILD)/tenet $(PLUGIN)

# Kernel files carry their instruction set in their name; nothing else is built with it.
AVX2   := -O3 -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
$(BUILD)/%_avx2.o:       ISA = $(AVX2)
$(BUILD)/%_avx512.o:     ISA = $(AVX512)
$(BUILD)/%_avx512bf16.o: ISA = $(AVX512) -mavx512bf16
$(BUILD)/%_amx.o:        ISA = $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16

# Another compiler or other flags: everything is built again.
STAMP := $(subst ",,$(subst ',,$(shell $(CC) --version | head -n 1 | cut -d' ' -f2-) $(FLAGS) $(CFLAGS)))
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(STAMP)' | cmp -s - $@ || echo '$(STAMP)' > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(ISA) $(WERROR) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libtenet.a: $(call OBJ,$(LIB))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/tenet: $(call OBJ,$(MAIN)) $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LIBS) $(LDLIBS)

MPI_SRC := src/comm/mpi/tenet_mpi.c src/base/status.c
$(BUILD)/tenet-mpi.so: $(MPI_SRC) src/comm/mpi/plugin.h src/comm/comm.h src/base/status.h $(BUILD)/flags
	OMPI_CC='$(CC)' MPICH_CC='$(CC)' $(MPICC) $(FLAGS) $(WERROR) $(CFLAGS) -fPIC -shared -o $@ $(MPI_SRC) $(LDFLAGS)

$(BUILD)/tests/run: $(call OBJ,$(TEST)) $(BUILD)/libtenet.a
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LIBS) $(LDLIBS)

test: $(BUILD)/tests/run $(BUILD)/tenet
	TENET_BIN=$(BUILD)/tenet $(BUILD)/tests/run $(FILTER)

# tenet with its allocations inside training steps counted (tests/e2e/alloc.sh)
comma := ,
WRAP := malloc calloc realloc mmap tn_trainee_accumulate tn_trainee_update tn_rollouts_observe tn_scorer_scores tn_gen_run
$(BUILD)/tests/alloc: $(BUILD)/tests/e2e/alloc.o $(call OBJ,$(MAIN)) $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(addprefix -Wl$(comma)--wrap=,$(WRAP)) $(LDFLAGS) $(LIBS) $(LDLIBS)

asan:
	$(MAKE) BUILD=$(BUILD)/asan OPT=-O1 SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" $(BUILD)/asan/tests/run $(BUILD)/asan/tenet
tsan:
	$(MAKE) BUILD=$(BUILD)/tsan OPT=-O1 SAN="-fsanitize=thread" $(BUILD)/tsan/tests/run $(BUILD)/tsan/tenet

# Every parser against many mutations of good files, under AddressSanitizer: make fuzz ROUNDS=100000
ROUNDS ?= 50000
fuzz: asan
	TENET_FUZZ=$(ROUNDS) TENET_LOG=error $(BUILD)/asan/tests/run -v mutat truncat hostile lines_gzip

# Benchmarks, one program a file: make build/bench/gemm_bench
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LIBS) $(LDLIBS)

# The library is static only, so what it needs is needed by every program that links it:
# Requires, not Requires.private.
define PC
prefix=$(PREFIX)
libdir=$${prefix}/lib
includedir=$${prefix}/include

Name: tenet
Description: Aligns language models with human and AI feedback
Version: $(VERSION)
Requires: $(DEPS)
Libs: -L$${libdir} -ltenet -lpthread -ldl -lm
Cflags: -I$${includedir}
endef
export PC

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/tenet $(DESTDIR)$(PREFIX)/bin/tenet
	install -m 644 $(BUILD)/libtenet.a $(DESTDIR)$(PREFIX)/lib/libtenet.a
	if [ -n '$(PLUGIN)' ]; then install -d $(DESTDIR)$(PREFIX)/lib/tenet && \
	    install -m 755 $(PLUGIN) $(DESTDIR)$(PREFIX)/lib/tenet/tenet-mpi.so; fi
	for h in $(wildcard include/*.h); do install -m 644 $$h $(DESTDIR)$(PREFIX)/include/ || exit 1; done
	printf '%s\n' "$$PC" > $(DESTDIR)$(PREFIX)/lib/pkgconfig/tenet.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/tenet.pc

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/tenet $(DESTDIR)$(PREFIX)/lib/libtenet.a $(DESTDIR)$(PREFIX)/lib/pkgconfig/tenet.pc \
	    $(DESTDIR)$(PREFIX)/lib/tenet/tenet-mpi.so $(patsubst include/%,$(DESTDIR)$(PREFIX)/include/%,$(wildcard include/*.h))

clean:
	rm -rf $(BUILD)

-include $(patsubst %.o,%.d,$(call OBJ,$(SRC) $(TEST)))
.PHONY: all test asan tsan fuzz install uninstall clean FORCE
