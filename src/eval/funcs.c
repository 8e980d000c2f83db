/* Verifiable rewards of a contest's answers. */
#include "eval/contest.h"
#include "rl/rewards.h"
#include <math.h>
#include <string.h>

/* Does any row have what the function reads? */
static tn_status fits(const tn_contest *t, const char *spec, const tn_reward_fn *f, const char *argument,
                      const tn_tokenizer *tok, tn_err *e) {
    if (f->text && !tok) return tn_fail(e, TN_ARG, "--reward-funcs %s reads text, and the models have no tokenizer", spec);
    const char *name = !f->field ? NULL : *f->field ? f->field : argument;
    for (int i = 0; name && i < t->n; i++)
        if (json_object_get(t->rows->ex[i].meta, name)) return TN_OK;
    if (!name) return TN_OK;
    return tn_fail(e, TN_ARG, "--reward-funcs %s: none of the %d rows of --input has the field \"%s\"", spec, t->n, name);
}

tn_status tn_contest_open_funcs(tn_contest *t, const tn_opt_list *specs, const tn_tokenizer *tok, tn_err *e) {
    if (!specs->n) return TN_OK;
    t->func = tn_calloc((size_t)specs->n, sizeof *t->func);
    if (!t->func) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < specs->n; k++) {
        tn_contest_func *f = &t->func[k];
        const char *argument;
        f->spec = specs->v[k];
        TN_TRY(tn_reward_fn_named(f->spec, NULL, &f->fn, &argument, e));
        TN_TRY(fits(t, f->spec, f->fn, argument, tok, e));
        t->n_func++;
        if (f->fn->open) TN_TRY(f->fn->open(&f->state, argument, e));
    }
    return TN_OK;
}

void tn_contest_close_funcs(tn_contest *t) {
    for (int k = 0; k < t->n_func; k++)
        if (t->func[k].fn->close) t->func[k].fn->close(t->func[k].state);
    tn_free(t->func);
}

tn_status tn_contest_judge(tn_contest *t, tn_contender *c, const tn_tokenizer *tok, tn_err *e) {
    if (!t->n_func) return TN_OK;
    c->func = tn_calloc((size_t)t->n_func, (size_t)t->n * sizeof *c->func);
    if (!c->func) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_str text = TN_STR_INIT;
    tn_status st = TN_OK;
    for (int i = 0; i < t->n && st == TN_OK; i++) {
        const tn_answer *a = &c->answer[i];
        tn_str_clear(&text);
        if (tok) st = tn_decode(tok, a->ids, (size_t)a->n, true, &text, e);
        const tn_completion x = {.row = t->rows->ex[i].meta,
                                 .text = text.s ? text.s : "",
                                 .len = text.len,
                                 .ids = a->ids,
                                 .n = a->n,
                                 .max_new = t->max_new,
                                 .ended = a->ended};
        for (int k = 0; k < t->n_func && st == TN_OK; k++)
            st = t->func[k].fn->score(t->func[k].state, &x, &c->func[k * t->n + i], e);
    }
    tn_str_free(&text);
    return st;
}

/* Of x less y (NULL: 0), where both are numbers. Of ones and zeros, Wilson's interval. */
static tn_stat_mean mean_of(const double *x, const double *y, int n) {
    double sum = 0, square = 0;
    bool rate = !y;
    tn_stat_mean m = {0};
    for (int i = 0; i < n; i++) {
        double v = x[i] - (y ? y[i] : 0);
        if (isnan(v)) continue;
        sum += v, square += v * v, m.n++;
        rate &= v == 0 || v == 1;
    }
    if (!m.n) return m;
    m.mean = sum / m.n;
    double spread = m.n > 1 ? (square - sum * m.mean) / (m.n - 1) / m.n : 0;
    m.half = tn_stat_z95 * sqrt(spread > 0 ? spread : 0);
    m.lo = m.mean - m.half, m.hi = m.mean + m.half;
    if (!rate) return m;
    tn_stat_rate r = tn_stat_wilson((int)sum, m.n, tn_stat_z95);
    m.lo = r.lo, m.hi = r.hi, m.half = (r.hi - r.lo) / 2;
    return m;
}

tn_stat_mean tn_contest_func_mean(const tn_contest *t, const tn_contender *c, int func) {
    return mean_of(c->func + (size_t)func * (size_t)t->n, NULL, t->n);
}

tn_stat_mean tn_contest_func_difference(const tn_contest *t, const tn_contender *c, const tn_contender *other, int func) {
    size_t at = (size_t)func * (size_t)t->n;
    return mean_of(c->func + at, other->func + at, t->n);
}
