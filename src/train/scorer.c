#include "train/scorer.h"
#include "train/trainer.h"
#include <string.h>

enum { ROWS_AT_ONCE = 64 }; /* responses whose last rows the head reads in one call */

static uint64_t file_hash(const char *dir, const char *name) {
    tn_str p = TN_STR_INIT, s = TN_STR_INIT;
    uint64_t h = 0;
    tn_path_join(&p, dir, name);
    if (tn_exists(p.s) && tn_read_file(p.s, &s, (size_t)1 << 30, NULL) == TN_OK)
        h = tn_hash64(s.s, s.len, 1);
    tn_str_free(&p);
    tn_str_free(&s);
    return h;
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

tn_status tn_scorer_open(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                         int max_tokens, int max_len, tn_err *e) {
    memset(s, 0, sizeof *s);
    s->batch.share_prompts = true;
    s->max_tokens = max_tokens > max_len ? max_tokens : max_len;
    s->max_len = max_len;
    s->same_tokenizer = file_hash(dir, "tokenizer.json") == file_hash(policy_dir, "tokenizer.json");
    TN_TRY(tn_model_load(&s->model, dir, be, &(tn_load){0}, e));
    if (s->model->score == TN_NONE)
        return tn_fail(e, TN_STATE,
                       "%s is no reward model: it has no score head; train one with `tenet reward`",
                       dir);
    TN_TRY(tn_tokenizer_optional(&s->tok, dir, NULL, e));
    if (s->tok) TN_TRY(learn_suffix(s, s->tok, e));
    TN_TRY(tn_run_new(&s->run, s->model, s->max_tokens, ROWS_AT_ONCE, max_len, false, e));
    tn_batch_need need = tn_batch_rollouts(s->max_tokens, s->max_tokens, 1, 0);
    return tn_batch_reserve(&s->mb, &need, e);
}

tn_status tn_scorer_budget(tn_budget *p, const char *dir, tn_backend *be, int max_tokens, int max_len,
                           int blocks, tn_err *e) {
    tn_desc d;
    int n = max_tokens > max_len ? max_tokens : max_len;
    tn_batch_need need = tn_batch_rollouts(n, n, 1, 0);
    TN_TRY(tn_model_peek(&d, dir, &(tn_load){0}, e));
    tn_budget_model(p, "reward model", &d, be, false, true);
    tn_budget_run(p, "reward model", &d, be, n, ROWS_AT_ONCE, max_len, blocks, false);
    tn_budget_scratch(p, &d, be, n, 0, false);
    tn_budget_add(p, "micro-batch", "", tn_batch_bytes(&need));
    return TN_OK;
}

void tn_scorer_close(tn_scorer *s) {
    tn_batch_free(&s->mb);
    tn_run_free(s->run);
    tn_model_free(s->model);
    tn_tokenizer_free(s->tok);
    memset(s, 0, sizeof *s);
}

static const json_t *prompt_of(const tn_example *x) {
    const json_t *p = json_object_get(x->meta, "prompt");
    return p ? p : json_object_get(x->meta, "messages");
}

/* Did the policy end this response itself? */
static bool ended(const tn_scorer *s, const tn_example *x, const tn_tokenizer *policy_tok) {
    const tn_response *r = &x->response[0];
    size_t n = 0;
    const int32_t *stop = policy_tok && !s->same_tokenizer ? tn_stop_ids(policy_tok, &n) : s->stop;
    if (stop == s->stop) n = (size_t)s->n_stop;
    return r->n > 0 && is_stop(stop, (int)n, r->ids[r->n - 1]);
}

/* Prompt and response as the reward model's own ids: one sequence in `ids`. */
static tn_status translate(const tn_scorer *s, const tn_example *x, const tn_tokenizer *policy_tok,
                           tn_ids *ids, size_t *split, tn_err *e) {
    if (!s->tok || !policy_tok)
        return tn_fail(
            e, TN_STATE,
            "policy and reward model have different tokenizers, and one of the folders has none; "
            "both need tokenizer.json");
    const json_t *prompt = prompt_of(x);
    if (!prompt)
        return tn_fail(e, TN_STATE,
                       "the reward model has its own tokenizer, so prompts must be text or "
                       "messages, not token ids");
    tn_str text = TN_STR_INIT;
    json_t *answer = NULL;
    tn_status st;
    TN_GO(tn_decode(policy_tok, x->response[0].ids, (size_t)x->response[0].n, true, &text, e),
          done);
    answer = json_is_string(prompt) ? json_stringn(text.s ? text.s : "", text.len)
                                    : json_pack("[{s:s,s:s%}]", "role", "assistant", "content",
                                                text.s ? text.s : "", text.len);
    if (!answer) {
        st = tn_fail(e, TN_FORMAT, "a response is not valid UTF-8 after decoding");
        goto done;
    }
    ids->n = 0;
    st = tn_encode_completion(s->tok, prompt, answer, TN_SEAM_FORCE, ids, split, "reward model", e);
    if (st == TN_OK && !ended(s, x, policy_tok)) { /* cut off: no end of turn for the reward model */
        size_t k = ids->n;
        while (k > *split + 1 && !is_stop(s->stop, s->n_stop, ids->v[k - 1])) k--;
        if (k > *split + 1) ids->n = k - 1;
    }
done:
    json_decref(answer);
    tn_str_free(&text);
    return st;
}

/* The same ids, and what the template puts after an end of turn. */
static tn_status complete(const tn_scorer *s, const tn_example *x, tn_ids *ids, tn_err *e) {
    const tn_response *r = &x->response[0];
    size_t n = (size_t)r->n + (size_t)s->n_suffix;
    if (!TN_GROW(ids->v, ids->cap, x->n_prompt + n)) return tn_fail(e, TN_NOMEM, "out of memory");
    memcpy(ids->v, x->prompt, (size_t)x->n_prompt * sizeof *ids->v);
    memcpy(ids->v + x->n_prompt, r->ids, (size_t)r->n * sizeof *ids->v);
    memcpy(ids->v + x->n_prompt + r->n, s->suffix, (size_t)s->n_suffix * sizeof *ids->v);
    ids->n = (size_t)x->n_prompt + n;
    return TN_OK;
}

static tn_status flush(tn_scorer *s, double *score, int *done, tn_err *e) {
    if (s->mb.n_seq == 0) return TN_OK;
    TN_TRY(tn_batch_finish(&s->mb, e));
    TN_TRY(tn_forward(s->run, s->model, &s->mb.forest, e));
    TN_TRY(tn_score_head(s->run, s->model, s->mb.score_row, s->mb.n_seq, s->mb.score, e));
    double sd = s->model->score_sd > 0 ? s->model->score_sd : 1.0;
    for (int i = 0; i < s->mb.n_seq; i++)
        score[(*done)++] = (s->mb.score[i] - s->model->score_mean) / sd;
    tn_batch_clear(&s->mb);
    return TN_OK;
}

tn_status tn_scorer_scores(tn_scorer *s, const tn_example *ex, int n,
                           const tn_tokenizer *policy_tok, double *score, tn_err *e) {
    tn_ids ids = {0};
    tn_str trained = TN_STR_INIT;
    tn_status st = TN_OK;
    int done = 0, cost = 0;
    tn_batch_clear(&s->mb);
    for (int i = 0; i < n && st == TN_OK; i++) {
        tn_example x = ex[i];
        tn_response r = ex[i].response[0];
        bool append = s->same_tokenizer && s->n_suffix && json_is_array(prompt_of(&ex[i])) &&
                      ended(s, &ex[i], policy_tok);
        if (!s->same_tokenizer || append) {
            size_t split = (size_t)x.n_prompt;
            if (append) TN_GO(complete(s, &ex[i], &ids, e), out);
            else TN_GO(translate(s, &ex[i], policy_tok, &ids, &split, e), out);
            tn_str_clear(&trained);
            for (size_t k = split; k < ids.n; k++) tn_str_addc(&trained, 1);
            x.prompt = ids.v, x.n_prompt = (int)split;
            r.ids = ids.v + split, r.n = (int)(ids.n - split), r.trained = (uint8_t *)trained.s;
        }
        x.response = &r;
        x.ref_known = false;
        x.old_logp = x.old_value = x.advantage = x.ret = NULL;
        int c = tn_batch_cost(&x, &s->batch);
        if (c > s->max_tokens || x.n_prompt + r.n > s->max_len) {
            st = tn_fail(e, TN_ARG,
                         "a prompt with its response has %d tokens for the reward model; it was "
                         "set up for %d; raise "
                         "--max-length",
                         x.n_prompt + r.n, s->max_len);
            goto out;
        }
        if (cost + c > s->max_tokens) {
            TN_GO(flush(s, score, &done, e), out);
            cost = 0;
        }
        TN_GO(tn_batch_add(&s->mb, &x, &s->batch, e), out);
        cost += c;
    }
    st = flush(s, score, &done, e);
out:
    tn_ids_free(&ids);
    tn_str_free(&trained);
    return st;
}
