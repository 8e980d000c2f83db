/* What a process reward model says of the steps of rollouts, as rewards of tokens. The model reads text and cuts it at its own
 * separator, with whatever tokenizer; a step's reward lands on the token that completes its text, the last step's on the
 * response's last token. Steps that end with one token are one, with the sum of their rewards. */
#include "algo/process.h"
#include "train/rollout.h"
#include <math.h>
#include <string.h>

tn_status tn_rollouts_keep_steps(tn_rollouts *r, tn_err *e) {
    size_t n = (size_t)r->n_prompt * (size_t)r->n_sample * (size_t)r->max_new;
    return (r->step = tn_calloc(n, sizeof *r->step)) ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for rewards of steps");
}

/* The fewest tokens, at least `least`, whose text begins with text[0 .. n): that it does stays true as tokens are added. */
static tn_status tokens_of(const tn_tokenizer *tok, const tn_response *y, const char *text, size_t n, int least, tn_str *part,
                           int *count, tn_err *e) {
    int lo = least, hi = y->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        tn_str_clear(part);
        TN_TRY(tn_decode(tok, y->ids, (size_t)mid, true, part, e));
        if (part->len >= n && memcmp(part->s, text, n) == 0) hi = mid;
        else lo = mid + 1;
    }
    *count = lo;
    return TN_OK;
}

/* Rewards r[n] of a response's steps, whose texts end at byte to[k] of its text, onto its tokens `step`. */
static tn_status place(const tn_tokenizer *tok, const tn_response *y, const double *r, const size_t *to, int n, tn_str *text,
                       tn_str *part, double *step, tn_err *e) {
    tn_str_clear(text);
    TN_TRY(tn_decode(tok, y->ids, (size_t)y->n, true, text, e));
    for (int t = 0; t < y->n; t++) step[t] = NAN;
    for (int k = 0, at = 1; k < n; k++) {
        if (k == n - 1) at = y->n;
        else TN_TRY(tokens_of(tok, y, text->s, to[k], at, part, &at, e));
        step[at - 1] = isnan(step[at - 1]) ? r[k] : step[at - 1] + r[k];
    }
    return TN_OK;
}

/* This rank's responses. */
static tn_status place_all(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *tok, const char *form, tn_err *e) {
    int from, to;
    tn_spread_range(r->spread.comm, r->n_ex, &from, &to);
    for (int i = r->first[from], k = 0; i < r->first[to]; i++, k++) {
        int at = k ? s->step_end[k - 1] : 0, n = s->step_end[k] - at;
        double *reward = s->step + at;
        tn_step_values(form, reward, n, reward);
        TN_TRY(place(tok, &r->response[i], reward, s->step_to + at, n, &s->text, &s->part, r->step + r->off[i], e));
    }
    return TN_OK;
}

tn_status tn_rollouts_score_steps(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, const char *form, double *score,
                                  tn_err *e) {
    TN_TRY(tn_rollouts_score(r, s, policy_tok, score, e));
    TN_TRY(place_all(r, s, policy_tok, form, e));
    return tn_spread_gather(&r->spread, r->step, r->n_ex, r->tok, e);
}
