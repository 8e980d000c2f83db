/* See algo_case.h. */
#include "algo_case.h"
#include "base/mathx.h"

static void flatten(const json_t *a, vec *v) {
    size_t i;
    json_t *x;
    if (json_is_array(a)) {
        json_array_foreach(a, i, x) flatten(x, v);
    } else if (v->n < MAXV) {
        v->v[v->n++] = json_is_boolean(a) ? json_is_true(a) : json_number_value(a);
    }
}

vec jvec(const json_t *a) {
    vec v = {0};
    flatten(a, &v);
    return v;
}

int jrows(const json_t *a, int *off) {
    off[0] = 0;
    if (!json_is_array(json_array_get(a, 0))) {
        off[1] = (int)json_array_size(a);
        return 1;
    }
    int n = (int)json_array_size(a);
    for (int i = 0; i < n; i++)
        off[i + 1] = off[i] + (int)json_array_size(json_array_get(a, (size_t)i));
    return n;
}

const json_t *jin(const kase *k, const char *name) {
    return json_object_get(json_object_get(k->j, "inputs"), name);
}

vec in_vec(const kase *k, const char *name) {
    CHECK_MSG(jin(k, name) != NULL, "%s: no input '%s'", k->id, name);
    return jvec(jin(k, name));
}

static const json_t *hyper(const kase *k, const char *name) {
    return json_object_get(json_object_get(k->j, "hyperparameters"), name);
}

double hp(const kase *k, const char *name, double def) {
    const json_t *v = hyper(k, name);
    if (json_is_boolean(v)) return json_is_true(v);
    return json_is_number(v) ? json_number_value(v) : def;
}

const char *hp_text(const kase *k, const char *name) {
    const char *s = json_string_value(hyper(k, name));
    return s ? s : "";
}

static void compare(kase *k, const char *what, const json_t *want, const double *got, int n) {
    vec w = jvec(want);
    k->seen++;
    CHECK_MSG(want && w.n == n, "%s: %s has %d numbers, the case has %d", k->id, what, n, w.n);
    for (int i = 0; i < n && i < w.n; i++)
        CHECK_MSG(fabs(got[i] - w.v[i]) <= k->abs + k->rel * fabs(w.v[i]),
                  "%s: %s[%d] is %.15g, expected %.15g", k->id, what, i, got[i], w.v[i]);
}

static const json_t *expected(const kase *k, const char *part) {
    return json_object_get(json_object_get(k->j, "expected"), part);
}
void want_loss(kase *k, double got) { compare(k, "loss", expected(k, "loss"), &got, 1); }
void want_grad(kase *k, const char *name, const double *got, int n) {
    compare(k, name, json_object_get(expected(k, "gradients"), name), got, n);
}
const json_t *expected_metric(const kase *k, const char *name) {
    return json_object_get(expected(k, "metrics"), name);
}
void want_metrics(kase *k, const char *name, const double *got, int n) {
    compare(k, name, expected_metric(k, name), got, n);
}

void want_texts(kase *k, const char *name, const char *const *got, int n) {
    const json_t *want = expected_metric(k, name);
    k->seen++;
    CHECK_MSG((int)json_array_size(want) == n, "%s: %s has %d texts", k->id, name, n);
    for (int i = 0; i < n; i++) {
        const char *w = json_string_value(json_array_get(want, (size_t)i));
        CHECK_MSG(w && strcmp(got[i], w) == 0, "%s: %s[%d] is '%s', expected '%s'", k->id, name, i,
                  got[i], w ? w : "");
    }
}

int keep_masked(const json_t *rows, const json_t *mask, int *off, int *back) {
    int full[34], n = jrows(rows, full), kept = 0;
    vec m = jvec(mask);
    off[0] = 0;
    for (int s = 0; s < n; s++) {
        for (int t = full[s]; t < full[s + 1]; t++)
            if (!mask || m.v[t] != 0) back[kept++] = t;
        off[s + 1] = kept;
    }
    return n;
}

vec take(const vec *v, const int *back, int n) {
    vec r = {.n = n};
    for (int i = 0; i < n; i++) r.v[i] = v->v[back[i]];
    return r;
}

vec put_back(const double *v, const int *back, int n, int full) {
    vec r = {.n = full};
    for (int i = 0; i < n; i++) r.v[back[i]] = v[i];
    return r;
}

