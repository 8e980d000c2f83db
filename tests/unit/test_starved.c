/* Operations without memory for scratch do nothing; forward and backward must say so. */
#include "base/os.h"
#include "tiny.h"
#include <errno.h>

typedef struct step {
    tn_model *m;
    tn_run *r;
    tn_forest f;
} step;

static tn_status take(step *s, tn_err *e) {
    enum { N = 40 };
    int32_t rows[N], target[N];
    double logp[N], lse[N], d[N];
    for (int i = 0; i < N; i++) rows[i] = i, target[i] = i % 7, d[i] = 0.1;
    tn_lm q = {.n = N, .rows = rows, .target = target, .inv_temp = 1, .logp = logp, .lse = lse};
    TN_TRY(tn_forward(s->r, s->m, &s->f, e));
    TN_TRY(tn_lm_head(s->r, s->m, &q, e));
    TN_TRY(tn_lm_head_backward(s->r, s->m, &q, d, NULL, NULL, e));
    return tn_backward(s->r, s->m, &s->f, e);
}

static void without_scratch(const char *name, tn_dtype dtype) {
    const tiny_case *c = tiny_get(0);
    tn_backend *be = tiny_backend(name, dtype, NULL, 2);
    if (!be) return;
    step s = {.m = tiny_model(&c->desc, be, true, 3)};
    int32_t ids[64];
    int index;
    tiny_ids(ids, 64, c->desc.vocab, 5);
    CHECK_OK(tn_model_trainable(s.m, e));
    CHECK_OK(tn_run_new(&s.r, s.m, 64, 64, 64, true, e));
    CHECK_OK(tn_forest_add(&s.f, ids, 64, -1, 0, &index, e));
    CHECK_OK(tn_forest_finish(&s.f, e));
    int starved = 0;
    for (long n = 1;; n++) { /* the n-th growth of the scratch fails */
        tn_big_free(be->scratch, be->scratch_bytes);
        be->scratch = NULL, be->scratch_bytes = 0;
        tn_err e = {0};
        tn_fault_arm(n, ENOMEM);
        tn_status st = take(&s, &e);
        bool fired = tn_fault_fired();
        tn_fault_arm(0, 0);
        CHECK_MSG(st == (fired ? TN_NOMEM : TN_OK), "%s, growth %ld: %s", name, n, tn_status_text(st));
        starved += fired;
        if (!fired) break;
    }
    CHECK_MSG(starved > 0, "%s: no scratch was asked for", name);
    CHECK_OK(take(&s, e)); /* and it is over */
    tn_forest_free(&s.f);
    tn_run_free(s.r);
    tn_model_free(s.m);
    tn_backend_free(be);
}

TEST(starved_operations_are_errors) {
    without_scratch("ref", TN_F32);
    without_scratch("cpu", TN_F32);
    without_scratch("cpu", TN_BF16);
}
