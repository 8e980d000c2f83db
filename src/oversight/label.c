#include "oversight/label.h"
#include "oversight/rows.h"
#include <math.h>
#include <string.h>

/* One way to ask: a pair under a principle in an order, with a chain of thought or without. */
typedef struct asking {
    int label, order, thought;
    tn_ids ids;
    tn_str text;
    const char *reasoning; /* the store's */
} asking;

typedef struct job {
    const tn_labelling *l;
    json_t *const *row;
    json_t **conversation;
    tn_label *label;
    int n, n_label;
    size_t cap_label;
    asking *ask;
    int n_ask;
    tn_question *q;
    tn_answer *a;
    double *logp;
} job;

/* ---- which principles ---- */

static tn_status add_label(job *j, int row, int principle, double weight, tn_err *e) {
    if (!TN_GROW(j->label, j->cap_label, (size_t)j->n_label + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
    j->label[j->n_label++] = (tn_label){.row = row, .principle = principle, .weight = weight};
    return TN_OK;
}

static uint64_t number_of(const tn_labelling *l, int i) { return l->number ? l->number[i] : (uint64_t)i; }

tn_status tn_labelling_principles(const tn_labelling *l, int i, const json_t *row, const char *where, int room, int *principle, double *weight,
                                  int *n, tn_err *e) {
    const char *kind = l->kind;
    *n = 0;
    if (l->kind_key) TN_TRY(tn_json_need_str(row, l->kind_key, &kind, where, e));
    for (; *n < l->principles && *n < room; weight[(*n)++] = 1)
        TN_TRY(tn_constitution_draw(l->constitution, TN_COMPARE, kind, l->seed, 16 * number_of(l, i) + (uint64_t)*n, &principle[*n], e));
    for (int k = 0; l->principles == 0 && k < l->constitution->n_principle && *n < room; k++) {
        double w = tn_principle_weight(&l->constitution->principle[k], TN_COMPARE, kind);
        if (w > 0) principle[*n] = k, weight[(*n)++] = w;
    }
    if (*n == 0)
        return tn_fail(e, TN_ARG, "%s: no enabled principle for compare applies to prompts of kind \"%s\"", where, kind ? kind : "(none)");
    return TN_OK;
}

uint64_t tn_labelling_draw(const tn_labelling *l, int i, int principle, int way) {
    return number_of(l, i) << 16 | (uint64_t)principle % 256 << 8 | (uint64_t)way;
}

static tn_status choose(job *j, int i, const char *where, tn_err *e) {
    int n, room = j->l->constitution->n_principle + TN_LABEL_PRINCIPLES;
    int *k = tn_calloc((size_t)room, sizeof *k);
    double *w = tn_calloc((size_t)room, sizeof *w);
    tn_status st = k && w ? tn_labelling_principles(j->l, i, j->row[i], where, room, k, w, &n, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int d = 0; st == TN_OK && d < n; d++) st = add_label(j, i, k[d], w[d], e);
    tn_free(k);
    tn_free(w);
    return st;
}

static tn_status open_row(job *j, int i, const char *where, tn_err *e) {
    const json_t *list = json_object_get(j->row[i], "responses");
    if (json_array_size(list) != 2 || !tn_answer_text(json_array_get(list, 0)) || !tn_answer_text(json_array_get(list, 1)))
        return tn_fail(e, TN_FORMAT, "%s: a judge needs \"prompt\" and two \"responses\" with texts", where);
    TN_TRY(tn_row_conversation(j->row[i], &j->conversation[i], where, e));
    return choose(j, i, where, e);
}

/* ---- asking ---- */

static tn_status render(job *j, asking *a, tn_prompt_kind kind, tn_err *e) {
    const tn_label *b = &j->label[a->label];
    const json_t *list = json_object_get(j->row[b->row], "responses");
    const char *text[2] = {tn_answer_text(json_array_get(list, 0)), tn_answer_text(json_array_get(list, 1))};
    tn_prompt_about about = {.conversation = j->conversation[b->row], .option_a = text[a->order], .option_b = text[!a->order],
                             .reasoning = a->reasoning, .principle = &j->l->constitution->principle[b->principle]};
    a->ids.n = 0;
    return tn_prompts_render(j->l->prompts, kind, &about, tn_asker_tokenizer(j->l->judge), &a->text, &a->ids, NULL, e);
}

static tn_status put_questions(job *j, tn_prompt_kind kind, const char *stage, tn_err *e) {
    for (int i = 0; i < j->n_ask; i++) {
        asking *a = &j->ask[i];
        const tn_label *b = &j->label[a->label];
        const json_t *id = json_object_get(j->row[b->row], "id");
        TN_TRY(render(j, a, kind, e));
        json_decref(j->q[i].about);
        json_t *about = json_pack("{s:s,s:O*,s:i,s:s,s:i}", "stage", stage, "id", json_is_string(id) ? id : NULL, "row", b->row, "principle",
                                  j->l->constitution->principle[b->principle].id, "order", a->order);
        if (!about) return tn_fail(e, TN_NOMEM, "out of memory");
        uint64_t draw = tn_labelling_draw(j->l, b->row, b->principle, a->order * TN_LABEL_THOUGHTS + a->thought);
        j->q[i] = (tn_question){.ids = a->ids.v, .n = (int)a->ids.n, .draw = draw, .about = about, .text = a->text.s, .n_text = a->text.len,
                                .chat = tn_prompts_are_turns(j->l->prompts), .stop = tn_prompts_stops(j->l->prompts)};
    }
    return TN_OK;
}

static tn_status think(job *j, tn_err *e) {
    const tn_labelling *l = j->l;
    TN_TRY(put_questions(j, TN_PROMPT_REASON, "reason", e));
    TN_TRY(tn_asker_sample(l->judge, j->q, j->n_ask, &l->reason, l->batch, "considerations", j->a, e));
    for (int i = 0; i < j->n_ask; i++) j->ask[i].reasoning = j->a[i].text;
    return TN_OK;
}

static tn_status make_askings(job *j, tn_err *e) {
    int per = j->l->thoughts ? j->l->thoughts : 1;
    size_t n = (size_t)j->n_label * 2 * (size_t)per;
    j->ask = tn_calloc(n, sizeof *j->ask);
    j->q = tn_calloc(n, sizeof *j->q);
    j->a = tn_calloc(n, sizeof *j->a);
    j->logp = tn_calloc(2 * n, sizeof *j->logp);
    if (!j->ask || !j->q || !j->a || !j->logp) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int b = 0; b < j->n_label; b++)
        for (int o = 0; o < 2; o++)
            for (int t = 0; t < per; t++) j->ask[j->n_ask++] = (asking){.label = b, .order = o, .thought = t, .text = TN_STR_INIT};
    return TN_OK;
}

/* ---- labels ---- */

/* P(A) of an order: of its chains of thought, which lie one after the other; NaN when none led to a verdict. */
static double of_order(const job *j, int first) {
    const tn_labelling *l = j->l;
    double p[TN_LABEL_THOUGHTS];
    int n = l->thoughts ? l->thoughts : 1, m = 0;
    for (int t = 0; t < n; t++) {
        double a = j->logp[2 * (first + t)], b = j->logp[2 * (first + t) + 1];
        bool thought = !l->thoughts || j->ask[first + t].reasoning; /* else it was too long for one */
        if (thought && !isnan(a) && !isnan(b)) p[m++] = tn_label_soft(a, b);
    }
    return m == 0 ? NAN : l->thoughts ? tn_label_cot(p, m, l->clamp_lo, l->clamp_hi, l->cot) : p[0];
}

static tn_status decide(job *j, double *p, tn_err *e) {
    int per = j->l->thoughts ? j->l->thoughts : 1;
    for (int b = 0; b < j->n_label; b++) {
        tn_label *x = &j->label[b];
        x->p1 = of_order(j, 2 * b * per);
        x->p2 = of_order(j, (2 * b + 1) * per);
        x->p = tn_label_swapped(x->p1, x->p2, j->l->swap);
        if (j->l->constitution->principle[x->principle].worse) x->p = 1 - x->p;
    }
    double *of = tn_calloc(2 * (size_t)j->n_label, sizeof *of), *w = of + j->n_label;
    tn_status st = of ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int b = 0; b < j->n && st == TN_OK; b++) p[b] = NAN;
    for (int b = 0, end; b < j->n_label && st == TN_OK; b = end) {
        int row = j->label[b].row, m = 0;
        for (end = b; end < j->n_label && j->label[end].row == row; end++)
            if (!isnan(j->label[end].p)) of[m] = j->label[end].p, w[m++] = j->label[end].weight;
        if (m > 0) st = tn_label_ensemble(of, w, m, &p[row], e);
    }
    tn_free(of);
    return st;
}

