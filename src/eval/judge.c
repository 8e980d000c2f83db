/* Texts of a judge, batches of them, and the two options' log-probs at their last token; see judge.h. */
#include "eval/judge.h"
#include "algo/algo.h"
#include "base/signals.h"
#include <string.h>

/* What waits for the next forward: texts, one segment each. */
typedef struct batch {
    tn_ids ids;
    size_t *end; /* of each text in ids */
    int *of;     /* row of each text; ~row when its options are in the other order */
    size_t n, cap_end, cap_of;
} batch;

typedef struct judging {
    const tn_judge *j;
    int32_t option[2]; /* tokens of A and B */
    tn_ids lead;       /* what both options begin with, given to the model */
    batch b;
    tn_forest forest;
    tn_run *run;
    int run_tokens, run_rows;
    int32_t *rows, *target;
    double *logp, *p, bias;
    size_t cap_rows, cap_target, cap_logp;
    long texts;
    tn_str text;
} judging;

/* "(A)" and "(B)": the ids that they share, then one each. */
static tn_status find_options(judging *g, tn_err *e) {
    tn_ids a = {0}, b = {0};
    tn_status st = tn_encode(g->j->tok, "(A)", 3, false, &a, NULL, e);
    if (st == TN_OK) st = tn_encode(g->j->tok, "(B)", 3, false, &b, NULL, e);
    size_t k = 0;
    while (st == TN_OK && k < a.n && k < b.n && a.v[k] == b.v[k]) k++;
    if (st == TN_OK && (k == a.n || k == b.n))
        st = tn_fail(e, TN_UNSUPPORTED, "the tokenizer does not tell \"(A)\" from \"(B)\"; a judge needs options of their own");
    if (st == TN_OK) g->option[0] = a.v[k], g->option[1] = b.v[k], a.n = k, g->lead = a;
    else tn_ids_free(&a);
    tn_ids_free(&b);
    return st;
}

/* The text of a response, a string or messages. */
static const char *text_of(const json_t *r) {
    if (json_is_array(r)) r = json_array_get(r, json_array_size(r) - 1);
    return json_string_value(json_is_object(r) ? json_object_get(r, "content") : r);
}

static tn_status encode_world(judging *g, const tn_message *m, size_t n, const char *question, const char *a, const char *b,
                              tn_err *e) {
    tn_str *t = &g->text;
    uint8_t *mask = NULL;
    TN_TRY(tn_chat_encode(g->j->tok, m, n, false, &g->b.ids, &mask, e));
    tn_free(mask);
    tn_str_clear(t);
    tn_str_addf(t, "Principle: %s Options: (A) [ %s ] (B) [ %s ] Answer:", question, a, b);
    if (t->oom) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_encode(g->j->tok, t->s, t->len, false, &g->b.ids, NULL, e);
}

static tn_status encode_chat(judging *g, const tn_message *m, size_t n, const char *question, const char *a, const char *b,
                             tn_err *e) {
    tn_str *t = &g->text;
    uint8_t *mask = NULL;
    tn_str_clear(t);
    tn_str_addz(t, "Here is a conversation between a user and an assistant.\n\n");
    for (size_t i = 0; i < n; i++)
        tn_str_addf(t, "%s: %.*s\n", m[i].role, (int)m[i].content_len, m[i].content);
    tn_str_addf(t, "\n%s\nOptions:\n(A) %s\n(B) %s\nAnswer with (A) or (B).", question, a, b);
    if (t->oom) return tn_fail(e, TN_NOMEM, "out of memory");
    const tn_message one = {"user", t->s, t->len};
    tn_status st = tn_chat_encode(g->j->tok, &one, 1, true, &g->b.ids, &mask, e);
    tn_free(mask);
    return st;
}

static tn_status encode_one(judging *g, const json_t *prompt, const char *question, const char *a, const char *b,
                            const char *where, tn_err *e) {
    const char *plain = json_string_value(prompt);
    tn_message one = {"user", plain, plain ? strlen(plain) : 0}, *m = NULL;
    size_t n = 1;
    if (!plain) TN_TRY(tn_messages_from_json(prompt, &m, &n, where, e));
    tn_status st = (g->j->layout == TN_JUDGE_WORLD ? encode_world : encode_chat)(g, plain ? &one : m, n, question, a, b, e);
    for (size_t i = 0; i < g->lead.n && st == TN_OK; i++) {
        if (!TN_GROW(g->b.ids.v, g->b.ids.cap, g->b.ids.n + 1)) st = tn_fail(e, TN_NOMEM, "out of memory");
        else g->b.ids.v[g->b.ids.n++] = g->lead.v[i];
    }
    tn_free(m);
    return st == TN_OK ? st : tn_err_context(e, st, "%s", where);
}

