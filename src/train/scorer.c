#include "train/scorer.h"
#include "train/trainer.h"
#include <string.h>

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
    if (!s->same_tokenizer) TN_TRY(tn_tokenizer_optional(&s->tok, dir, NULL, e));
    TN_TRY(tn_run_new(&s->run, s->model, s->max_tokens, s->max_tokens, max_len, false, e));
    return tn_batch_reserve(&s->mb, s->max_tokens, s->max_tokens, e);
}

void tn_scorer_close(tn_scorer *s) {
    tn_batch_free(&s->mb);
    tn_run_free(s->run);
    tn_model_free(s->model);
    tn_tokenizer_free(s->tok);
    memset(s, 0, sizeof *s);
}

/* Prompt and response as the reward model's own ids: one sequence, arena-free scratch in `ids`. */
static tn_status translate(const tn_scorer *s, const tn_example *x, const tn_tokenizer *policy_tok,
                           tn_ids *ids, size_t *split, tn_err *e) {
    if (!s->tok || !policy_tok)
        return tn_fail(
            e, TN_STATE,
            "policy and reward model have different tokenizers, and one of the folders has none; "
            "both need tokenizer.json");
    const json_t *prompt = json_object_get(x->meta, "prompt");
    if (!prompt) prompt = json_object_get(x->meta, "messages");
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
done:
    json_decref(answer);
    tn_str_free(&text);
    return st;
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
        if (!s->same_tokenizer) {
            size_t split = 0;
            TN_GO(translate(s, &ex[i], policy_tok, &ids, &split, e), out);
            tn_str_clear(&trained);
            for (size_t k = 0; k < ids.n; k++) tn_str_addc(&trained, 1);
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