static tn_status work(job *j, const char *const *where, double *p, tn_err *e) {
    const tn_labelling *l = j->l;
    for (int i = 0; i < j->n; i++) TN_TRY(open_row(j, i, where[i], e));
    TN_TRY(make_askings(j, e));
    if (l->thoughts) TN_TRY(think(j, e));
    TN_TRY(put_questions(j, TN_PROMPT_COMPARE, "compare", e));
    TN_TRY(tn_asker_options(l->judge, j->q, j->n_ask, tn_constitution_label(l->constitution, "option_a", "(A)"),
                            tn_constitution_label(l->constitution, "option_b", "(B)"), l->max_tokens, "comparisons", j->logp, e));
    return decide(j, p, e);
}

json_t *tn_label_json(const tn_label *x, const char *judge, const tn_constitution *c) {
    return json_pack("{s:s*,s:s,s:o,s:o,s:o}", "judge", judge, "principle", c->principle[x->principle].id, "p_order1", tn_json_number(x->p1),
                     "p_order2", tn_json_number(x->p2), "p", tn_json_number(x->p));
}

tn_status tn_label_rows(const tn_labelling *l, json_t *const *row, const char *const *where, int n, double *p, tn_label **label,
                        int *n_label, tn_err *e) {
    job j = {.l = l, .row = row, .n = n, .conversation = tn_calloc((size_t)n + 1, sizeof *j.conversation)};
    tn_status st = j.conversation ? work(&j, where, p, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; j.conversation && i < n; i++) json_decref(j.conversation[i]);
    for (int i = 0; i < j.n_ask; i++) {
        tn_ids_free(&j.ask[i].ids);
        tn_str_free(&j.ask[i].text);
        json_decref(j.q[i].about);
    }
    tn_free(j.conversation), tn_free(j.ask), tn_free(j.q), tn_free(j.a), tn_free(j.logp);
    if (st != TN_OK) tn_free(j.label), j.label = NULL, j.n_label = 0;
    *label = j.label;
    *n_label = j.n_label;
    return st;
}
