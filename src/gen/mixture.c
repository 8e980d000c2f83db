/* Sampling from the geometric mixture of two models, pi^(1-c) ref^c: per token the mean of their logits (Nash-MD's opponent,
 * Munos et al. 2023, 2312.00886).
 *
 * The second model follows the first through a cache of its own. Both caches see the same calls in the same order, so a
 * sequence has one number in both. Of a row, in the element of logits: z = (1-c) z1 + c z2, each operation rounded once;
 * p = e^(z - max z), not divided by its sum (a draw divides); lse = max z + log sum p in double. */
#include "base/mathx.h"
#include "gen/gen_int.h"
#include "ops/profile.h"

tn_status tn_gen_mix(tn_gen *g, const tn_model *second, double c, tn_err *e) {
    if (second->desc.vocab != g->m->desc.vocab)
        return tn_fail(e, TN_BUG, "a mixture of models with %d and %d tokens", g->m->desc.vocab, second->desc.vocab);
    tn_gen_second *s = g->second = tn_calloc(1, sizeof *s);
    if (!s) return tn_fail(e, TN_NOMEM, "out of memory");
    s->m = second, s->c = (float)c;
    s->z = tn_calloc((size_t)g->rows * (size_t)second->desc.vocab, sizeof *s->z);
    s->top = tn_calloc((size_t)g->rows, sizeof *s->top);
    if (!s->z || !s->top) return tn_fail(e, TN_NOMEM, "out of memory for generation");
    TN_TRY(tn_run_new(&s->run, second, g->tokens, g->batch, g->max_len, false, e));
    return tn_kv_new(&s->kv, second, tn_gen_pages(g), tn_gen_sequences(g), g->max_len, e);
}

void tn_gen_unmix(tn_gen *g) {
    tn_gen_second *s = g->second;
    if (!s) return;
    tn_kv_free(s->kv);
    tn_run_free(s->run);
    tn_free(s->z);
    tn_free(s->top);
    tn_free(s);
    g->second = NULL;
}

static void mix_rows(void *ctx, size_t begin, size_t end, int thread) {
    tn_gen *g = ctx;
    const tn_backend *be = g->m->be;
    const tn_gen_draw_room *room = &g->room[thread];
    int V = g->m->desc.vocab;
    float c = g->second->c, own = 1 - c;
    for (size_t r = begin; r < end; r++) {
        float *z = g->z + r * (size_t)V, top = 0;
        const float *z2 = g->second->z + r * (size_t)V;
        double sum = 0;
        for (int v = 0; v < V; v++) {
            z[v] = own * z[v] + c * z2[v];
            if (v == 0 || z[v] > top) top = z[v];
        }
        be->op->exp_row(be, room->p, room->block, z, top, V);
        for (int b = 0; b * TN_EXP_BLOCK < V; b++) sum += room->block[b];
        g->second->top[r] = top;
        g->lse[r] = (double)top + tn_log(sum);
    }
}

tn_status tn_gen_mix_rows(tn_gen *g, const int32_t *rows, int n, double inv_temp, tn_err *e) {
    tn_backend *be = g->m->be;
    tn_gen_second *s = g->second;
    tn_lm h = {.n = n, .rows = rows, .inv_temp = inv_temp, .z = s->z};
    TN_TRY(tn_lm_head(s->run, s->m, &h, e));
    double begin = tn_work_begin(be);
    tn_pool_run(be->pool, (size_t)n, 1, mix_rows, g);
    tn_work_end(be, begin, "mixture", 4.0 * 3 * n * g->m->desc.vocab);
    return TN_OK;
}
