#include "train/rollout.h"
#include "base/signals.h"
#include "ops/profile.h"
#include <math.h>
#include <string.h>

tn_status tn_rollouts_new(tn_rollouts *r, int n_prompt, int n_sample, int n, int max_new,
                          int max_tokens, tn_err *e) {
    memset(r, 0, sizeof *r);
    size_t P = (size_t)n_prompt, N = (size_t)n, T = N * (size_t)max_new;
    r->n_prompt = n_prompt, r->n_sample = n_sample;
    r->max_new = max_new, r->max_tokens = max_tokens;
    struct {
        void **p;
        size_t n, size;
    } a[] = {{(void **)&r->prompt, P, sizeof *r->prompt},
             {(void **)&r->ex, N, sizeof *r->ex},
             {(void **)&r->at, N, sizeof *r->at},
             {(void **)&r->first, N + 1, sizeof *r->first},
             {(void **)&r->tok, N + 1, sizeof *r->tok},
             {(void **)&r->response, N, sizeof *r->response},
             {(void **)&r->group, N, sizeof *r->group},
             {(void **)&r->off, N + 1, sizeof *r->off},
             {(void **)&r->ended, N, sizeof *r->ended},
             {(void **)&r->own, N, sizeof *r->own},
             {(void **)&r->from, N, sizeof *r->from},
             {(void **)&r->ids, T, sizeof *r->ids},
             {(void **)&r->old_logp, T, sizeof(double)},
             {(void **)&r->ref_logp, T, sizeof(double)},
             {(void **)&r->value, T, sizeof(double)},
             {(void **)&r->reward, T, sizeof(double)},
             {(void **)&r->advantage, T, sizeof(double)},
             {(void **)&r->ret, T, sizeof(double)},
             {(void **)&r->score, N, sizeof(double)},
             {(void **)&r->raw_score, N, sizeof(double)},
             {(void **)&r->ones, (size_t)max_new, 1},
             {(void **)&r->req, P, sizeof *r->req},
             {(void **)&r->sample, N, sizeof *r->sample}};
    bool ok = true;
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        ok = (*a[i].p = tn_calloc(a[i].n, a[i].size)) && ok;
    if (!ok) {
        tn_rollouts_free(r);
        return tn_fail(e, TN_NOMEM, "out of memory for %zu rollouts of up to %d tokens", N,
                       max_new);
    }
    memset(r->ones, 1, (size_t)max_new);
    return tn_spread_new(&r->spread, tn_comm_world(), n, max_new, e);
}

size_t tn_rollouts_bytes(int n, int max_new) {
    size_t token = 6 * sizeof(double) + sizeof(double) + sizeof(int32_t);
    return (size_t)n * ((size_t)max_new * token + sizeof(tn_example) + sizeof(tn_response) +
                        sizeof(tn_gen_request) + sizeof(tn_gen_sample) + 2 * sizeof(double) + 12);
}

void tn_rollouts_free(tn_rollouts *r) {
    void *p[] = {r->prompt, r->ex,        r->at,       r->first,    r->tok,    r->response, r->group,  r->off, r->ended,
                 r->ids,    r->old_logp,  r->ref_logp, r->value,    r->reward, r->ret, r->advantage,
                 r->score,  r->raw_score, r->ones,     r->req,      r->sample,   r->own,    r->answer, r->step, r->from};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_spread_free(&r->spread);
    tn_spread_free(&r->other);
    memset(r, 0, sizeof *r);
}

static void clear(tn_rollouts *r) {
    r->n = r->n_tok = r->n_ex = r->off[0] = 0;
    r->has_ref = false;
}

/* Appends a response; its log-probs go where off[n - 1] says. */
static void append(tn_rollouts *r, int group, const int32_t *ids, int n, bool ended, bool own) {
    int i = r->n++;
    r->group[i] = group;
    r->ended[i] = ended;
    r->own[i] = own;
    r->response[i] = (tn_response){.ids = r->ids + r->n_tok, .trained = r->ones, .n = n};
    memcpy(r->ids + r->n_tok, ids, (size_t)n * sizeof *ids);
    r->n_tok += n;
    r->off[r->n] = r->n_tok;
}

