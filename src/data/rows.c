#include "data/rows.h"
#include <string.h>

void tn_row_free(tn_row *r) {
    tn_free(r->ids);
    tn_free(r->scored);
    tn_free(r->start);
    *r = (tn_row){0};
}

static tn_status need_tokenizer(const tn_row_how *how, const char *where, tn_err *e) {
    if (how->tokenizer) return TN_OK;
    return tn_fail(
        e, TN_ARG,
        "%s: a row of text needs a tokenizer and the model's folder has no tokenizer.json; "
        "give rows of {\"ids\": [...]}",
        where);
}

/* Ids that a tokenizer made must exist in the model. */
static tn_status check_vocab(const tn_row *r, int vocab, const char *where, tn_err *e) {
    for (int i = 0; i < r->n; i++)
        if (r->ids[i] < 0 || r->ids[i] >= vocab)
            return tn_fail(e, TN_STATE,
                           "%s: the tokenizer gives id %d and the model has only %d tokens", where,
                           r->ids[i], vocab);
    return TN_OK;
}

/* Takes ids over; the mask is all zero until scored. */
static tn_status adopt(tn_row *r, int32_t *ids, size_t n, const char *where, tn_err *e) {
    r->ids = ids;
    if (n == 0) return tn_fail(e, TN_FORMAT, "%s: the row has no tokens", where);
    if (n > INT32_MAX / 4)
        return tn_fail(e, TN_FORMAT, "%s: a row of %zu tokens is too long", where, n);
    r->n = (int)n;
    r->scored = tn_calloc(n, 1);
    r->start = tn_calloc(n, sizeof *r->start);
    if (!r->scored || !r->start)
        return tn_fail(e, TN_NOMEM, "%s: out of memory for %zu tokens", where, n);
    return TN_OK;
}

/* Segments from a mask: one starts wherever the mask changes. */
static void cut_by_mask(tn_row *r) {
    r->n_seg = 0;
    for (int i = 0; i < r->n; i++)
        if (i == 0 || r->scored[i] != r->scored[i - 1]) r->start[r->n_seg++] = i;
    r->scored[0] = 0;
    r->n_scored = 0;
    for (int i = 0; i < r->n; i++) r->n_scored += r->scored[i];
}

static void score_from(tn_row *r, int first) {
    memset(r->scored + first, 1, (size_t)(r->n - first));
    cut_by_mask(r);
}

static void score_whole(tn_row *r) { /* one segment: the first token has no predictor */
    score_from(r, 0);
}

static tn_status read_prompt_ids(tn_row *r, const json_t *prompt, const json_t *ids,
                                 const tn_row_how *how, const char *where, tn_err *e) {
    int32_t *a = NULL, *b = NULL;
    size_t na = 0, nb = 0;
    tn_status st;
    TN_GO(tn_json_ids(prompt, how->vocab, &a, &na, where, e), done);
    TN_GO(tn_json_ids(ids, how->vocab, &b, &nb, where, e), done);
    int32_t *all = tn_realloc(a, na + nb + 1, sizeof *all);
    if (!all) {
        st = tn_fail(e, TN_NOMEM, "%s: out of memory", where);
        goto done;
    }
    a = NULL;
    if (nb) memcpy(all + na, b, nb * sizeof *all);
    TN_GO(adopt(r, all, na + nb, where, e), done);
    score_from(r, (int)na);
done:
    tn_free(a);
    tn_free(b);
    return st;
}

static tn_status read_ids(tn_row *r, const json_t *ids, const tn_row_how *how, const char *where,
                          tn_err *e) {
    int32_t *a = NULL;
    size_t n = 0;
    TN_TRY(tn_json_ids(ids, how->vocab, &a, &n, where, e));
    TN_TRY(adopt(r, a, n, where, e));
    score_whole(r);
    return TN_OK;
}

static tn_status read_messages(tn_row *r, const json_t *list, const tn_row_how *how,
                               const char *where, tn_err *e) {
    TN_TRY(need_tokenizer(how, where, e));
    tn_ids ids = {0};
    uint8_t *mask = NULL;
    tn_status st = tn_encode_messages(how->tokenizer, list, &ids, &mask, where, e);
    if (st == TN_OK) {
        st = adopt(r, ids.v, ids.n, where, e);
        ids.v = NULL;
    }
    if (st == TN_OK) {
        memcpy(r->scored, mask, (size_t)r->n);
        cut_by_mask(r);
    }
    tn_free(mask);
    tn_ids_free(&ids);
    return st;
}

