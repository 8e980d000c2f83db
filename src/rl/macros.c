#include "rl/macros.h"
#include <string.h>

static bool is(const char *a, const char *b) { return a && strcmp(a, b) == 0; }

bool tn_macros_wanted(const tn_macro_opt *o) { return o && !is(o->rule, "none"); }

static int lengths_of(const tn_macro_opt *o) { return (o->lengths.n ? o->lengths.n : 4) * (int)o->repeat; }

tn_status tn_macros_check(const tn_macro_opt *o, bool has_text, tn_err *e) {
    tn_macro_rule rule;
    tn_macro_weight w;
    uint32_t out[1024];
    int n;
    if (!tn_macros_wanted(o)) return TN_OK;
    TN_TRY(tn_macro_parse(o, &rule, &w, e));
    if (rule == TN_MACRO_RANDOM) TN_TRY(tn_macro_lengths(o, 0, 0, out, 1024, &n, e));
    if (rule == TN_MACRO_PARSE && !has_text)
        return tn_fail(e, TN_ARG,
                       "--macro-action parse reads the text of responses, and the policy has no tokenizer.json");
    return TN_OK;
}

static size_t room(int n, int max_new) { return (size_t)n * (size_t)max_new + (size_t)n + 2; }

tn_status tn_macros_new(tn_rollout_macros *a, const tn_macro_opt *o, int n, int max_new, uint64_t seed,
                        const tn_tokenizer *tok, tn_err *e) {
    memset(a, 0, sizeof *a);
    if (!tn_macros_wanted(o)) return TN_OK;
    TN_TRY(tn_macro_parse(o, &a->rule, &a->weight, e));
    size_t all = room(n, max_new);
    a->o = o, a->seed = seed, a->tok = tok;
    a->seq_off = tn_calloc((size_t)n + 1, sizeof *a->seq_off);
    a->off = tn_calloc(all, sizeof *a->off);
    a->begins = tn_calloc(all, 1);
    double **v[] = {&a->m.value, &a->m.reward, &a->m.advantage, &a->m.ret};
    bool ok = a->seq_off && a->off && a->begins;
    for (int i = 0; i < 4; i++) ok = (*v[i] = tn_calloc(all, sizeof(double))) && ok;
    if (a->rule == TN_MACRO_RANDOM) {
        a->max_length = lengths_of(o);
        ok = (a->lengths = tn_calloc((size_t)a->max_length, sizeof *a->lengths)) && ok;
    }
    if (a->rule == TN_MACRO_PARSE) {
        ok = (a->span = tn_calloc(4 * (size_t)max_new, sizeof *a->span)) && ok;
        ok = (a->level = tn_calloc((size_t)max_new, 1)) && ok;
    }
    if (!ok) return tn_fail(e, TN_NOMEM, "out of memory for macro actions of %d responses", n);
    a->m.seq_off = a->seq_off, a->m.off = a->off;
    return TN_OK;
}

size_t tn_macros_bytes(const tn_macro_opt *o, int n, int max_new) {
    return tn_macros_wanted(o) ? room(n, max_new) * (4 * sizeof(double) + sizeof(int) + 1) : 0;
}

void tn_macros_free(tn_rollout_macros *a) {
    void *p[] = {a->seq_off, a->off,     a->begins,   a->lengths,     a->span,
                 a->level,   a->m.value, a->m.reward, a->m.advantage, a->m.ret};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_str_free(&a->text);
    memset(a, 0, sizeof *a);
}

static tn_status cut_one(tn_rollout_macros *a, const tn_rollouts *r, int i, uint64_t index, int *off, int *n,
                         tn_err *e) {
    const tn_response *y = &r->response[i];
    tn_macro_text t = {.n = y->n, .lengths = a->lengths, .span = a->span};
    if (r->has_ref) t.ref_logp = r->ref_logp + r->off[i];
    if (a->lengths) TN_TRY(tn_macro_lengths(a->o, a->seed, index, a->lengths, a->max_length, &t.n_length, e));
    if (a->span) TN_TRY(tn_macros_parse(a->tok, y->ids, y->n, &a->text, a->level, a->span, &t.n_span, e));
    return tn_macro_cut(a->rule, a->o->length, &t, off, n, e);
}