static double uniform(tn_rng *r, double lo, double hi) { return lo + (hi - lo) * tn_rng_unit(r); }

void problem_wire(problem *p) {
    p->x.off = p->off;
    p->x.chosen = p->chosen, p->x.rejected = p->rejected;
    p->x.group_off = p->group_off, p->x.rank = p->rank;
    p->x.logp = p->logp, p->x.entropy = p->entropy, p->x.mean_logit = p->mean_logit;
    p->x.top1 = p->top1, p->x.log_sum_sq_p = p->lssp, p->x.value = p->value, p->x.score = p->score;
    p->x.ref_logp = p->ref_logp, p->x.old_logp = p->old_logp, p->x.old_value = p->old_value;
    p->x.advantage = p->advantage, p->x.ret = p->ret;
    p->x.margin = p->margin, p->x.p_chosen = p->p_chosen;
    p->x.macro_off = p->macro_off, p->x.extra = p->extra, p->x.length = p->length;
    p->x.kl = p->kl, p->x.rkl = p->rkl, p->x.jsd = p->jsd;
    p->x.sort_value = p->sort_value, p->x.sort_order = p->sort_order;
}

void problem_baseline(problem *p, double z) {
    for (int i = 0; i < 32; i++) p->baseline[i] = z;
    p->x.baseline = p->baseline;
}

static void problem_totals(problem *p) {
    tn_obs *x = &p->x;
    x->total.tok = p->off[x->n_seq];
    x->total.seq = x->n_seq, x->total.pair = x->n_pair, x->total.group = x->n_group;
    x->total.macro = x->n_macro;
    x->total.chosen_tok = 0;
    for (int i = 0; i < x->n_pair; i++)
        x->total.chosen_tok += p->off[p->chosen[i] + 1] - p->off[p->chosen[i]];
}

void problem_random(problem *p, int n_seq, uint64_t seed) {
    tn_rng r = tn_rng_stream(seed, 1, 0);
    memset(p, 0, sizeof *p);
    problem_wire(p);
    p->x.n_seq = n_seq;
    for (int s = 0; s < n_seq; s++) {
        p->off[s + 1] = p->off[s] + 1 + (int)tn_rng_below(&r, 6);
        p->score[s] = uniform(&r, -2, 2);
        p->rank[s] = 1 + (int)tn_rng_below(&r, 3);
        p->label[s] = (int)tn_rng_below(&r, 2);
    }
    for (int t = 0; t < p->off[n_seq]; t++) {
        p->logp[t] = uniform(&r, -3, -0.05);
        p->ref_logp[t] = p->logp[t] + uniform(&r, -0.7, 0.7);
        p->old_logp[t] = p->logp[t] + uniform(&r, -0.5, 0.5);
        p->entropy[t] = uniform(&r, 0.1, 3);
        p->mean_logit[t] = uniform(&r, -4, 4);
        p->top1[t] = tn_rng_below(&r, 2);
        p->lssp[t] = uniform(&r, -2, -0.1);
        p->value[t] = uniform(&r, -1, 1);
        p->old_value[t] = p->value[t] + uniform(&r, -0.5, 0.5);
        p->advantage[t] = uniform(&r, -2, 2);
        p->ret[t] = uniform(&r, -1.5, 1.5);
    }
    for (int t = 0; t < p->off[n_seq]; t++)
        p->kl[t] = uniform(&r, 0.01, 2), p->rkl[t] = uniform(&r, 0.01, 2), p->jsd[t] = uniform(&r, 0.01, 0.6);
    p->x.n_pair = n_seq / 2;
    for (int i = 0; i < p->x.n_pair; i++) {
        p->chosen[i] = 2 * i, p->rejected[i] = 2 * i + 1;
        p->margin[i] = uniform(&r, 0, 1);
        p->p_chosen[i] = uniform(&r, 0.5, 1);
    }
    p->x.n_group = n_seq / 4;
    for (int g = 0; g <= p->x.n_group; g++) p->group_off[g] = 4 * g;
    p->x.n_extra = 1;
    for (int s = 0; s < n_seq; s++) {
        p->extra[s] = uniform(&r, 0, 3);
        p->length[s] = 1 + (double)tn_rng_below(&r, 40);
        for (int t = p->off[s]; t < p->off[s + 1]; t += 1 + (int)tn_rng_below(&r, 3))
            p->macro_off[p->x.n_macro++] = t;
    }
    p->macro_off[p->x.n_macro] = p->off[n_seq];
    problem_totals(p);
}