static tn_status read_completion(tn_row *r, const json_t *prompt, const json_t *completion,
                                 const tn_row_how *how, const char *where, tn_err *e) {
    TN_TRY(need_tokenizer(how, where, e));
    tn_ids ids = {0};
    size_t split = 0;
    tn_status st =
        tn_encode_completion(how->tokenizer, prompt, completion, how->seam, &ids, &split, where, e);
    if (st == TN_OK) {
        st = adopt(r, ids.v, ids.n, where, e);
        ids.v = NULL;
    }
    if (st == TN_OK) score_from(r, (int)split);
    tn_ids_free(&ids);
    return st;
}

static tn_status adopt_steps(tn_row *r, const tn_steps *s, const char *where, tn_err *e) {
    size_t n = s->prompt.n + s->ids.n;
    int32_t *all = tn_calloc(n + 1, sizeof *all);
    if (!all) return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    if (s->prompt.n) memcpy(all, s->prompt.v, s->prompt.n * sizeof *all);
    memcpy(all + s->prompt.n, s->ids.v, s->ids.n * sizeof *all);
    TN_TRY(adopt(r, all, n, where, e));
    for (size_t i = 0; i < s->end.n; i++) r->scored[s->prompt.n + (size_t)s->end.v[i]] = 1;
    r->n_scored = (int)s->end.n;
    if (s->prompt.n) r->start[r->n_seg++] = 0;
    r->start[r->n_seg++] = (int32_t)s->prompt.n;
    return TN_OK;
}

static tn_status read_steps(tn_row *r, const json_t *row, const tn_row_how *how, const char *where, tn_err *e) {
    const json_t *list = json_object_get(row, "step_ids"), *prompt = json_object_get(row, "prompt_ids");
    tn_steps s;
    memset(&s, 0, sizeof s);
    int32_t *v = NULL;
    size_t n = 0;
    tn_status st;
    if (list) {
        TN_GO(tn_json_ids(prompt, how->vocab, &v, &n, where, e), done);
        s.prompt = (tn_ids){v, n, n};
        TN_GO(tn_steps_of_ids(list, how->vocab, &s, where, e), done);
    } else {
        TN_GO(need_tokenizer(how, where, e), done);
        TN_GO(tn_encode_steps(how->tokenizer, json_object_get(row, "prompt"), json_object_get(row, "completions"),
                              &how->steps, &s, where, e),
              done);
    }
    st = adopt_steps(r, &s, where, e);
done:
    tn_steps_free(&s);
    return st;
}

static tn_status read_text(tn_row *r, const json_t *text, const tn_row_how *how, const char *where,
                           tn_err *e) {
    TN_TRY(need_tokenizer(how, where, e));
    if (!json_is_string(text)) return tn_fail(e, TN_FORMAT, "%s: \"text\" must be a string", where);
    tn_ids ids = {0};
    tn_status st = tn_encode_text(how->tokenizer, json_string_value(text), json_string_length(text),
                                  how->text_eos, &ids, e);
    if (st != TN_OK) {
        tn_ids_free(&ids);
        return tn_err_context(e, st, "%s", where);
    }
    TN_TRY(adopt(r, ids.v, ids.n, where, e));
    score_whole(r);
    return TN_OK;
}

tn_status tn_row_read(tn_row *r, const json_t *row, const tn_row_how *how, const char *where,
                      tn_err *e) {
    *r = (tn_row){0};
    const json_t *prompt_ids = json_object_get(row, "prompt_ids"),
                 *ids = json_object_get(row, "ids");
    const json_t *messages = json_object_get(row, "messages"),
                 *prompt = json_object_get(row, "prompt");
    const json_t *completion = json_object_get(row, "completion"),
                 *text = json_object_get(row, "text");
    if (!messages) messages = json_object_get(row, "conversations");
    if (json_object_get(row, "step_ids") || json_object_get(row, "completions"))
        TN_TRY(read_steps(r, row, how, where, e));
    else if (prompt_ids && ids) TN_TRY(read_prompt_ids(r, prompt_ids, ids, how, where, e));
    else if (ids) TN_TRY(read_ids(r, ids, how, where, e));
    else if (messages) TN_TRY(read_messages(r, messages, how, where, e));
    else if (prompt && completion) TN_TRY(read_completion(r, prompt, completion, how, where, e));
    else if (text) TN_TRY(read_text(r, text, how, where, e));
    else
        return tn_fail(e, TN_FORMAT,
                       "%s: the row has none of \"ids\", \"prompt_ids\" with \"ids\", \"text\", "
                       "\"prompt\" with \"completion\", \"messages\"",
                       where);
    return check_vocab(r, how->vocab, where, e);
}
