# tenet: `make` builds build/tenet and build/libtenet.a; `make test` runs the unit tests.
#   make CC=clang        another compiler          make asan / make tsan   sanitizers
#   make BUILD=dir       another build folder      make install PREFIX=/usr/local DESTDIR=
#   make test FILTER=dpo only tests whose name contains it
#   make fuzz            mutated files into every parser, under AddressSanitizer
#   make bench           measurements against the machine's ceilings; make bench-peers: PyTorch and TRL beside
#   make CURL=           without endpoints as judges, which need libcurl's headers to build and libcurl to run
#   make MPICC=          without tenet-mpi.so, which is built when there is mpicc (or name another one)
# CFLAGS, LDFLAGS and LDLIBS of the caller are added to our own.
BUILD   ?= build
CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
RELEASED := 2026-11-27
OPT     ?= -O2
DEPS    := jansson libutf8proc yaml-0.1 zlib
CURL    ?= $(shell pkg-config --exists libcurl && pkg-config --cflags libcurl && echo -DTN_CURL)
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wno-unused-parameter
FLAGS   := -std=c17 -D_GNU_SOURCE $(OPT) -g $(WARN) -ffp-contract=off -fno-math-errno -fvisibility=hidden \
           -Isrc -Iinclude -Itests -DTN_VERSION='"$(VERSION)"' -DTN_RELEASED='"$(RELEASED)"' \
           $(SAN) $(shell pkg-config --cflags $(DEPS))
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

$(BUILD)/src/base/http.o: ISA = $(CURL)

# Another compiler or other flags: everything is built again.
STAMP := $(subst ",,$(subst ',,$(shell $(CC) --version | head -n 1 | cut -d' ' -f2-) $(FLAGS) $(CURL) $(CFLAGS)))
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
WRAP := malloc calloc realloc mmap tn_trainee_accumulate tn_trainee_update tn_rollouts_observe tn_scorer_scores tn_gen_run \
        tn_rewards_score tn_rollouts_entropy
$(BUILD)/tests/alloc: $(BUILD)/tests/e2e/alloc.o $(call OBJ,$(MAIN)) $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(addprefix -Wl$(comma)--wrap=,$(WRAP)) $(LDFLAGS) $(LIBS) $(LDLIBS)

# A service with OpenAI's interface, and faults (tests/e2e/endpoint.sh)
$(BUILD)/tests/fake_endpoint: $(BUILD)/tests/e2e/fake_endpoint.o $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LIBS) $(LDLIBS)

asan:
	$(MAKE) BUILD=$(BUILD)/asan OPT=-O1 SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" $(BUILD)/asan/tests/run $(BUILD)/asan/tenet
tsan:
	$(MAKE) BUILD=$(BUILD)/tsan OPT=-O1 SAN="-fsanitize=thread" $(BUILD)/tsan/tests/run $(BUILD)/tsan/tenet

# Every parser against many mutations of good files, under AddressSanitizer: make fuzz ROUNDS=100000
ROUNDS ?= 50000
fuzz: asan
	TENET_FUZZ=$(ROUNDS) TENET_LOG=error $(BUILD)/asan/tests/run -v mutat truncat hostile lines_gzip

# Measurements (bench/bench.h). `make bench` needs nothing; DATA=FILE of comparisons and MODEL=DIR give real rows and
# their tokenizer. `make bench-peers` puts PyTorch, transformers and TRL beside, in a virtual environment of its own
# (BENCH_VENV); `make bench-peers-ppo` makes a second one with TRL 0.19.1, the last with a PPO trainer.
#   BENCH_PARTS="gemm step"  some parts     BENCH_QUICK=1  does it work?     BENCH="--only b=1 --repeats 9"  more options
BENCH_VENV     ?= $(BUILD)/bench-venv
BENCH_VENV_PPO ?= $(BENCH_VENV)-ppo
BENCH_OUT      ?= $(if $(BENCH_QUICK),$(BUILD)/bench/quick,bench/results/results)
BENCH_RUN = TENET_BIN=$(BUILD)/tenet $(BUILD)/bench/bench --work $(BUILD)/bench/work --out $(BENCH_OUT) \
            $(if $(BENCH_PARTS),--parts "$(BENCH_PARTS)") $(if $(BENCH_QUICK),--quick) \
            $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL)) $(if $(GGUF),--gguf $(GGUF)) $(BENCH)
