#include "ops/cpu/features.h"
#include "ops/cpu/cpu.h"
#include <pthread.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
/* XCR0 bits: SSE and AVX; opmask, upper halves, upper registers; tile configuration and data */
#define XCR0_AVX 0x6u
#define XCR0_AVX512 0xe6u
#define XCR0_AMX 0x60000u

static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool has(uint32_t reg, int bit) { return reg >> bit & 1; }

static tn_features detect(void) {
    tn_features f = {0};
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, 27) /* OSXSAVE */) return f;
    bool fma = has(c, 12), f16c = has(c, 29), avx = has(c, 28);
    uint64_t os = xcr0();
    if (!avx || (os & XCR0_AVX) != XCR0_AVX) return f;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
    uint32_t subleaves = a;
    f.avx2 = has(b, 5) && fma && f16c;
    bool f512 = has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31); /* F, DQ, BW, VL */
    f.avx512 = f.avx2 && f512 && (os & XCR0_AVX512) == XCR0_AVX512;
    bool tiles = has(d, 22) && has(d, 24); /* AMX-BF16, AMX-TILE */
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        f.avx512bf16 = f.avx512 && has(a, 5);
    f.amx = f.avx512bf16 && tiles && (os & XCR0_AMX) == XCR0_AMX &&
            syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return f;
}
#else
static tn_features detect(void) { return (tn_features){0}; }
#endif

static tn_features found;
static void ask(void) { found = detect(); }

tn_features tn_cpu_features(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask);
    return found;
}

const char *tn_cpu_best_kernels(tn_dtype dtype) {
    tn_features f = tn_cpu_features();
    if (dtype == TN_BF16 && f.amx) return "amx";
    if (dtype == TN_BF16 && f.avx512bf16) return "avx512bf16";
    return f.avx512 ? "avx512" : f.avx2 ? "avx2" : "scalar";
}

bool tn_cpu_foreign(const char *kernels) {
#ifdef __x86_64__
    return false;
#else
    bool model = strstr(kernels, "-model") != NULL;
    return !model && (strncmp(kernels, "avx", 3) == 0 || strcmp(kernels, "amx") == 0);
#endif
}

bool tn_cpu_has(const char *kernels) {
    static const char *const anywhere[] = {"scalar", "scalar-dot32", "avx512bf16-model", "amx-model"};
    tn_features f = tn_cpu_features();
    for (size_t i = 0; i < sizeof anywhere / sizeof *anywhere; i++)
        if (strcmp(kernels, anywhere[i]) == 0) return true;
    if (strcmp(kernels, "avx2") == 0) return f.avx2;
    if (strcmp(kernels, "avx512") == 0) return f.avx512;
    if (strcmp(kernels, "avx512bf16") == 0) return f.avx512bf16;
    return strcmp(kernels, "amx") == 0 && f.amx;
}
