#include "train/scorer.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include <string.h>

enum { ROWS_AT_ONCE = 64 }; /* responses whose last rows the head reads in one call */

/* Of the file; 0 for a model without one. */
static tn_status tokenizer_hash(uint64_t *h, const char *dir, const char *base, tn_err *e) {
    tn_str where = TN_STR_INIT, p = TN_STR_INIT, s = TN_STR_INIT;
    tn_status st;
    *h = 0;
    TN_GO(tn_model_tokenizer_dir(dir, base, &where, e), done);
    tn_path_join(&p, where.s, "tokenizer.json");
    if (p.oom) TN_GO(tn_fail(e, TN_NOMEM, "out of memory"), done);
    if (!tn_exists(p.s)) goto done;
    TN_GO(tn_read_file(p.s, &s, (size_t)1 << 30, e), done);
    *h = tn_hash64(s.s, s.len, 1);
done:
    tn_str_free(&where);
    tn_str_free(&p);
    tn_str_free(&s);
    return st;
}

tn_status tn_scorer_same_tokenizer(bool *same, const char *dir, const char *policy_dir, const char *base, tn_err *e) {
    uint64_t a, b;
    TN_TRY(tokenizer_hash(&a, dir, base, e));
    TN_TRY(tokenizer_hash(&b, policy_dir, base, e));
    *same = a == b;
    return TN_OK;
}

static bool is_stop(const int32_t *stop, int n, int32_t id) {
    for (int i = 0; i < n; i++)
        if (stop[i] == id) return true;
    return false;
}

/* A reward model was trained on rendered conversations, where the template may put more after the
 * end of turn (ChatML: a line break); a sampled response stops right at it. */
static tn_status learn_suffix(tn_scorer *s, const tn_tokenizer *tok, tn_err *e) {
    size_t n = 0;
    const int32_t *stop = tn_stop_ids(tok, &n);
    for (size_t i = 0; i < n && i < 16; i++) s->stop[s->n_stop++] = stop[i];
    if (!tn_chat_name(tok)) return TN_OK;
    json_t *m = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "user", "content", "a", "role",
                          "assistant", "content", "b");
    tn_ids ids = {0};
    tn_status st = m ? tn_encode_messages(tok, m, &ids, NULL, "reward model", e)
                     : tn_fail(e, TN_NOMEM, "out of memory");
    size_t k = ids.n;
    while (k > 0 && !is_stop(s->stop, s->n_stop, ids.v[k - 1])) k--;
    if (st == TN_OK && k > 0 && ids.n - k <= 16)
        for (size_t i = k; i < ids.n; i++) s->suffix[s->n_suffix++] = ids.v[i];
    tn_ids_free(&ids);
    json_decref(m);
    return st;
}

static tn_status no_reward_model(const char *dir, tn_err *e) {
    return tn_fail(e, TN_STATE,
                   "%s is no reward model: it has no score head; train one with `tenet reward`",
                   dir);
}

tn_status tn_scorer_open(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                         int max_tokens, int max_len, tn_err *e) {
    return tn_scorer_open_with(s, dir, policy_dir, be, max_tokens, max_len, &(tn_load){.frozen = true}, e);
}

tn_status tn_scorer_open_with(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                              int max_tokens, int max_len, const tn_load *how, tn_err *e) {
    memset(s, 0, sizeof *s);
    s->batch.share_prompts = true;
    s->max_tokens = max_tokens > max_len ? max_tokens : max_len;
    s->max_len = max_len;
    TN_TRY(tn_scorer_same_tokenizer(&s->same_tokenizer, dir, policy_dir, how->base, e));
    tn_load asked = *how;
    TN_TRY(tn_scorer_members_of(dir, &s->n_member, &asked, e));
    TN_TRY(tn_model_load(&s->model, dir, be, &asked, e));
    if (s->model->score == TN_NONE) return no_reward_model(dir, e);
    TN_TRY(tn_tokenizer_of(&s->tok, dir, how->base, NULL, e));
    if (s->tok) TN_TRY(learn_suffix(s, s->tok, e));
    s->batch.step_ends = s->model->desc.per_token;
    if (s->batch.step_ends) TN_TRY(tn_prm_separator(dir, &s->separator, e));
    return tn_run_new(&s->run, s->model, s->max_tokens, ROWS_AT_ONCE, max_len, false, e);
}

tn_status tn_scorer_no_cost(const tn_scorer *s, const char *dir, tn_err *e) {
    if (!s->model->score_is_cost) return TN_OK;
    return tn_fail(e, TN_STATE,
                   "%s is a cost model (`tenet cost`): its score is the higher the more harmful a response is, and "
                   "a reward is wanted here; train one with `tenet reward`, or (grpo, rloo, ...) give it a "
                   "negative --reward-weights",
                   dir);
}

