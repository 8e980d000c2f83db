/* Process reward models as judges of whole responses: a response's text is cut into steps at the separator that the
 * model was trained with, each is encoded as in training, and what is said of them becomes one score. */
#include "algo/reward.h"
#include "train/scorer.h"
#include <string.h>

tn_status tn_prm_separator(const char *dir, tn_str *out, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *record = NULL;
    tn_path_join(&path, dir, "tenet.json");
    tn_status st = path.oom            ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                   : tn_exists(path.s) ? tn_json_load(path.s, &record, e)
                                       : TN_OK;
    const char *told = json_string_value(json_object_get(json_object_get(record, "options"), "step-separator"));
    tn_str_clear(out);
    tn_str_addz(out, told && *told ? told : "\n");
    if (st == TN_OK && out->oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    json_decref(record);
    tn_str_free(&path);
    return st;
}

/* A step whose text ends at byte `to`; false without memory. */
static bool keep_place(tn_scorer *s, size_t to) {
    if (!s->keep_steps) return true;
    if (!TN_GROW(s->step_to, s->cap_step_to, s->n_step_to + 1)) return false;
    s->step_to[s->n_step_to++] = to;
    return true;
}

/* The pieces of a text between separators that are not empty; NULL without memory or valid UTF-8. */
static json_t *pieces(tn_scorer *s, const char *text) {
    json_t *list = json_array();
    size_t k = s->separator.len;
    bool ok = list != NULL;
    for (const char *at = text, *end; ok && *at; at = *end ? end + k : end) {
        end = strstr(at, s->separator.s);
        if (!end) end = at + strlen(at);
        size_t blank = strspn(at, " \t\n"), to = (size_t)(end - text) + (*end ? k : 0);
        if (at + blank < end) ok = json_array_append_new(list, json_stringn(at, (size_t)(end - at))) == 0 && keep_place(s, to);
    }
    if (ok) return list;
    json_decref(list);
    return NULL;
}

/* A response without text is one step, the end of sequence. */
static tn_status say_nothing(tn_scorer *s, json_t *list, tn_err *e) {
    size_t n = 0;
    int id = tn_tokenizer_eos(s->tok);
    const char *text = tn_token_text(s->tok, id < 0 ? 0 : id, &n);
    bool ok = json_array_append_new(list, json_stringn(text, n)) == 0 && keep_place(s, s->text.len);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* Steps of one response behind s->ids, with the marks of their ends; s->steps has the prompt, when one is given. */
static tn_status add_response(tn_scorer *s, const json_t *prompt, const tn_response *r,
                              const tn_tokenizer *policy_tok, tn_err *e) {
    const tn_steps_how how = {.separator = s->separator.s};
    tn_str_clear(&s->text);
    TN_TRY(tn_decode(policy_tok, r->ids, (size_t)r->n, true, &s->text, e));
    json_t *list = pieces(s, s->text.s ? s->text.s : ""), *none = json_string("");
    tn_status st = list && none ? TN_OK : tn_fail(e, TN_FORMAT, "a response is not valid UTF-8 after decoding");
    if (st == TN_OK && json_array_size(list) == 0) st = say_nothing(s, list, e);
    if (st == TN_OK) st = tn_encode_steps(s->tok, prompt ? prompt : none, list, &how, &s->steps, "reward model", e);
    json_decref(list);
    json_decref(none);
    TN_TRY(st);
    size_t n = s->steps.ids.n, at = s->ids.n;
    if (!TN_GROW(s->ids.v, s->ids.cap, at + n)) return tn_fail(e, TN_NOMEM, "out of memory");
    memcpy(s->ids.v + at, s->steps.ids.v, n * sizeof *s->ids.v);
    s->ids.n += n;
    for (size_t i = 0; i < n; i++) tn_str_addc(&s->ones, 0);
    if (s->ones.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < s->steps.end.n; i++) s->ones.s[at + (size_t)s->steps.end.v[i]] = 1;
    return TN_OK;
}

tn_status tn_scorer_as_steps(tn_scorer *s, const tn_example *x, const json_t *prompt, const tn_tokenizer *policy_tok,
                             tn_example *y, tn_err *e) {
    size_t K = (size_t)x->n_response;
    *y = (tn_example){.prompt = x->prompt, .n_prompt = x->n_prompt, .n_response = x->n_response};
    if (!s->tok || !policy_tok)
        return tn_fail(e, TN_STATE, "a process reward model reads text: policy and reward model need tokenizer.json");
    if (!s->same_tokenizer && !prompt)
        return tn_fail(e, TN_STATE, "the reward model has its own tokenizer, so prompts must be text or messages, not token ids");
    if (!TN_GROW(s->response, s->cap, K) || !TN_GROW(s->begin, s->cap_begin, K))
        return tn_fail(e, TN_NOMEM, "out of memory");
    s->ids.n = 0;
    tn_str_clear(&s->ones);
    for (size_t k = 0; k < K; k++) {
        s->begin[k] = s->ids.n;
        TN_TRY(add_response(s, s->same_tokenizer ? NULL : prompt, &x->response[k], policy_tok, e));
        s->response[k] = (tn_response){.n = (int)(s->ids.n - s->begin[k])};
    }
    for (size_t k = 0; k < K; k++) { /* when nothing moves any more */
        s->response[k].ids = s->ids.v + s->begin[k];
        s->response[k].trained = (uint8_t *)s->ones.s + s->begin[k];
    }
    y->response = s->response;
    if (!s->same_tokenizer) y->prompt = s->steps.prompt.v, y->n_prompt = (int)s->steps.prompt.n;
    return TN_OK;
}

/* What is said of n steps of one response. */
static tn_status keep_steps(tn_scorer *s, const double *z, int n, tn_err *e) {
    if (!TN_GROW(s->step, s->cap_step, (size_t)(s->n_step + n + 1)) ||
        !TN_GROW(s->step_end, s->cap_step_end, (size_t)s->n_step_end + 1))
        return tn_fail(e, TN_NOMEM, "out of memory for what is said of steps");
    for (int i = 0; i < n; i++) s->step[s->n_step++] = tn_sigmoid(z[i]);
    s->step_end[s->n_step_end++] = s->n_step;
    return TN_OK;
}

tn_status tn_scorer_read_steps(tn_scorer *s, double *score, tn_err *e) {
    tn_batch *b = &s->mb;
    const char *how = s->step_score ? s->step_score : "min";
    TN_TRY(tn_forward_rows(s->run, s->model, &b->forest, b->row, b->n_tok, e));
    TN_TRY(tn_logit_head(s->run, s->model, b->row, b->n_tok, b->value, e));
    for (int i = 0; i < b->n_seq; i++) {
        const double *z = b->value + b->off[i];
        int n = b->off[i + 1] - b->off[i];
        if (s->keep_steps) TN_TRY(keep_steps(s, z, n, e));
        score[i] = strcmp(how, "last") == 0 ? tn_sigmoid(z[n - 1]) : tn_prm_score(z, n, strcmp(how, "product") == 0);
    }
    return TN_OK;
}