/* Runs of responses to one prompt become examples, each within a micro-batch; or pairs do. */
static void pack(tn_rollouts *r, bool pairs) {
    int cost = 0;
    r->n_ex = 0;
    for (int i = 0; i < r->n; i++) {
        const tn_example *q = r->prompt[r->group[i]];
        int n = r->response[i].n;
        bool more = pairs ? i % 2 : i > 0 && r->group[i] == r->group[i - 1] && cost + n <= r->max_tokens;
        r->response[i].rank = pairs ? 1 + i % 2 : 1;
        cost = more ? cost + n : q->n_prompt + n;
        if (more) {
            tn_example *x = &r->ex[r->n_ex - 1];
            if (pairs && r->own[i]) x->label |= 2;
            x->n_response++;
            continue;
        }
        tn_example *x = &r->ex[r->n_ex];
        r->first[r->n_ex] = i, r->tok[r->n_ex] = r->off[i];
        r->at[r->n_ex++] = x;
        *x = (tn_example){.prompt = q->prompt,
                          .n_prompt = q->n_prompt,
                          .n_response = 1,
                          .pair = pairs,
                          .label = pairs && r->own[i],
                          .response = &r->response[i],
                          .meta = q->meta,
                          .baseline = q->baseline,
                          .line = q->line,
                          .ref = r->ref_logp + r->off[i],
                          .ref_known = r->has_ref,
                          .old_logp = r->old_logp + r->off[i],
                          .old_value = r->value + r->off[i],
                          .advantage = r->advantage + r->off[i],
                          .ret = r->ret + r->off[i]};
    }
    r->first[r->n_ex] = r->n, r->tok[r->n_ex] = r->n_tok;
}

/* Responses that are all masked never reach a loss that would notice. */
static tn_status check_finite(const tn_gen_sample *y, int i, tn_err *e) {
    for (int t = 0; t < y->n; t++)
        if (!isfinite(y->logp[t]))
            return tn_fail(e, TN_NUMERIC,
                           "token %d of sampled response %d has log-prob %g, expected a finite number: the "
                           "policy's weights are not finite, or too large. If this run made them so, go on from "
                           "an earlier checkpoint with a lower --learning-rate; else take another --model",
                           t + 1, i + 1, y->logp[t]);
    return TN_OK;
}

static tn_status take(tn_rollouts *r, int group, const tn_gen_sample *y, bool own, tn_err *e) {
    TN_TRY(check_finite(y, r->n, e));
    memcpy(r->old_logp + r->n_tok, y->logp, (size_t)y->n * sizeof(double));
    append(r, group, y->ids, y->n, y->stopped, own);
    return TN_OK;
}

tn_status tn_rollouts_sample(tn_rollouts *r, tn_gen *g, uint64_t first_key, const tn_sampling *s,
                             tn_err *e) {
    for (int i = 0; i < r->n_prompt; i++)
        r->req[i] = (tn_gen_request){.ids = r->prompt[i]->prompt, .n_ids = r->prompt[i]->n_prompt, .n = r->n_sample, .key = r->key ? r->key[i] : first_key + (uint64_t)i * (uint64_t)r->n_sample};
    r->greedy_first = s->greedy_first;
    TN_TRY(tn_spread_sample(&r->spread, g, r->req, r->n_prompt, s, r->sample, e));
    clear(r);
    for (int i = 0; i < r->n_prompt * r->n_sample; i++) TN_TRY(take(r, i / r->n_sample, &r->sample[i], true, e));
    pack(r, false);
    return TN_OK;
}

tn_status tn_rollouts_oppose(tn_rollouts *r, tn_err *e) {
    r->opposed = true;
    r->answer = tn_calloc((size_t)r->n_prompt, sizeof *r->answer);
    if (!r->answer) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_spread_new(&r->other, tn_comm_world(), r->n_prompt, r->max_new, e);
}

tn_status tn_rollouts_sample_opposed(tn_rollouts *r, tn_gen *g, tn_gen *opponent, uint64_t first_key, const tn_sampling *s,
                                     tn_err *e) {
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < r->n_prompt; i++)
            r->req[i] = (tn_gen_request){.ids = r->prompt[i]->prompt, .n_ids = r->prompt[i]->n_prompt, .n = 1, .key = first_key + 2 * (uint64_t)i + (uint64_t)side};
        TN_TRY(side ? tn_spread_sample(&r->other, opponent, r->req, r->n_prompt, s, r->answer, e)
                    : tn_spread_sample(&r->spread, g, r->req, r->n_prompt, s, r->sample, e));
    }
    clear(r);
    for (int i = 0; i < r->n_prompt; i++) {
        TN_TRY(take(r, i, &r->sample[i], true, e));
        TN_TRY(take(r, i, &r->answer[i], false, e));
    }
    pack(r, false);
    return TN_OK;
}