BENCH_SRC := $(wildcard bench/*.c)
$(BUILD)/bench/bench: $(call OBJ,$(BENCH_SRC)) $(BUILD)/libtenet.a
	$(CC) $(FLAGS) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LIBS) $(LDLIBS)
bench: $(BUILD)/bench/bench $(BUILD)/tenet
	$(BENCH_RUN)
$(BENCH_VENV)/bin/python:
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install -q torch transformers==5.23.* trl==1.16.* datasets accelerate
bench-peers: $(BUILD)/bench/bench $(BUILD)/tenet | $(BENCH_VENV)/bin/python
	$(BENCH_RUN) --peers $(BENCH_VENV)/bin/python $(if $(wildcard $(BENCH_VENV_PPO)/bin/python),--peers-ppo $(BENCH_VENV_PPO)/bin/python)
bench-peers-ppo: | $(BENCH_VENV)/bin/python
	python3 -m venv $(BENCH_VENV_PPO)
	$(BENCH_VENV_PPO)/bin/pip install -q --no-deps trl==0.19.1 transformers==4.53.3 accelerate==1.8.1 tokenizers==0.21.2 \
	    huggingface_hub==0.34.4 datasets==3.6.0 fsspec==2025.3.0 dill==0.3.8 multiprocess==0.70.16
	$(BENCH_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > $$($(BENCH_VENV_PPO)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-torch.pth

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

# Manual pages and completion are printed by the binary, from its option tables.
VERBS := $(subst _,-,$(shell sed -n 's/^ *X(\([a-z0-9_]*\)).*/\1/p' src/cmd/verbs.h))
TO    := $(DESTDIR)$(PREFIX)
MAN1  := $(TO)/share/man/man1
BASHD := $(TO)/share/bash-completion/completions
ZSHD  := $(TO)/share/zsh/site-functions
FISHD := $(TO)/share/fish/vendor_completions.d

install: all
	install -d $(TO)/bin $(TO)/lib/pkgconfig $(TO)/include $(MAN1) $(BASHD) $(ZSHD) $(FISHD)
	install -m 755 $(BUILD)/tenet $(TO)/bin/tenet
	install -m 644 $(BUILD)/libtenet.a $(TO)/lib/libtenet.a
	if [ -n '$(PLUGIN)' ]; then install -d $(TO)/lib/tenet && \
	    install -m 755 $(PLUGIN) $(TO)/lib/tenet/tenet-mpi.so; fi
	install -m 644 $(wildcard include/*.h) $(TO)/include
	for d in constitutions $(wildcard prompts/*); do \
	    install -d $(TO)/share/tenet/$$d && install -m 644 $$d/* $(TO)/share/tenet/$$d || exit 1; done
	install -d $(TO)/share/tenet/recipes && install -m 644 $(wildcard recipes/*.yaml) $(TO)/share/tenet/recipes
	printf '%s\n' "$$PC" | install -m 644 /dev/stdin $(TO)/lib/pkgconfig/tenet.pc
	$(BUILD)/tenet help --man | install -m 644 /dev/stdin $(MAN1)/tenet.1
	for v in $(VERBS); do \
	    $(BUILD)/tenet help --man $$v | install -m 644 /dev/stdin $(MAN1)/tenet-$$v.1 || exit 1; done
	$(BUILD)/tenet completion bash | install -m 644 /dev/stdin $(BASHD)/tenet
	$(BUILD)/tenet completion zsh | install -m 644 /dev/stdin $(ZSHD)/_tenet
	$(BUILD)/tenet completion fish | install -m 644 /dev/stdin $(FISHD)/tenet.fish

uninstall:
	rm -f $(TO)/bin/tenet $(TO)/lib/libtenet.a $(TO)/lib/pkgconfig/tenet.pc $(TO)/lib/tenet/tenet-mpi.so \
	    $(patsubst include/%,$(TO)/include/%,$(wildcard include/*.h)) \
	    $(MAN1)/tenet.1 $(VERBS:%=$(MAN1)/tenet-%.1) \
	    $(BASHD)/tenet $(ZSHD)/_tenet $(FISHD)/tenet.fish
	rm -rf $(TO)/share/tenet

clean:
	rm -rf $(BUILD)

-include $(patsubst %.o,%.d,$(call OBJ,$(SRC) $(TEST) $(BENCH_SRC)))
.PHONY: all test asan tsan fuzz bench bench-peers bench-peers-ppo install uninstall clean FORCE
