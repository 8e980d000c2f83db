#include "oversight/appraise.h"
#include "base/mathx.h"
#include "oversight/rating.h"
#include "oversight/rows.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_appraise_options, f)
const tn_opt_row tn_appraise_rows[] = {
    {"judge-asks", TN_OPT_CHOICE, AT(ask), "each-other", "each-other|reference|verdict|score", 0, 0, NULL, NULL,
     "each-other: which of two responses to a prompt is better, of all pairs of them. reference: whether a response is better than the "
     "row's own answers. verdict: whether it does by the principle. score: how well, from 1 to 10."},
    {"judge-reward", TN_OPT_CHOICE, AT(as), "prob", "prob|logit", 0, 0, NULL, NULL,
     "prob: the mean probability of being the better one (or of the verdict). logit: of log-odds, a Bradley-Terry score."},
    {"judge-reference-key", TN_OPT_STRING, AT(key), "responses", NULL, 0, 0, NULL, "KEY",
     "Field of the rows with the answer, or list of answers, that responses are compared with."},
    TN_OPT_LAST};

bool tn_appraise_needs(const tn_appraise_options *o, const char *what) { return !strcmp(o->ask, what); }
bool tn_appraise_compares(const tn_appraise_options *o) { return tn_appraise_needs(o, "each-other") || tn_appraise_needs(o, "reference"); }

/* ---- what can be asked ---- */

tn_status tn_appraise_check(const tn_appraise_options *o, int n, tn_err *e) {
    if (tn_appraise_needs(o, "each-other") && n < 2)
        return tn_fail(e, TN_ARG, "--judge-asks each-other compares the responses to a prompt, and there is one; say reference, verdict or score");
    if (tn_appraise_needs(o, "score") && !strcmp(o->as, "logit"))
        return tn_fail(e, TN_ARG, "--judge-reward logit: a score from 1 to 10 has no log-odds; leave it out, or take --judge-asks verdict");
    return TN_OK;
}

/* How many texts answers to a row's prompt are compared with; 0: none, or they are no texts. */
static size_t references(const tn_appraise_options *o, const json_t *row) {
    const json_t *v = json_object_get(row, o->key);
    if (!json_is_array(v)) return tn_answer_text(v) != NULL;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!tn_answer_text(json_array_get(v, i))) return 0;
    return json_array_size(v);
}

static const char *reference(const tn_appraise_options *o, const json_t *row, size_t i) {
    const json_t *v = json_object_get(row, o->key);
    return tn_answer_text(json_is_array(v) ? json_array_get(v, i) : v);
}

tn_status tn_appraise_fits(const tn_appraise_options *o, const char *kind_key, const json_t *row, const char *where, tn_err *e) {
    const char *kind;
    json_t *talk;
    TN_TRY(tn_row_conversation(row, &talk, where, e));
    json_decref(talk);
    if (kind_key) TN_TRY(tn_json_need_str(row, kind_key, &kind, where, e));
    if (tn_appraise_needs(o, "reference") && !references(o, row))
        return tn_fail(e, TN_FORMAT, "%s: --judge-asks reference compares with the row's \"%s\", which is to be a text or texts; `tenet generate "
                       "--grouped` writes such rows", where, o->key);
    return TN_OK;
}

/* ---- questions ---- */

typedef struct question {
    int of, a, b; /* prompt; answers, counted over all prompts; b < 0: a text of the row, or none */
} question;

typedef struct job {
    const tn_labelling *l;
    const tn_appraise_options *o;
    const tn_appraised *x;
    tn_appraise_stats *stats;
    double *sum;  /* the rewards on their way */
    int *heard;   /* judgements of each answer that count */
    json_t **row; /* [n] questions */
    const char **where;
    uint64_t *number;
    question *q;
    double *p;
    int n;
    size_t cap_row, cap_where, cap_number, cap_q, cap_p;
} job;

static tn_status ask(job *j, question q, const char *a, const char *b, tn_err *e) {
    const tn_appraised *x = &j->x[q.of];
    size_t n = (size_t)j->n + 1;
    if (!TN_GROW(j->row, j->cap_row, n) || !TN_GROW(j->where, j->cap_where, n) || !TN_GROW(j->number, j->cap_number, n) ||
        !TN_GROW(j->q, j->cap_q, n) || !TN_GROW(j->p, j->cap_p, n))
        return tn_fail(e, TN_NOMEM, "out of memory");
    json_t *row = json_copy((json_t *)x->row);
    j->row[j->n] = row, j->where[j->n] = x->where, j->number[j->n] = x->number, j->q[j->n] = q;
    j->n++;
    bool ok = row && (b ? json_object_set_new(row, "responses", json_pack("[s,s]", a, b)) : json_object_set_new(row, "response", json_string(a))) == 0;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory, or an answer that is not UTF-8");
}

