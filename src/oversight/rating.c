#include "oversight/rating.h"
#include "base/mathx.h"
#include "oversight/rows.h"
#include <math.h>
#include <string.h>

/* One way to ask: a row under a principle, in an order, with a chain of thought or without. */
typedef struct asking {
    int row, principle, order, thought;
    double weight;
    tn_ids ids;
    tn_str text;
    const char *reasoning; /* the store's */
} asking;

typedef struct job {
    const tn_labelling *l;
    bool score;
    json_t *const *row;
    json_t **conversation;
    int n, n_ask, per; /* per: askings of a row under one principle, one after the other */
    asking *ask;
    size_t cap_ask;
    tn_question *q;
    tn_answer *a;
    double *logp;
} job;

enum { SCORES = 10 };

static int options_of(const job *j) { return j->score ? SCORES : 2; }

static tn_status add(job *j, int row, int principle, double weight, tn_err *e) {
    int thoughts = j->per / (j->score ? 1 : 2);
    if (!TN_GROW(j->ask, j->cap_ask, (size_t)(j->n_ask + j->per))) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < j->per; k++)
        j->ask[j->n_ask++] = (asking){.row = row, .principle = principle, .order = k / thoughts, .thought = k % thoughts, .weight = weight, .text = TN_STR_INIT};
    return TN_OK;
}

static tn_status open_row(job *j, int i, const char *where, tn_err *e) {
    int n, room = j->l->constitution->n_principle + TN_LABEL_PRINCIPLES;
    int *k = tn_calloc((size_t)room, sizeof *k);
    double *w = tn_calloc((size_t)room, sizeof *w);
    tn_status st = k && w ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK && !tn_answer_text(json_object_get(j->row[i], "response")))
        st = tn_fail(e, TN_FORMAT, "%s: a judge needs \"prompt\" and \"response\" with texts", where);
    if (st == TN_OK) st = tn_row_conversation(j->row[i], &j->conversation[i], where, e);
    if (st == TN_OK) st = tn_labelling_principles(j->l, i, j->row[i], where, room, k, w, &n, e);
    for (int d = 0; st == TN_OK && d < n; d++) st = add(j, i, k[d], w[d], e);
    tn_free(k);
    tn_free(w);
    return st;
}

static tn_status put_questions(job *j, tn_prompt_kind kind, const char *stage, tn_err *e) {
    const tn_labelling *l = j->l;
    for (int i = 0; i < j->n_ask; i++) {
        asking *a = &j->ask[i];
        const tn_principle *p = &l->constitution->principle[a->principle];
        tn_prompt_about about = {.conversation = j->conversation[a->row], .answer = tn_answer_text(json_object_get(j->row[a->row], "response")),
                                 .reasoning = a->reasoning, .principle = p, .swapped = a->order == 1};
        a->ids.n = 0;
        TN_TRY(tn_prompts_render(l->prompts, kind, &about, tn_asker_tokenizer(l->judge), &a->text, &a->ids, NULL, e));
        json_decref(j->q[i].about);
        json_t *asked = json_pack("{s:s,s:i,s:s,s:i}", "stage", stage, "row", a->row, "principle", p->id, "order", a->order);
        if (!asked) return tn_fail(e, TN_NOMEM, "out of memory");
        int way = a->order * TN_LABEL_THOUGHTS + a->thought;
        j->q[i] = (tn_question){.ids = a->ids.v, .n = (int)a->ids.n, .draw = tn_labelling_draw(l, a->row, a->principle, way), .about = asked,
                                .text = a->text.s, .n_text = a->text.len, .chat = tn_prompts_are_turns(l->prompts),
                                .stop = tn_prompts_stops(l->prompts)};
    }
    return TN_OK;
}

static tn_status think(job *j, tn_err *e) {
    const tn_labelling *l = j->l;
    TN_TRY(put_questions(j, TN_PROMPT_ASSESS, "assess", e));
    TN_TRY(tn_asker_sample(l->judge, j->q, j->n_ask, &l->reason, l->batch, "considerations", j->a, e));
    for (int i = 0; i < j->n_ask; i++) j->ask[i].reasoning = j->a[i].text;
    return TN_OK;
}