double problem_loss(problem *p, const tn_algo *a, const void *opt) {
    tn_err e = {0};
    memset(p->g_logp, 0, sizeof p->g_logp);
    memset(p->g_entropy, 0, sizeof p->g_entropy);
    memset(p->g_value, 0, sizeof p->g_value);
    memset(p->g_score, 0, sizeof p->g_score);
    memset(p->g_extra, 0, sizeof p->g_extra);
    memset(p->g_kl, 0, sizeof p->g_kl);
    memset(p->g_rkl, 0, sizeof p->g_rkl);
    memset(p->g_jsd, 0, sizeof p->g_jsd);
    p->g = (tn_grad){.logp = p->g_logp, .entropy = p->g_entropy, .value = p->g_value, .score = p->g_score,
                     .kl = p->g_kl, .rkl = p->g_rkl, .jsd = p->g_jsd, .extra = p->g_extra};
    tn_metrics_clear(&p->m);
    tn_status st = a->step(opt, &p->x, &p->g, &p->m, &e);
    CHECK_MSG(st == TN_OK, "%s: %s", a->name, e.msg);
    return st == TN_OK ? p->g.loss : NAN;
}

/* Sixth-order central difference with respect to *v. */
static double difference(problem *p, double *v, loss_fn f, const void *ctx) {
    static const double w[] = {45.0 / 60, -9.0 / 60, 1.0 / 60};
    double v0 = *v, h = 2e-3, d = 0;
    for (int k = 1; k <= 3; k++) {
        *v = v0 + k * h;
        d += w[k - 1] * f(p, ctx);
        *v = v0 - k * h;
        d -= w[k - 1] * f(p, ctx);
    }
    *v = v0;
    return d / h;
}

typedef struct own { const tn_algo *a; const void *opt; } own;
static double own_loss(problem *p, const void *ctx) {
    const own *o = ctx;
    return problem_loss(p, o->a, o->opt);
}

void problem_differences(problem *p, const tn_algo *a, const void *opt, loss_fn frozen,
                         const void *ctx, double tol, const char *what) {
    own o = {a, opt};
    loss_fn f = frozen ? frozen : own_loss;
    if (!frozen) ctx = &o;
    problem_loss(p, a, opt);
    static const char *const names[] = {"logp", "entropy", "value", "kl", "rkl", "jsd", "score", "extra"};
    double *in[] = {p->logp, p->entropy, p->value, p->kl, p->rkl, p->jsd, p->score, p->extra}, got[8][MAXV], size = 0;
    const double *g[] = {p->g_logp, p->g_entropy, p->g_value, p->g_kl, p->g_rkl, p->g_jsd, p->g_score, p->g_extra};
    int n[8] = {[6] = p->x.n_seq, [7] = p->x.n_seq};
    for (int i = 0; i < 6; i++) n[i] = p->off[p->x.n_seq];
    for (int i = 0; i < 8; i++) memcpy(got[i], g[i], sizeof(double) * (size_t)n[i]);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < n[i]; j++) {
            double d = difference(p, &in[i][j], f, ctx);
            size += fabs(d);
            CHECK_MSG(fabs(got[i][j] - d) <= tol * (1 + fabs(d)),
                      "%s: d loss/d %s[%d] is %.12g, differences say %.12g", what, names[i], j,
                      got[i][j], d);
        }
    CHECK_MSG(size > 1e-3, "%s: the gradient is zero everywhere, nothing was tested", what);
}