tn_status tn_macros_cut(tn_rollout_macros *a, tn_rollouts *r, uint64_t first_key, tn_err *e) {
    int at = 0;
    if (!a->o) return TN_OK;
    memset(a->begins, 0, (size_t)r->n_tok);
    for (int i = 0; i < r->n; i++) {
        int n;
        TN_TRY(cut_one(a, r, i, first_key + (uint64_t)i, a->off + at, &n, e));
        a->seq_off[i] = at;
        for (int k = at; k < at + n; k++) {
            bool empty = a->off[k] == a->off[k + 1];
            a->off[k] += r->off[i];
            if (!empty) a->begins[a->off[k]] = 1;
        }
        at += n;
    }
    a->seq_off[r->n] = at;
    a->off[at] = r->n_tok;
    a->m.n_seq = r->n;
    for (int i = 0; is(a->o->loss, "macro") && i < r->n_ex; i++) r->ex[i].macro = a->begins + r->tok[i];
    return TN_OK;
}

void tn_macros_gae(tn_rollout_macros *a, const tn_rollouts *r, const double *reward, const double *value,
                   double gamma, double lambda, double *advantage, double *ret, tn_metrics *m) {
    tn_metrics none = {0};
    if (!a->o) tn_gae(r->n, r->off, reward, value, gamma, lambda, advantage, ret);
    else
        tn_macro_gae(a->weight, is(a->o->reward, "mean"), reward, value, gamma, lambda, &a->m, advantage, ret,
                     m ? m : &none);
}

/* ---- a parse by punctuation ---- */

typedef struct marks { bool word, clause, sentence; } marks; /* token begins a word; ends a clause, a sentence */

static tn_status look(const tn_tokenizer *tok, int32_t id, tn_str *text, marks *k, tn_err *e) {
    tn_str_clear(text);
    TN_TRY(tn_decode(tok, &id, 1, false, text, e));
    size_t n = text->len;
    bool line = n && memchr(text->s, '\n', n);
    k->word = n && (text->s[0] == ' ' || text->s[0] == '\n');
    while (n && (text->s[n - 1] == ' ' || text->s[n - 1] == '\n')) n--;
    char last = n ? text->s[n - 1] : 0;
    k->sentence = line || (last && strchr(".!?", last));
    k->clause = last && strchr(",;:", last);
    return TN_OK;
}

/* Nodes of level d begin at tokens whose bit d is set; every bit comes with those of the deeper levels. */
enum { SENTENCE = 1, CLAUSE = 2, WORD = 4, TOKEN = 8 };

/* Nodes of [first, end) from `level` down; one equal to its parent is left out. */
static int add_nodes(const uint8_t *begins, int first, int end, int level, int *span, int n) {
    for (int i = first; level <= TOKEN && i < end;) {
        int to = i + 1;
        while (to < end && !(begins[to] & level)) to++;
        if (i != first || to != end) span[2 * n] = i, span[2 * n + 1] = to, n++;
        n = add_nodes(begins, i, to, level << 1, span, n);
        i = to;
    }
    return n;
}

tn_status tn_macros_parse(const tn_tokenizer *tok, const int32_t *ids, int n, tn_str *text, uint8_t *level, int *span,
                          int *n_span, tn_err *e) {
    marks k, before = {.sentence = true};
    for (int i = 0; i < n; i++) {
        TN_TRY(look(tok, ids[i], text, &k, e));
        bool sentence = before.sentence, clause = sentence || before.clause, word = clause || k.word;
        level[i] = (uint8_t)(TOKEN | word * WORD | clause * CLAUSE | sentence * SENTENCE);
        before = k;
    }
    span[0] = 0, span[1] = n;
    *n_span = add_nodes(level, 0, n, SENTENCE, span, 1);
    return TN_OK;
}
