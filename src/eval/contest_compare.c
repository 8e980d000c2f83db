/* A contest's answers as stages side by side. */
#include "eval/contest.h"
#include <math.h>
#include <string.h>

typedef struct texts { char **list; size_t n, cap; } texts;

static tn_status keep(texts *x, const tn_str *s, const char **out, tn_err *e) {
    char *copy = TN_GROW(x->list, x->cap, x->n + 1) ? tn_strdup(s->s) : NULL;
    if (!copy) return tn_fail(e, TN_NOMEM, "out of memory");
    *out = x->list[x->n++] = copy;
    return TN_OK;
}

static tn_status fill(const tn_contest *t, const tn_tokenizer *tok, tn_compare *s, texts *x, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_status st = TN_OK;
    for (int k = 0; k < t->n_c && st == TN_OK; k++) {
        tn_stage *g = &s->stage[k];
        g->name = t->c[k].name;
        for (int i = 0; i < t->n && st == TN_OK; i++) {
            const tn_answer *a = &t->c[k].answer[i];
            st = tn_contest_text(t, tok, a->ids, a->n - a->ended, &text, e);
            if (st == TN_OK) st = keep(x, &text, &g->text[i], e);
            g->ended[i] = a->ended;
            g->score[i] = t->world ? a->v.reward : a->proxy;
            if (t->world) g->harm[i] = a->v.harmful || a->v.leak;
            else if (isfinite(a->cost)) g->harm[i] = a->cost > 0;
        }
    }
    tn_str_free(&text);
    return st;
}

/* False: no row says what kind of prompt it is. */
static bool kinds(const tn_contest *t, bool *red) {
    bool any = t->world;
    for (int i = 0; i < t->n; i++) {
        const char *kind = t->world ? tn_world_task_name[t->prompt[i].task] : tn_compare_kind(t->rows->ex[i].meta);
        red[i] = tn_compare_asks_harm(kind);
        any = any || kind;
    }
    return any;
}

tn_status tn_contest_compare(const tn_contest *t, const tn_tokenizer *tok, json_t **out, tn_err *e) {
    tn_compare s = {0};
    texts x = {0};
    bool *red = tn_calloc((size_t)t->n + 1, sizeof *red);
    tn_status st = red ? tn_compare_room(&s, t->n_c, t->n, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = fill(t, tok, &s, &x, e);
    if (st == TN_OK) {
        s.red = kinds(t, red) ? red : NULL;
        s.judge = t->world ? "reward" : "proxy";
        st = tn_compare_measure(&s, e);
    }
    if (st == TN_OK) st = tn_compare_json(&s, t->seed, out, e);
    tn_compare_free(&s);
    for (size_t i = 0; i < x.n; i++) tn_free(x.list[i]);
    tn_free(x.list), tn_free(red);
    return st;
}
