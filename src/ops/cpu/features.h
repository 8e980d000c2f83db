/* What this CPU and this operating system allow: cpuid, the XSAVE state the kernel keeps
 * (xgetbv), and for AMX the permission that Linux gives on request (arch_prctl). */
#ifndef TN_OPS_CPU_FEATURES_H
#define TN_OPS_CPU_FEATURES_H
#include <stdbool.h>

typedef struct tn_features {
    bool avx2;       /* AVX2, FMA, F16C */
    bool avx512;     /* F, BW, VL, DQ */
    bool avx512bf16; /* avx512 and VDPBF16PS */
    bool amx;        /* avx512bf16 and bf16 tiles, permission granted */
} tn_features;

tn_features tn_cpu_features(void); /* asks once */
/* tn_cpu_best_kernels, tn_cpu_has: cpu.h */
#endif