static tn_status choose(job *j, tn_err *e) {
    const tn_labelling *l = j->l;
    const tn_constitution *c = l->constitution;
    static const char *const digits[SCORES] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
    const char *lead = tn_prompts_are_turns(l->prompts) ? "" : " "; /* a text goes on with a space, a turn begins without */
    char text[SCORES][8];
    const char *option[SCORES] = {tn_constitution_label(c, "option_a", "(A)"), tn_constitution_label(c, "option_b", "(B)")};
    for (int i = 0; j->score && i < SCORES; i++) {
        snprintf(text[i], sizeof text[i], "%s%s", lead, digits[i]);
        option[i] = text[i];
    }
    TN_TRY(put_questions(j, j->score ? TN_PROMPT_SCORE : TN_PROMPT_VERDICT, j->score ? "score" : "verdict", e));
    if (!j->score) return tn_asker_options(l->judge, j->q, j->n_ask, option[0], option[1], l->max_tokens, "verdicts", j->logp, e);
    if (!tn_asker_tokenizer(l->judge)) return tn_fail(e, TN_UNSUPPORTED, "scores from 1 to 10 are a model's: an endpoint tells too few log-probs");
    return tn_asker_choices(l->judge, j->q, j->n_ask, option, SCORES, true, l->max_tokens, "ratings", j->logp, e);
}

/* ---- ratings ---- */

static tn_status expected_score(const double *logp, double *score, tn_err *e) {
    double p[SCORES], most = -HUGE_VAL, reward;
    for (int i = 0; i < SCORES; i++) most = logp[i] > most ? logp[i] : most;
    for (int i = 0; i < SCORES; i++) p[i] = tn_exp(logp[i] - most);
    return tn_direct_score(p, score, &reward, e);
}

/* Of one asking: s, or the probability of the first option. */
static tn_status value_of(const job *j, int i, double *v, tn_err *e) {
    const double *logp = j->logp + (size_t)i * (size_t)options_of(j);
    *v = NAN;
    if ((j->l->thoughts && !j->ask[i].reasoning) || isnan(logp[0])) return TN_OK;
    if (j->score) return expected_score(logp, v, e);
    *v = tn_label_soft(logp[0], logp[1]);
    return TN_OK;
}

/* Of one row under one principle: askings first .. first + per - 1. */
static tn_status under_principle(const job *j, int first, double *out, tn_err *e) {
    const tn_labelling *l = j->l;
    double v[2 * TN_LABEL_THOUGHTS], side[2];
    int orders = j->score ? 1 : 2, n = j->per / orders;
    for (int k = 0; k < j->per; k++) TN_TRY(value_of(j, first + k, &v[k], e));
    tn_cot_mean how = j->score ? TN_COT_PLAIN : l->cot;
    for (int o = 0; o < orders; o++) side[o] = l->thoughts ? tn_label_cot(v + o * n, n, l->clamp_lo, l->clamp_hi, how) : v[o];
    *out = j->score ? side[0] : tn_label_swapped(side[0], side[1], l->swap);
    if (l->constitution->principle[j->ask[first].principle].worse) *out = j->score ? SCORES + 1 - *out : 1 - *out;
    return TN_OK;
}

static tn_status decide(job *j, double *rating, tn_err *e) {
    double v;
    for (int i = 0, end; i < j->n_ask; i = end) {
        double sum = 0, all = 0;
        for (end = i; end < j->n_ask && j->ask[end].row == j->ask[i].row; end += j->per) {
            TN_TRY(under_principle(j, end, &v, e));
            sum += j->ask[end].weight * v, all += j->ask[end].weight;
        }
        rating[j->ask[i].row] = sum / all;
    }
    return TN_OK;
}

static tn_status work(job *j, const char *const *where, double *rating, tn_err *e) {
    for (int i = 0; i < j->n; i++) TN_TRY(open_row(j, i, where[i], e));
    size_t n = (size_t)j->n_ask + 1;
    j->q = tn_calloc(n, sizeof *j->q);
    j->a = tn_calloc(n, sizeof *j->a);
    j->logp = tn_calloc(n, (size_t)options_of(j) * sizeof *j->logp);
    if (!j->q || !j->a || !j->logp) return tn_fail(e, TN_NOMEM, "out of memory");
    if (j->l->thoughts) TN_TRY(think(j, e));
    TN_TRY(choose(j, e));
    return decide(j, rating, e);
}

tn_status tn_rate_rows(const tn_labelling *l, tn_rating_kind kind, json_t *const *row, const char *const *where, int n, double *rating, tn_err *e) {
    job j = {.l = l, .score = kind == TN_RATING_SCORE, .row = row, .n = n, .conversation = tn_calloc((size_t)n + 1, sizeof *j.conversation)};
    j.per = (l->thoughts ? l->thoughts : 1) * (j.score ? 1 : 2);
    tn_status st = j.conversation ? work(&j, where, rating, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; j.conversation && i < n; i++) json_decref(j.conversation[i]);
    for (int i = 0; i < j.n_ask; i++) {
        tn_ids_free(&j.ask[i].ids);
        tn_str_free(&j.ask[i].text);
        if (j.q) json_decref(j.q[i].about);
    }
    tn_free(j.conversation), tn_free(j.ask), tn_free(j.q), tn_free(j.a), tn_free(j.logp);
    return st;
}