tn_status tn_rollouts_score(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, double *score,
                            tn_err *e) {
    int from, to;
    tn_spread_range(r->spread.comm, r->n_ex, &from, &to);
    s->member_at = r->first[from];
    tn_status st = tn_scorer_scores(s, r->ex + from, to - from, policy_tok, score + r->first[from], e);
    TN_TRY(tn_comm_share_interrupt(r->spread.comm, st, e));
    for (int k = 0; k < s->n_member && s->member; k++)
        TN_TRY(tn_spread_gather(&r->spread, s->member + (size_t)k * (size_t)s->cap_member, r->n_ex, r->first, e));
    for (int k = 0; k < s->n_latent && s->latent; k++)
        TN_TRY(tn_spread_gather(&r->spread, s->latent + (size_t)k * (size_t)s->cap_member, r->n_ex, r->first, e));
    return tn_spread_gather(&r->spread, score, r->n_ex, r->first, e);
}

/* Runs `t`'s model (its reference) over this rank's rollouts in micro-batches; copies what it saw of each
 * token, an array of t->mb, to `out`, and gets the other ranks'. `stops`: Ctrl-C ends it. */
static tn_status pass(tn_rollouts *r, tn_trainee *t, bool reference, bool stops,
                      double *const *seen, double *out, tn_err *e) {
    int from, to;
    tn_status st = TN_OK;
    tn_spread_range(r->spread.comm, r->n_ex, &from, &to);
    for (int i = from, done = r->tok[from]; i < to;) {
        if (stops && tn_stop_requested()) {
            st = tn_fail(e, TN_INTERRUPTED, "stopped while computing log-probs of rollouts");
            break;
        }
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
        memcpy(out + done, *seen, (size_t)t->mb.n_tok * sizeof(double));
        done += t->mb.n_tok;
    }
    if (stops) TN_TRY(tn_comm_share_interrupt(r->spread.comm, st, e));
    return tn_spread_gather(&r->spread, out, r->n_ex, r->tok, e);
}

tn_status tn_rollouts_observe(tn_rollouts *r, tn_trainee *policy, tn_trainee *critic, tn_err *e) {
    if (policy->ref) {
        TN_TRY(pass(r, policy, true, true, &policy->mb.ref_logp, r->ref_logp, e));
        r->has_ref = true;
        for (int i = 0; i < r->n_ex; i++) r->ex[i].ref_known = true;
    }
    return critic ? tn_rollouts_values(r, critic, r->value, e) : TN_OK;
}

tn_status tn_rollouts_values(tn_rollouts *r, tn_trainee *critic, double *value, tn_err *e) {
    tn_phase before = tn_phase_enter(critic->model->be, TN_PHASE_SCORING);
    TN_TRY(pass(r, critic, false, true, &critic->mb.value, value, e));
    tn_phase_leave(critic->model->be, before);
    return TN_OK;
}

void tn_rollouts_aim(tn_rollouts *r, const double *value, const double *ret) {
    for (int i = 0; i < r->n_ex; i++)
        r->ex[i].old_value = value + r->tok[i], r->ex[i].ret = ret + r->tok[i];
}

void tn_rollouts_own_reference(tn_rollouts *r) {
    memcpy(r->ref_logp, r->old_logp, (size_t)r->n_tok * sizeof(double));
    r->has_ref = true;
    for (int i = 0; i < r->n_ex; i++) r->ex[i].ref_known = true;
}

tn_status tn_rollouts_entropy(tn_rollouts *r, tn_trainee *policy, double *entropy, tn_err *e) {
    return pass(r, policy, false, false, &policy->mb.entropy, entropy, e);
}

void tn_rollouts_kl(const tn_rollouts *r, bool mask_truncated, double *kl, double *sum,
                    double *tokens) {
    *sum = *tokens = 0;
    for (int i = 0; i < r->n; i++) {
        kl[i] = 0;
        if ((mask_truncated && !r->ended[i]) || !r->own[i]) continue;
        for (int t = r->off[i]; t < r->off[i + 1]; t++)
            kl[i] += tn_kl_value(TN_KL_K1, r->old_logp[t], r->ref_logp[t]);
        *sum += kl[i];
        *tokens += r->response[i].n;
    }
}