tn_status tn_scorer_reserve(tn_scorer *s, int n, int n_sample, int min_prompt, int max_blocks,
                            tn_err *e) {
    /* a template may put a few tokens behind the response: one block more */
    bool same = s->same_tokenizer, known = same && max_blocks > 0;
    tn_batch_need need = tn_batch_rollouts(s->max_tokens, n, n_sample, same ? min_prompt : 1,
                                           known ? max_blocks + (s->n_suffix > 0 ? n : 0) : 0);
    TN_TRY(tn_run_reserve(s->run, s->model, need.blocks, e));
    return tn_batch_reserve(&s->mb, &need, e);
}

tn_status tn_scorer_budget(tn_budget *p, const char *dir, tn_backend *be, const tn_load *how,
                           bool shared, int max_tokens, int max_len, const tn_batch_need *need,
                           tn_err *e) {
    tn_desc d;
    tn_lora_spec own;
    int n = max_tokens > max_len ? max_tokens : max_len;
    TN_TRY(tn_model_peek(&d, dir, how, e));
    if (!d.num_labels) return no_reward_model(dir, e);
    TN_TRY(tn_adapter_peek(&own, dir, e));
    if (!shared || !own.rank) tn_budget_frozen(p, "reward model", &d, be, true);
    if (own.rank) tn_budget_adapter(p, "reward model", &d, &own, be, false, true);
    tn_budget_run(p, "reward model", &d, be, n, ROWS_AT_ONCE, max_len, need->blocks, false);
    tn_budget_adapter_run(p, "reward model", &d, &own, be, n, false);
    tn_budget_scratch(p, &d, &own, be, n, 0, false);
    tn_budget_add(p, "micro-batch", "", tn_batch_bytes(need));
    return TN_OK;
}

void tn_scorer_close(tn_scorer *s) {
    tn_batch_free(&s->mb);
    tn_ids_free(&s->ids);
    tn_free(s->response);
    tn_free(s->member);
    tn_free(s->latent);
    tn_free(s->hidden);
    tn_free(s->step);
    tn_free(s->step_end);
    tn_free(s->step_to);
    tn_free(s->begin);
    tn_str_free(&s->ones);
    tn_str_free(&s->separator);
    tn_str_free(&s->text);
    tn_str_free(&s->part);
    tn_steps_free(&s->steps);
    tn_run_free(s->run);
    tn_model_free(s->model);
    tn_tokenizer_free(s->tok);
    memset(s, 0, sizeof *s);
}

/* ---- what the reward model reads ---- */

static const json_t *prompt_of(const tn_example *x) {
    const json_t *p = json_object_get(x->meta, "prompt");
    return p ? p : json_object_get(x->meta, "messages");
}

/* Did the policy end this response itself? */
static bool ended(const tn_scorer *s, const tn_response *r, const tn_tokenizer *policy_tok) {
    size_t n = 0;
    const int32_t *stop = policy_tok && !s->same_tokenizer ? tn_stop_ids(policy_tok, &n) : s->stop;
    if (stop == s->stop) n = (size_t)s->n_stop;
    return r->n > 0 && is_stop(stop, (int)n, r->ids[r->n - 1]);
}

/* Appends prompt and response as the reward model's own ids; *split: where the response begins. */
static tn_status translate(tn_scorer *s, const json_t *prompt, const tn_response *r,
                           const tn_tokenizer *policy_tok, size_t *split, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_ids *ids = &s->ids;
    size_t base = ids->n;
    json_t *answer = NULL;
    tn_status st;
    TN_GO(tn_decode(policy_tok, r->ids, (size_t)r->n, true, &text, e), done);
    answer = json_is_string(prompt) ? json_stringn(text.s ? text.s : "", text.len)
                                    : json_pack("[{s:s,s:s%}]", "role", "assistant", "content",
                                                text.s ? text.s : "", text.len);
    if (!answer) {
        st = tn_fail(e, TN_FORMAT, "a response is not valid UTF-8 after decoding");
        goto done;
    }
    st = tn_encode_completion(s->tok, prompt, answer, TN_SEAM_FORCE, ids, split, "reward model", e);
    *split += base;
    if (st == TN_OK &&
        !ended(s, r, policy_tok)) { /* cut off: no end of turn for the reward model */
        size_t k = ids->n;
        while (k > *split + 1 && !is_stop(s->stop, s->n_stop, ids->v[k - 1])) k--;
        if (k > *split + 1) ids->n = k - 1;
    }
done:
    json_decref(answer);
    tn_str_free(&text);
    return st;
}

/* Appends a response, and what the template puts after an end of turn. */
static tn_status complete(tn_scorer *s, const tn_response *r, bool suffix, tn_err *e) {
    tn_ids *ids = &s->ids;
    size_t n = (size_t)r->n, k = suffix ? (size_t)s->n_suffix : 0;
    if (!TN_GROW(ids->v, ids->cap, ids->n + n + k)) return tn_fail(e, TN_NOMEM, "out of memory");
    memcpy(ids->v + ids->n, r->ids, n * sizeof *ids->v);
    memcpy(ids->v + ids->n + n, s->suffix, k * sizeof *ids->v);
    ids->n += n + k;
    return TN_OK;
}