static tn_status need_run(judging *g, tn_err *e) {
    int tokens = (int)g->b.ids.n, rows = 2 * (int)g->b.n;
    if (g->run && tokens <= g->run_tokens && rows <= g->run_rows) return TN_OK;
    if (tokens < g->run_tokens) tokens = g->run_tokens;
    if (rows < g->run_rows) rows = g->run_rows;
    tn_run_free(g->run);
    g->run = NULL;
    TN_TRY(tn_run_new(&g->run, g->j->model, tokens, rows < 1024 ? rows : 1024, tokens, TN_KEEP_NOTHING, e));
    g->run_tokens = tokens, g->run_rows = rows;
    return TN_OK;
}

/* Judges what waits. */
static tn_status flush(judging *g, tn_err *e) {
    batch *b = &g->b;
    size_t n = 2 * b->n;
    if (!n) return TN_OK;
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while judging");
    if (!TN_GROW(g->rows, g->cap_rows, n) || !TN_GROW(g->target, g->cap_target, n) || !TN_GROW(g->logp, g->cap_logp, n))
        return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(need_run(g, e));
    tn_forest_clear(&g->forest);
    for (size_t i = 0, from = 0; i < b->n; from = b->end[i++]) {
        int up;
        TN_TRY(tn_forest_add(&g->forest, b->ids.v + from, (int)(b->end[i] - from), -1, (int)i, &up, e));
        for (int k = 0; k < 2; k++)
            g->rows[2 * i + (size_t)k] = (int32_t)b->end[i] - 1, g->target[2 * i + (size_t)k] = g->option[k];
    }
    TN_TRY(tn_forest_finish(&g->forest, e));
    TN_TRY(tn_forward_rows(g->run, g->j->model, &g->forest, g->rows, (int)n, e));
    TN_TRY(tn_lm_head(g->run, g->j->model,
                      &(tn_lm){.n = (int)n, .rows = g->rows, .target = g->target, .inv_temp = 1, .logp = g->logp}, e));
    for (size_t i = 0; i < b->n; i++) {
        double a = tn_sigmoid(g->logp[2 * i] - g->logp[2 * i + 1]);
        bool other = b->of[i] < 0;
        g->p[other ? ~b->of[i] : b->of[i]] += (other ? 1 - a : a) / (2 * g->j->n_question);
        g->bias += a - 0.5;
    }
    g->texts += (long)b->n;
    b->n = b->ids.n = 0;
    return TN_OK;
}

/* Adds one text; when the batch was full without it, the others are judged first. */
static tn_status add(judging *g, const json_t *prompt, const char *question, const char *a, const char *b, int of,
                     const char *where, tn_err *e) {
    batch *t = &g->b;
    size_t before = t->ids.n;
    if (!TN_GROW(t->end, t->cap_end, t->n + 1) || !TN_GROW(t->of, t->cap_of, t->n + 1))
        return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(encode_one(g, prompt, question, a, b, where, e));
    size_t now = t->ids.n;
    if (before && now > (size_t)g->j->max_tokens) {
        t->ids.n = before;
        TN_TRY(flush(g, e));
        memmove(t->ids.v, t->ids.v + before, (now - before) * sizeof *t->ids.v);
        t->ids.n = now - before;
    }
    t->end[t->n] = t->ids.n, t->of[t->n++] = of;
    return TN_OK;
}

static tn_status judge_row(judging *g, const json_t *row, int i, const char *where, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt"), *list = json_object_get(row, "responses");
    const char *a = text_of(json_array_get(list, 0)), *b = text_of(json_array_get(list, 1));
    if (!prompt || json_array_size(list) != 2 || !a || !b)
        return tn_fail(e, TN_FORMAT, "%s: a judge needs \"prompt\" and two \"responses\" with texts", where);
    for (int q = 0; q < g->j->n_question; q++) {
        TN_TRY(add(g, prompt, g->j->question[q], a, b, i, where, e));
        TN_TRY(add(g, prompt, g->j->question[q], b, a, ~i, where, e));
    }
    return TN_OK;
}

tn_status tn_judge_pairs(const tn_judge *j, json_t *const *row, const char *const *where, int n, double *p, double *bias,
                         tn_err *e) {
    judging g = {.j = j, .p = p};
    for (int i = 0; i < n; i++) p[i] = 0;
    tn_status st = find_options(&g, e);
    for (int i = 0; st == TN_OK && i < n; i++) st = judge_row(&g, row[i], i, where[i], e);
    if (st == TN_OK) st = flush(&g, e);
    *bias = g.texts ? g.bias / (double)g.texts : 0;
    tn_ids_free(&g.lead);
    tn_ids_free(&g.b.ids);
    tn_free(g.b.end), tn_free(g.b.of);
    tn_free(g.rows), tn_free(g.target), tn_free(g.logp);
    tn_forest_free(&g.forest);
    tn_run_free(g.run);
    tn_str_free(&g.text);
    return st;
}