static void arrange(tn_rollouts *to, const tn_rollouts *from, const uint32_t *order, int n, bool pairs) {
    clear(to);
    memcpy(to->prompt, from->prompt, (size_t)from->n_prompt * sizeof *to->prompt);
    to->has_ref = from->has_ref;
    for (int k = 0; k < n; k++) {
        int i = (int)order[k], at = from->off[i];
        size_t bytes = (size_t)from->response[i].n * sizeof(double);
        memcpy(to->old_logp + to->n_tok, from->old_logp + at, bytes);
        memcpy(to->ref_logp + to->n_tok, from->ref_logp + at, bytes);
        memcpy(to->advantage + to->n_tok, from->advantage + at, bytes);
        to->from[to->n] = i;
        append(to, from->group[i], from->ids + at, from->response[i].n, from->ended[i], from->own[i]);
    }
    pack(to, pairs);
}

void tn_rollouts_arrange(tn_rollouts *to, const tn_rollouts *from, const uint32_t *order, int n) {
    arrange(to, from, order, n, false);
}

void tn_rollouts_arrange_pairs(tn_rollouts *to, const tn_rollouts *from, const uint32_t *order, int n) {
    arrange(to, from, order, n, true);
}

/* ---- in a checkpoint ---- */

/* NaN is null. */
static json_t *reals(const double *v, int n) {
    json_t *a = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(a, tn_json_number(v[i]));
    return a;
}

json_t *tn_rollouts_record(const tn_rollouts *r) {
    json_t *all = json_array();
    for (int i = 0; all && i < r->n; i++) {
        int at = r->off[i], n = r->response[i].n;
        json_t *ids = json_array();
        for (int k = 0; k < n; k++) json_array_append_new(ids, json_integer(r->ids[at + k]));
        json_t *x = json_pack("{s:o,s:b,s:o,s:o}", "ids", ids, "ended", r->ended[i], "score",
                              tn_json_number(r->score[i]), "logp", reals(r->old_logp + at, n));
        if (x && r->has_ref) json_object_set_new(x, "ref_logp", reals(r->ref_logp + at, n));
        if (x && r->step) json_object_set_new(x, "step", reals(r->step + at, n));
        if (!x || json_array_append_new(all, x) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

/* n numbers into out; false when there are not as many. */
static bool read_reals(const json_t *a, double *out, size_t n) {
    if (json_array_size(a) != n) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(a, i);
        out[i] = json_is_null(x) ? NAN : json_number_value(x);
    }
    return true;
}

tn_status tn_rollouts_load(tn_rollouts *r, const json_t *record, int vocab, const char *where,
                           tn_err *e) {
    clear(r);
    size_t N = (size_t)(r->n_prompt * r->n_sample);
    if (json_array_size(record) != N)
        return tn_fail(e, TN_STATE,
                       "%s holds %zu sampled responses, this run takes %zu to a batch; resume with "
                       "the options of the run",
                       where, json_array_size(record), N);
    for (size_t i = 0; i < N; i++) {
        const json_t *x = json_array_get(record, i), *ref = json_object_get(x, "ref_logp");
        int32_t *ids;
        size_t n;
        TN_TRY(tn_json_ids(json_object_get(x, "ids"), vocab, &ids, &n, where, e));
        int at = r->n_tok;
        bool ok = n > 0 && n <= (size_t)r->max_new &&
                  read_reals(json_object_get(x, "logp"), r->old_logp + at, n) &&
                  (!ref || read_reals(ref, r->ref_logp + at, n)) &&
                  (!r->step || read_reals(json_object_get(x, "step"), r->step + at, n));
        const json_t *score = json_object_get(x, "score");
        r->score[i] = json_is_null(score) ? NAN : json_number_value(score);
        ok = ok && (json_is_null(score) || json_is_number(score));
        if (ok)
            append(r, (int)i / r->n_sample, ids, (int)n, json_is_true(json_object_get(x, "ended")),
                   !(r->opposed && (int)i % r->n_sample == r->n_sample - 1));
        r->has_ref = ref != NULL;
        tn_free(ids);
        if (!ok) return tn_fail(e, TN_FORMAT, "%s: sampled response %zu is damaged", where, i + 1);
    }
    pack(r, false);
    return TN_OK;
}
