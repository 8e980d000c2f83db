/* Opening a backend: which table, which profile, which kernels. */
#include "base/mem.h"
#include "ops/cpu/gemm.h"
#include "ops/flop.h"
#include <string.h>

static tn_status open_ref64(tn_backend *b, tn_dtype dtype, const char *kernels, tn_err *e) {
    if (dtype != TN_F64)
        return tn_fail(e, TN_ARG, "backend ref64 computes in double: expected dtype f64, found %s",
                       dtype == TN_F32 ? "f32" : "bf16");
    if (kernels && strcmp(kernels, "scalar") != 0)
        return tn_fail(e, TN_ARG, "backend ref64 has no kernels '%s'; leave them out", kernels);
    b->op = &tn_ops_ref64;
    b->profile = "f64";
    b->kernels = "scalar";
    b->elem = b->operand = sizeof(double);
    return TN_OK;
}

/* The orders of a bf16 dot product may be asked for by name; without one, the machine's own. */
static tn_status open_ref(tn_backend *b, tn_dtype dtype, const char *kernels, tn_err *e) {
    bool pair = kernels && strcmp(kernels, "pair") == 0, dot32 = kernels && strcmp(kernels, "dot32") == 0;
    if (dtype == TN_F64)
        return tn_fail(e, TN_ARG, "backend ref computes in float: expected dtype f32 or bf16, found f64; "
                                  "use backend ref64");
    if (kernels && strcmp(kernels, "scalar") != 0 && !(dtype == TN_BF16 && (pair || dot32)))
        return tn_fail(e, TN_ARG, "backend ref has no kernels '%s' for %s; expected scalar%s", kernels,
                       dtype == TN_F32 ? "f32" : "bf16", dtype == TN_BF16 ? ", pair or dot32" : "");
    if (dtype == TN_BF16 && !pair && !dot32) dot32 = strcmp(tn_cpu_best_kernels(dtype), "amx") == 0;
    b->op = &tn_ops_ref32;
    b->profile = dtype == TN_F32 ? "f32" : dot32 ? "bf16-dot32" : "bf16-pair";
    b->kernels = "scalar";
    return TN_OK;
}

static tn_status open_cpu(tn_backend *b, tn_dtype dtype, const char *kernels, tn_err *e) {
    if (dtype == TN_F64)
        return tn_fail(e, TN_ARG, "backend cpu computes in float: expected dtype f32 or bf16, found f64; "
                                  "use backend ref64");
    const char *name = kernels ? kernels : tn_cpu_best_kernels(dtype), *type = dtype == TN_F32 ? "f32" : "bf16";
    const struct tn_cpu_mm *mm = tn_cpu_mm_pick(dtype, name, &b->profile);
    if (!mm && !tn_cpu_foreign(name))
        return tn_fail(e, TN_ARG, "backend cpu has no kernels '%s' for %s; leave them out to get '%s'", name, type,
                            tn_cpu_best_kernels(dtype));
    if (!mm || !tn_cpu_has(name))
        return tn_fail(e, TN_UNSUPPORTED, "this machine lacks the instructions of kernels '%s'; its best for %s are '%s'",
                       name, type, tn_cpu_best_kernels(dtype));
    tn_cpu *c = tn_calloc(1, sizeof *c);
    if (!c) return tn_fail(e, TN_NOMEM, "backend cpu: out of memory");
    c->mm = mm;
    c->rows = tn_cpu_rows_pick(name);
    b->priv = c;
    b->op = &tn_ops_cpu;
    b->kernels = mm->name;
    return TN_OK;
}

static tn_status open_named(tn_backend *b, const char *name, tn_dtype dtype, const char *kernels, tn_err *e) {
    b->dtype = dtype;
    b->elem = sizeof(float);
    b->operand = dtype == TN_BF16 ? sizeof(uint16_t) : sizeof(float);
    if (strcmp(name, "ref64") == 0) {
        b->name = "ref64";
        return open_ref64(b, dtype, kernels, e);
    }
    if (strcmp(name, "ref") == 0) {
        b->name = "ref";
        return open_ref(b, dtype, kernels, e);
    }
    if (strcmp(name, "cpu") == 0) {
        b->name = "cpu";
        return open_cpu(b, dtype, kernels, e);
    }
    return tn_fail(e, TN_ARG, "no backend '%s'; expected ref, ref64 or cpu", name);
}

tn_status tn_backend_open(tn_backend **out, const char *name, tn_dtype dtype, const char *kernels,
                          int threads, tn_err *e) {
    *out = NULL;
    tn_backend *b = tn_calloc(1, sizeof *b);
    if (!b) return tn_fail(e, TN_NOMEM, "backend %s: out of memory", name);
    tn_status st = open_named(b, name, dtype, kernels, e);
    if (st == TN_OK) st = tn_flop_open(b, e);
    if (st == TN_OK) st = tn_pool_new(&b->pool, threads, e);
    if (st != TN_OK) {
        tn_backend_free(b);
        return st;
    }
    *out = b;
    return TN_OK;
}

void tn_backend_free(tn_backend *b) {
    if (!b) return;
    if (b->pool) tn_pool_free(b->pool);
    if (b->scratch) tn_big_free(b->scratch, b->scratch_bytes);
    tn_free(b->profiler);
    tn_free(b->counting);
    tn_free(b->priv);
    tn_free(b);
}

void *tn_backend_scratch(tn_backend *b, size_t bytes) {
    if (b->sizing) {
        if (bytes > *b->sizing) *b->sizing = bytes;
        return NULL;
    }
    if (bytes <= b->scratch_bytes && b->scratch) return b->scratch;
    if (b->scratch) tn_big_free(b->scratch, b->scratch_bytes);
    b->scratch_bytes = 0;
    b->scratch = tn_big_alloc(bytes);
    if (b->scratch) b->scratch_bytes = bytes;
    else b->starved = true;
    return b->scratch;
}

tn_status tn_backend_check(tn_backend *b, tn_err *e) {
    if (!b->starved) return TN_OK;
    b->starved = false;
    return tn_fail(e, TN_NOMEM, "no memory for the scratch of a matrix product; take a smaller "
                                "--micro-batch-tokens or fewer --threads");
}
