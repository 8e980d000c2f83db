/* The head over a large vocabulary: no [rows, vocabulary] array, within the plan. */
#include "base/os.h"
#include "model/budget.h"
#include "tiny.h"
#include <stdlib.h>

#define ROWS 2048

TEST(head_memory_at_large_vocabulary) {
    if (getenv("TENET_EMULATED")) tn_skip("hours under an emulator");
    tn_desc d = tiny_get(0)->desc;
    d.vocab = 131072;
    d.hidden = 16;
    d.layers = 1;
    d.max_pos = ROWS + 1;
    d.tied = true;
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 2);
    if (!be) return;
    tn_budget plan = {0};
    tn_budget_model(&plan, "policy", &d, be, true, false);
    tn_budget_run(&plan, "policy", &d, be, ROWS + 1, ROWS, ROWS + 1, 0, true);
    size_t resident = tn_peak_memory(), live = tn_mem_live();
    tn_model *m = NULL;
    tn_run *r = NULL;
    tn_forest f = {0};
    static int32_t ids[ROWS + 1], rows[ROWS];
    static double logp[ROWS], lse[ROWS], coef[ROWS];
    CHECK_OK(tn_model_new(&m, &d, 1, be, e));
    CHECK_OK(tn_model_trainable(m, e));
    CHECK_OK(tn_run_new(&r, m, ROWS + 1, ROWS, ROWS + 1, true, e));
    tiny_ids(ids, ROWS + 1, d.vocab, 3);
    for (int i = 0; i < ROWS; i++) {
        rows[i] = i;
        coef[i] = -1.0 / ROWS;
    }
    CHECK_OK(tn_forest_add(&f, ids, ROWS + 1, -1, 0, NULL, e));
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_forward(r, m, &f, e));
    tn_lm q = {.n = ROWS, .rows = rows, .target = ids + 1, .inv_temp = 1, .logp = logp, .lse = lse};
    CHECK_OK(tn_lm_head(r, m, &q, e));
    CHECK_OK(tn_lm_head_backward(r, m, &q, coef, NULL, NULL, e));
    CHECK_OK(tn_backward(r, m, &f, e));
    double nll = 0;
    for (int i = 0; i < ROWS; i++) nll -= logp[i] / ROWS;
    CHECK_NEAR(nll, 11.78, 0.01, 0); /* log V */
    CHECK(tn_model_grad_sumsq(m) > 0);
    size_t used = tn_mem_live() - live;
    CHECK_MSG(used <= plan.total + ((size_t)64 << 20), "allocated %zu MB, planned %zu MB",
              used >> 20, plan.total >> 20);
    if (resident) {
        size_t grown = tn_peak_memory() - resident;
        CHECK_MSG(grown <= plan.total + ((size_t)64 << 20), "resident %zu MB, planned %zu MB",
                  grown >> 20, plan.total >> 20);
    }
    tn_run_free(r);
    tn_forest_free(&f);
    tn_model_free(m);
    tn_backend_free(be);
}