/* View of one sequence, pair or group of `whole` as a call of its own with the same totals. */
static void part(problem *q, const problem *whole, char unit, int i) {
    *q = *whole;
    problem_wire(q);
    int lo = unit == 's' ? i : unit == 'p' ? 2 * i : whole->group_off[i];
    int hi = unit == 's' ? i + 1 : unit == 'p' ? 2 * i + 2 : whole->group_off[i + 1];
    int t0 = whole->off[lo];
    q->x.n_seq = hi - lo;
    for (int s = lo; s <= hi; s++) q->off[s - lo] = whole->off[s] - t0;
    q->x.off = q->off;
    q->x.logp += t0, q->x.entropy += t0, q->x.mean_logit += t0, q->x.top1 += t0,
        q->x.log_sum_sq_p += t0;
    q->x.value += t0, q->x.ref_logp += t0, q->x.old_logp += t0, q->x.old_value += t0;
    q->x.advantage += t0, q->x.ret += t0;
    q->x.kl += t0, q->x.rkl += t0, q->x.jsd += t0;
    q->x.score += lo, q->x.rank += lo;
    if (q->x.label) q->x.label += lo;
    if (q->x.baseline) q->x.baseline += lo;
    q->x.n_pair = unit == 's' ? 0 : (hi - lo) / 2;
    q->x.margin = whole->x.margin ? q->x.margin + lo / 2 : NULL;
    q->x.p_chosen = whole->x.p_chosen ? q->x.p_chosen + lo / 2 : NULL;
    q->x.n_group = unit == 'g';
    q->x.extra += lo, q->x.length += lo;
    q->x.n_macro = 0;
    for (int k = 0; k < whole->x.n_macro; k++)
        if (whole->macro_off[k] >= t0 && whole->macro_off[k] < whole->off[hi])
            q->macro_off[q->x.n_macro++] = whole->macro_off[k] - t0;
    q->macro_off[q->x.n_macro] = whole->off[hi] - t0;
}

void problem_additive(problem *p, const tn_algo *a, const void *opt, char unit, const char *what) {
    static problem q;
    double whole = problem_loss(p, a, opt), loss = 0;
    int n = unit == 's' ? p->x.n_seq : unit == 'p' ? p->x.n_pair : p->x.n_group, t0 = 0, s0 = 0;
    tn_metrics sum = {0};
    for (int i = 0; i < n; i++) {
        part(&q, p, unit, i);
        loss += problem_loss(&q, a, opt);
        tn_metrics_merge(&sum, &q.m);
        for (int t = 0; t < q.off[q.x.n_seq]; t++, t0++) {
            CHECK_NEAR(q.g_logp[t], p->g_logp[t0], 1e-13, 1e-15);
            CHECK_NEAR(q.g_entropy[t], p->g_entropy[t0], 1e-13, 1e-15);
            CHECK_NEAR(q.g_value[t], p->g_value[t0], 1e-13, 1e-15);
            CHECK_NEAR(q.g_kl[t] + 3 * q.g_rkl[t] + 7 * q.g_jsd[t], p->g_kl[t0] + 3 * p->g_rkl[t0] + 7 * p->g_jsd[t0], 1e-13,
                       1e-15);
        }
        for (int s = 0; s < q.x.n_seq; s++, s0++)
            CHECK_NEAR(q.g_score[s], p->g_score[s0], 1e-13, 1e-15);
        for (int s = 0; s < q.x.n_seq; s++)
            CHECK_NEAR(q.g_extra[s], p->g_extra[s0 - q.x.n_seq + s], 1e-13, 1e-15);
    }
    CHECK_MSG(fabs(loss - whole) <= 1e-12 * (1 + fabs(whole)),
              "%s: parts sum to %.15g, whole is %.15g", what, loss, whole);
    CHECK_MSG(sum.n == p->m.n && sum.n > 0, "%s: %d merged metrics, %d in one call", what, sum.n,
              p->m.n);
    for (int i = 0; i < p->m.n; i++)
        CHECK_NEAR(tn_metrics_find(&sum, p->m.v[i].name), tn_metrics_get(&p->m, i), 1e-12, 1e-13);
}