/* x as the reward model reads it; *y points into s until the next call. */
static tn_status rendered(tn_scorer *s, const tn_example *x, const tn_tokenizer *policy_tok,
                          tn_example *y, tn_err *e) {
    const json_t *prompt = prompt_of(x);
    size_t K = (size_t)x->n_response, longest = 0, split;
    bool suffix = s->same_tokenizer && s->n_suffix && json_is_array(prompt);
    if (s->model->desc.per_token) return tn_scorer_as_steps(s, x, prompt, policy_tok, y, e);
    *y = (tn_example){.prompt = x->prompt,
                      .n_prompt = x->n_prompt,
                      .n_response = x->n_response,
                      .response = x->response};
    if (s->same_tokenizer && !suffix) return TN_OK;
    if (!s->same_tokenizer && (!s->tok || !policy_tok))
        return tn_fail(
            e, TN_STATE,
            "policy and reward model have different tokenizers, and one of the folders has none; "
            "both need tokenizer.json");
    if (!prompt)
        return tn_fail(e, TN_STATE,
                       "the reward model has its own tokenizer, so prompts must be text or "
                       "messages, not token ids");
    if (!TN_GROW(s->response, s->cap, K) || !TN_GROW(s->begin, s->cap_begin, K))
        return tn_fail(e, TN_NOMEM, "out of memory");
    s->ids.n = 0;
    for (size_t k = 0; k < K; k++) {
        const tn_response *r = &x->response[k];
        split = s->ids.n;
        if (suffix)
            TN_TRY(complete(s, r, ended(s, r, policy_tok), e));
        else
            TN_TRY(translate(s, prompt, r, policy_tok, &split, e));
        s->begin[k] = split;
        s->response[k] = (tn_response){.n = (int)(s->ids.n - split)};
        if (s->ids.n - split > longest) longest = s->ids.n - split;
    }
    while (s->ones.len < longest && !s->ones.oom) tn_str_addc(&s->ones, 1);
    if (s->ones.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t k = 0; k < K; k++) {
        s->response[k].ids = s->ids.v + s->begin[k];
        s->response[k].trained = (uint8_t *)s->ones.s;
    }
    y->response = s->response;
    if (!suffix) y->prompt = s->ids.v, y->n_prompt = (int)s->begin[0];
    return TN_OK;
}

static tn_status flush(tn_scorer *s, double *score, int *done, tn_err *e) {
    if (s->mb.n_seq == 0) return TN_OK;
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while scoring");
    TN_TRY(tn_batch_finish(&s->mb, e));
    if (s->model->desc.per_token) {
        TN_TRY(tn_scorer_read_steps(s, s->mb.score, e));
    } else {
        TN_TRY(tn_forward_rows(s->run, s->model, &s->mb.forest, s->mb.score_row, s->mb.n_seq, e));
        TN_TRY(tn_score_head(s->run, s->model, s->mb.score_row, s->mb.n_seq, s->mb.score, e));
        TN_TRY(tn_scorer_read_members(s, *done, e));
    }
    double sd = s->model->score_sd > 0 ? s->model->score_sd : 1.0;
    for (int i = 0; i < s->mb.n_seq; i++)
        score[(*done)++] = (s->mb.score[i] - s->model->score_mean) / sd;
    tn_batch_clear(&s->mb);
    return TN_OK;
}

static tn_status check_length(const tn_scorer *s, const tn_example *x, tn_err *e) {
    for (int k = 0; k < x->n_response; k++) {
        int n = x->n_prompt + x->response[k].n;
        if (n > s->max_tokens || n > s->max_len)
            return tn_fail(e, TN_ARG,
                           "a prompt with its response has %d tokens for the reward model; it was "
                           "set up for %d; raise --max-length",
                           n, s->max_len);
    }
    return TN_OK;
}

tn_status tn_scorer_scores(tn_scorer *s, const tn_example *ex, int n,
                           const tn_tokenizer *policy_tok, double *score, tn_err *e) {
    int done = 0, cost = 0;
    s->n_step = s->n_step_end = 0, s->n_step_to = 0;
    tn_phase before = tn_phase_enter(s->model->be, TN_PHASE_SCORING);
    tn_batch_clear(&s->mb);
    for (int i = 0; i < n; i++) {
        tn_example x;
        TN_TRY(rendered(s, &ex[i], policy_tok, &x, e));
        TN_TRY(check_length(s, &x, e));
        while (x.n_response > 0) {
            tn_example part = x;
            part.n_response = tn_batch_fit(&x, 0, s->max_tokens, &s->batch);
            int c = tn_batch_cost(&part, &s->batch);
            if (cost + c > s->max_tokens) {
                TN_TRY(flush(s, score, &done, e));
                cost = 0;
            }
            TN_TRY(tn_batch_add(&s->mb, &part, &s->batch, e));
            cost += c;
            x.response += part.n_response, x.n_response -= part.n_response;
        }
    }
    TN_TRY(flush(s, score, &done, e));
    tn_phase_leave(s->model->be, before);
    return TN_OK;
}
