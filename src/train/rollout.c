#include "train/rollout.h"
#include <string.h>

tn_status tn_rollouts_new(tn_rollouts *r, int n, int max_new, tn_err *e) {
    memset(r, 0, sizeof *r);
    size_t N = (size_t)n, T = N * (size_t)max_new;
    r->n = n;
    r->cap_tok = n * max_new;
    r->ex = tn_calloc(N, sizeof *r->ex);
    r->response = tn_calloc(N, sizeof *r->response);
    r->off = tn_calloc(N + 1, sizeof *r->off);
    r->ended = tn_calloc(N, sizeof *r->ended);
    r->score = tn_calloc(N, sizeof *r->score);
    r->raw_score = tn_calloc(N, sizeof *r->raw_score);
    r->req = tn_calloc(N, sizeof *r->req);
    r->sample = tn_calloc(N, sizeof *r->sample);
    r->ones = tn_malloc((size_t)max_new);
    bool ok = r->ex && r->response && r->off && r->ended && r->score && r->raw_score && r->req &&
              r->sample && r->ones;
    double **tok[] = {&r->old_logp, &r->ref_logp, &r->value, &r->reward, &r->advantage, &r->ret};
    for (int i = 0; i < 6; i++) ok = (*tok[i] = tn_calloc(T, sizeof(double))) && ok;
    if (!ok) {
        tn_rollouts_free(r);
        return tn_fail(e, TN_NOMEM, "out of memory for %d rollouts of up to %d tokens", n, max_new);
    }
    memset(r->ones, 1, (size_t)max_new);
    return tn_spread_new(&r->spread, tn_comm_world(), n, max_new, e);
}

void tn_rollouts_free(tn_rollouts *r) {
    void *p[] = {r->ex,        r->response, r->off,    r->ended,     r->score,
                 r->raw_score, r->req,      r->sample, r->ones,      r->old_logp,
                 r->ref_logp,  r->value,    r->reward, r->advantage, r->ret};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_spread_free(&r->spread);
    memset(r, 0, sizeof *r);
}

tn_status tn_rollouts_sample(tn_rollouts *r, tn_gen *g, tn_example *const *prompt,
                             uint64_t first_key, const tn_sampling *s, tn_err *e) {
    for (int i = 0; i < r->n; i++)
        r->req[i] =
            (tn_gen_request){prompt[i]->prompt, prompt[i]->n_prompt, 1, first_key + (uint64_t)i};
    TN_TRY(tn_spread_sample(&r->spread, g, r->req, r->n, s, r->sample, e));
    r->n_tok = 0;
    for (int i = 0; i < r->n; i++) {
        tn_gen_sample *y = &r->sample[i];
        r->off[i] = r->n_tok;
        r->ended[i] = y->stopped;
        r->response[i] = (tn_response){.ids = y->ids, .trained = r->ones, .n = y->n, .rank = 1};
        r->ex[i] = (tn_example){.prompt = prompt[i]->prompt,
                                .n_prompt = prompt[i]->n_prompt,
                                .n_response = 1,
                                .response = &r->response[i],
                                .meta = prompt[i]->meta,
                                .line = prompt[i]->line};
        r->ex[i].ref = r->ref_logp + r->n_tok;
        r->ex[i].old_logp = r->old_logp + r->n_tok;
        r->ex[i].old_value = r->value + r->n_tok;
        r->ex[i].advantage = r->advantage + r->n_tok;
        r->ex[i].ret = r->ret + r->n_tok;
        memcpy(r->old_logp + r->n_tok, y->logp, (size_t)y->n * sizeof(double));
        r->n_tok += y->n;
    }
    r->off[r->n] = r->n_tok;
    return TN_OK;
}

tn_status tn_rollouts_score(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, tn_err *e) {
    int from, to;
    tn_spread_range(r->spread.comm, r->n, &from, &to);
    TN_TRY(tn_scorer_scores(s, r->ex + from, to - from, policy_tok, r->raw_score + from, e));
    return tn_spread_gather(&r->spread, r->raw_score, r->n, NULL, e);
}

/* Runs `t`'s model over this rank's rollouts in micro-batches; what it saw of each token goes to `out`. */
static tn_status pass(tn_rollouts *r, tn_trainee *t, bool reference, double *out, tn_err *e) {
    int from, to;
    tn_spread_range(r->spread.comm, r->n, &from, &to);
    for (int i = from, done = r->off[from]; i < to;) {
        int cost = 0;
        tn_batch_clear(&t->mb);
        do {
            TN_TRY(tn_batch_add(&t->mb, &r->ex[i], &t->batch, e));
            cost += tn_batch_cost(&r->ex[i++], &t->batch);
        } while (i < to && cost + tn_batch_cost(&r->ex[i], &t->batch) <= t->max_tokens);
        TN_TRY(tn_batch_finish(&t->mb, e));
        if (reference)
            TN_TRY(tn_trainee_reference(t, e));
        else
            TN_TRY(tn_trainee_observe(t, false, e));
        memcpy(out + done, reference ? t->mb.ref_logp : t->mb.value,
               (size_t)t->mb.n_tok * sizeof(double));
        done += t->mb.n_tok;
    }
    return tn_spread_gather(&r->spread, out, r->n, r->off, e);
}

tn_status tn_rollouts_observe(tn_rollouts *r, tn_trainee *policy, tn_trainee *critic, tn_err *e) {
    TN_TRY(pass(r, policy, true, r->ref_logp, e));
    for (int i = 0; i < r->n; i++) r->ex[i].ref_known = true;
    return pass(r, critic, false, r->value, e);
}