/* p of question q, or NaN when the judge could not read it. */
static void count(job *j, question q, double p) {
    tn_appraise_stats *s = &j->stats[q.of];
    s->comparisons++;
    if (isnan(p)) {
        s->unread++;
        return;
    }
    s->margin += fabs(p - 0.5);
    bool logit = !strcmp(j->o->as, "logit");
    double in = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p, v = logit ? tn_log(in) - tn_log1p(-in) : p;
    j->sum[q.a] += v, j->heard[q.a]++;
    if (q.b >= 0) j->sum[q.b] += logit ? -v : 1 - v, j->heard[q.b]++;
}

static tn_status compare(job *j, question q, const char *a, const char *b, tn_err *e) {
    if (strcmp(a, b)) return ask(j, q, a, b, e);
    j->stats[q.of].equal++;
    count(j, q, 0.5);
    return TN_OK;
}

/* About the answers to prompt i, the first of which is number `first`. */
static tn_status ask_about(job *j, int i, int first, tn_err *e) {
    const tn_appraised *x = &j->x[i];
    for (int a = 0; a < x->n; a++) {
        if (!tn_appraise_compares(j->o)) TN_TRY(ask(j, (question){i, first + a, -1}, x->answer[a], NULL, e));
        for (size_t k = 0; tn_appraise_needs(j->o, "reference") && k < references(j->o, x->row); k++)
            TN_TRY(compare(j, (question){i, first + a, -1}, x->answer[a], reference(j->o, x->row, k), e));
        for (int b = a + 1; tn_appraise_needs(j->o, "each-other") && b < x->n; b++)
            TN_TRY(compare(j, (question){i, first + a, first + b}, x->answer[a], x->answer[b], e));
    }
    return TN_OK;
}

/* ---- judgements ---- */

static tn_status hear_comparisons(job *j, const tn_labelling *l, tn_err *e) {
    tn_label *label;
    int n;
    TN_TRY(tn_label_rows(l, j->row, j->where, j->n, j->p, &label, &n, e));
    for (int i = 0; i < n; i++) {
        double bias = tn_label_position_bias(label[i].p1, label[i].p2, TN_SWAP_PROBS);
        tn_appraise_stats *s = &j->stats[j->q[label[i].row].of];
        if (!isnan(bias)) s->asked++, s->position += bias;
    }
    for (int i = 0; i < j->n; i++) count(j, j->q[i], j->p[i]);
    tn_free(label);
    return TN_OK;
}

static tn_status hear_ratings(job *j, const tn_labelling *l, tn_err *e) {
    bool score = tn_appraise_needs(j->o, "score");
    TN_TRY(tn_rate_rows(l, score ? TN_RATING_SCORE : TN_RATING_VERDICT, j->row, j->where, j->n, j->p, e));
    for (int i = 0; i < j->n; i++) {
        if (!score) count(j, j->q[i], j->p[i]);
        else j->sum[j->q[i].a] = (j->p[i] - 5.5) / 4.5, j->heard[j->q[i].a] = 1;
    }
    return TN_OK;
}

static tn_status work(job *j, int n, int answers, tn_err *e) {
    tn_labelling l = *j->l;
    if (!(j->heard = tn_calloc((size_t)answers + 1, sizeof *j->heard))) return tn_fail(e, TN_NOMEM, "out of memory");
    memset(j->sum, 0, (size_t)answers * sizeof *j->sum);
    memset(j->stats, 0, (size_t)n * sizeof *j->stats);
    for (int i = 0, first = 0; i < n; first += j->x[i++].n) TN_TRY(ask_about(j, i, first, e));
    l.number = j->number;
    if (j->n) TN_TRY(tn_appraise_compares(j->o) ? hear_comparisons(j, &l, e) : hear_ratings(j, &l, e));
    bool self = tn_appraise_needs(j->o, "each-other") && !strcmp(j->o->as, "logit"); /* logit P(i > i) = 0 counts, too */
    for (int i = 0; i < answers; i++) j->sum[i] = j->heard[i] ? j->sum[i] / (j->heard[i] + self) : NAN;
    return TN_OK;
}

tn_status tn_appraise(const tn_labelling *l, const tn_appraise_options *o, const tn_appraised *x, int n, double *reward, tn_appraise_stats *stats,
                      tn_err *e) {
    job j = {.l = l, .o = o, .x = x, .sum = reward, .stats = stats};
    int answers = 0;
    for (int i = 0; i < n; i++) answers += x[i].n;
    tn_status st = work(&j, n, answers, e);
    for (int i = 0; i < j.n; i++) json_decref(j.row[i]);
    tn_free(j.heard), tn_free(j.row), tn_free(j.where), tn_free(j.number), tn_free(j.q), tn_free(j.p);
    return st;
}