tn_sft_opt sft_defaults(void) { return (tn_sft_opt){"nll", "token_mean"}; }
tn_reward_opt reward_defaults(void) { return (tn_reward_opt){0, 0, 0, 1, "pairs", "drop"}; }
tn_dpo_opt dpo_defaults(void) {
    return (tn_dpo_opt){.beta = 0.1, .f_divergence = "reverse_kl", .f_alpha = 0.5, .ld_alpha = NAN,
                        .discopop_tau = 0.05, .dpop_lambda = 50, .length_alpha = 0.05, .rpo_alpha = NAN};
}
tn_ppo_policy_opt policy_defaults(void) { return (tn_ppo_policy_opt){0.2, NAN, 0, 0, 20, "token_mean"}; }
tn_ppo_value_opt value_defaults(void) { return (tn_ppo_value_opt){0.2, 0.1, "token_mean"}; }
tn_score_opt score_defaults(void) { return (tn_score_opt){false, 0, NAN, "subtract"}; }
tn_kto_opt kto_defaults(void) { return (tn_kto_opt){0.1, 1, 1, "kto"}; }
tn_cpo_opt cpo_defaults(void) { return (tn_cpo_opt){0.1, "sigmoid", 0, 1, 0.5, 0}; }
tn_cpo_opt simpo_defaults(void) { return (tn_cpo_opt){2, NULL, 0, 0, 1, 0}; }
tn_grpo_opt grpo_defaults(void) {
    return (tn_grpo_opt){.loss_type = "dapo", .level = "token", .epsilon = NAN,
                         .epsilon_high = NAN, .delta = NAN, .max_completion = 512,
                         .sapo_pos = 1, .sapo_neg = 1.05, .log_ratio_clamp = 20,
                         .bias_correction = true, .off_policy = NAN, .vespo_k_pos = 2,
                         .vespo_lambda_pos = 3, .vespo_k_neg = 3, .vespo_lambda_neg = 2,
                         .top_entropy = 1};
}
tn_gkd_opt gkd_defaults(void) { return (tn_gkd_opt){0.5, "token_mean"}; }
tn_tdpo_opt tdpo_defaults(void) { return (tn_tdpo_opt){0.1, "tdpo2", 0.5}; }
tn_rl_opt rl_defaults(void) { return (tn_rl_opt){0.05, "k1", 0, 10000, 1, 0.95, false, true, 1}; }

tn_macro_opt macro_defaults(void) {
    return (tn_macro_opt){.rule = "none", .length = 5, .repeat = 1, .value = "equal", .reward = "sum", .loss = "token"};
}
tn_macro_value_opt macro_value_defaults(void) { return (tn_macro_value_opt){{0.2, 0.1, NULL}, "equal"}; }
tn_cost_opt cost_defaults(void) { return (tn_cost_opt){0.001}; }
tn_lagrange_opt lagrange_defaults(void) { return (tn_lagrange_opt){0, 1, 0.1, 5, 128, 0, 50}; }
tn_inform_opt inform_defaults(void) { return (tn_inform_opt){128, 0.1, "sum"}; }
tn_odin_opt odin_defaults(void) { return (tn_odin_opt){1, 1, "paper"}; }
tn_shape_opt shape_defaults(void) { return (tn_shape_opt){"none", 1, NAN, 0, 300, 0.85}; }
tn_ensemble_opt ensemble_defaults(void) { return (tn_ensemble_opt){"mean", 0.5, 0}; }
tn_rlthf_opt rlthf_defaults(void) { return (tn_rlthf_opt){5, 0.25, 0.06, 0.4, 6, 1}; }
tn_strength_opt strength_defaults(void) { return (tn_strength_opt){0.1, 0}; }

/* case_softmax(z / tau): log-probabilities into lp, entropy returned. */
double case_softmax(const double *z, int n, double tau, double *lp) {
    double y[64] = {0}, h = 0;
    for (int i = 0; i < n; i++) y[i] = z[i] / tau;
    double lse = tn_logsumexp(y, n);
    for (int i = 0; i < n; i++) {
        lp[i] = y[i] - lse;
        h -= tn_exp(lp[i]) * lp[i];
    }
    return h;
}
void case_chain(const double *lp, int n, double tau, int target, double h, double gl, double gh,
                double *out) {
    for (int v = 0; v < n; v++) {
        double p = tn_exp(lp[v]);
        out[v] = (gl * ((v == target) - p) - gh * p * (lp[v] + h)) / tau;
    }
}

static problem case_problem;
problem *case_fresh(int n_seq, const int *off) {
    problem_random(&case_problem, 2, 1);
    case_problem.x.n_seq = n_seq;
    case_problem.x.n_pair = case_problem.x.n_group = 0;
    case_problem.x.margin = case_problem.x.p_chosen = NULL;
    for (int s = 0; s <= n_seq; s++) case_problem.off[s] = off[s];
    case_problem.x.total.tok = off[n_seq];
    case_problem.x.total.seq = n_seq;
    return &case_problem;
}
void case_set(double *dst, const vec *v) { memcpy(dst, v->v, sizeof *dst * (size_t)v->n); }
