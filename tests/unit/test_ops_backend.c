/* Opening of backends: names, profiles, refusals; scratch. */
#include "ops_case.h"

TEST(ops_open_refusals) {
    tn_backend *b = NULL;
    CHECK_FAIL(tn_backend_open(&b, "gpu", TN_F32, NULL, 1, e), TN_ARG, "ref, ref64 or cpu");
    CHECK_FAIL(tn_backend_open(&b, "ref64", TN_F32, NULL, 1, e), TN_ARG, "f64");
    CHECK_FAIL(tn_backend_open(&b, "ref", TN_F64, NULL, 1, e), TN_ARG, "ref64");
    CHECK_FAIL(tn_backend_open(&b, "cpu", TN_F64, NULL, 1, e), TN_ARG, "ref64");
    CHECK_FAIL(tn_backend_open(&b, "ref", TN_F32, "pair", 1, e), TN_ARG, "'pair'");
    CHECK_FAIL(tn_backend_open(&b, "ref64", TN_F64, "avx2", 1, e), TN_ARG, "'avx2'");
    CHECK_FAIL(tn_backend_open(&b, "cpu", TN_F32, "sse", 1, e), TN_ARG, "'sse'");
    CHECK_FAIL(tn_backend_open(&b, "cpu", TN_F32, "amx-model", 1, e), TN_ARG, "for f32");
    CHECK_FAIL(tn_backend_open(&b, "cpu", TN_F32, NULL, -3, e), TN_ARG, "threads");
    CHECK(b == NULL);
}

TEST(ops_open_profiles) {
    static const struct { const char *name; tn_dtype dtype; const char *kernels, *profile; size_t elem; } want[] = {
        {"ref", TN_F32, NULL, "f32", 4},          {"ref64", TN_F64, NULL, "f64", 8},
        {"ref", TN_BF16, "pair", "bf16-pair", 4}, {"ref", TN_BF16, "dot32", "bf16-dot32", 4},
        {"cpu", TN_F32, "scalar", "f32", 4},      {"cpu", TN_BF16, "scalar", "bf16-pair", 4},
        {"cpu", TN_BF16, "amx-model", "bf16-dot32", 4},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        tn_backend *b = NULL;
        CHECK_OK(tn_backend_open(&b, want[i].name, want[i].dtype, want[i].kernels, 2, e));
        if (!b) continue;
        CHECK_MSG(strcmp(b->profile, want[i].profile) == 0, "%s: profile %s", want[i].name, b->profile);
        CHECK(b->operand == (want[i].dtype == TN_BF16 ? 2 : b->elem));
        CHECK(strcmp(b->name, want[i].name) == 0 && b->elem == want[i].elem && b->dtype == want[i].dtype);
        tn_backend_free(b);
    }
    /* what the machine does by itself is the same profile on both sides */
    tn_backend *ref = oc_backend("ref", TN_BF16, NULL, 1), *cpu = oc_backend("cpu", TN_BF16, NULL, 1);
    CHECK(ref && cpu && strcmp(ref->profile, cpu->profile) == 0);
    tn_backend_free(NULL);
}

TEST(ops_scratch) {
    tn_backend *b = NULL;
    CHECK_OK(tn_backend_open(&b, "ref", TN_F32, NULL, 1, e));
    char *p = tn_backend_scratch(b, 100);
    CHECK(p && (uintptr_t)p % 64 == 0);
    char *q = tn_backend_scratch(b, 3 << 20);
    CHECK(q && (uintptr_t)q % 64 == 0);
    memset(q, 1, 3 << 20);
    CHECK(tn_backend_scratch(b, 1 << 20) == q && tn_backend_scratch(b, 3 << 20) == q);
    tn_backend_free(b);
}

/* Rows do not round to bf16: a bf16 backend gives the float backend's bits. */
static void case_rows(oc *c, const int *p) {
    int T = p[0], D = p[1];
    void *x = oc_in(c, (size_t)(T * D), 1);
    c->be->op->rms_norm(c->be, TN_SET, oc_out(c, "y", (size_t)(T * D)), D, NULL, x, D, x, T, 1, D, 1e-5);
    c->be->op->rowdot(c->be, oc_out_double(c, "dot", (size_t)T), x, x, T, D);
}
TEST(ops_rows_of_bf16) {
    static const int p[OC_PARAMS] = {7, 50};
    oc_equal("rows", case_rows, p, OC_REF32, oc_backend("ref", TN_BF16, "pair", 1));
    oc_equal("rows", case_rows, p, OC_REF32, oc_backend("cpu", TN_BF16, NULL, 2));
}
