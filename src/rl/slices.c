/* A generation batch cut into the optimiser steps that share it; see critic_free.h. */
#include "base/rng.h"
#include "rl/critic_free.h"
#include <math.h>
#include <string.h>

tn_status tn_slices_new(tn_slices *s, const tn_rollouts *like, int n, tn_err *e) {
    int all = like->n_prompt * like->n_sample, each = all / n;
    s->part = tn_calloc((size_t)n, sizeof *s->part);
    s->total = tn_calloc((size_t)n, sizeof *s->total);
    s->order = tn_calloc((size_t)all, sizeof *s->order);
    s->slice = tn_calloc((size_t)all, sizeof *s->slice);
    s->mine = tn_calloc((size_t)all, sizeof *s->mine);
    s->reward = tn_calloc((size_t)all, sizeof *s->reward);
    if (!s->part || !s->total || !s->order || !s->slice || !s->mine || !s->reward)
        return tn_fail(e, TN_NOMEM, "out of memory");
    for (; s->n < n; s->n++) {
        tn_rollouts *p = &s->part[s->n];
        TN_TRY(tn_rollouts_new(p, like->n_prompt, like->n_sample, each, like->max_new,
                               like->max_tokens, e));
    }
    return TN_OK;
}

void tn_slices_free(tn_slices *s) {
    for (int i = 0; i < s->n; i++) tn_rollouts_free(&s->part[i]);
    tn_free(s->part);
    tn_free(s->total);
    tn_free(s->order);
    tn_free(s->slice);
    tn_free(s->mine);
    tn_free(s->reward);
    memset(s, 0, sizeof *s);
}

void tn_slices_fill(tn_slices *s, const tn_rollouts *r, bool mask_truncated) {
    double all = 0;
    for (int k = 0; k < s->n; k++) {
        int n = 0, seq = 0;
        for (int i = 0; i < r->n; i++) { /* ascending: samples of one prompt side by side */
            if (s->slice[i] != k || (r->greedy_first && i % r->n_sample == 0) || !r->own[i]) continue;
            seq++;
            if ((r->ended[i] || !mask_truncated) && !isnan(r->advantage[r->off[i]])) s->order[n++] = (uint32_t)i;
        }
        tn_rollouts_arrange(&s->part[k], r, s->order, n);
        s->total[k] = (tn_total){.tok = s->part[k].n_tok, .seq = seq};
        all += s->part[k].n_tok;
    }
    for (int k = 0; k < s->n; k++) s->total[k].gen_tok = (all > 1 ? all : 1) / s->n;
}

void tn_slices_cut(tn_slices *s, const tn_rollouts *r, bool mask_truncated, uint64_t seed,
                   uint64_t number) {
    int unit = r->opposed ? r->n_sample : 1, n = r->n / unit; /* opponents' responses are not shared out */
    for (int i = 0; i < n; i++) s->order[i] = (uint32_t)i;
    if (s->n > 1) {
        tn_rng rng = tn_rng_stream(seed, TN_RNG_MINIBATCH, number);
        tn_rng_shuffle(&rng, s->order, (size_t)n);
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < unit; k++) s->slice[(int)s->order[i] * unit + k] = i / (n / s->n);
    tn_slices_fill(s, r, mask_truncated);
}
