/* Tabular softmax policies, trained through the algorithms by gradient descent on their exact
 * expectations, must end at the closed-form optima. */
#include "algo/group.h"
#include "algo_case.h"
#include "base/mathx.h"

/* One single-token sequence per arm; pairs (i, j), i < j, are appended by toy_pairs. */
static problem P;
static void arms(int n) {
    problem_random(&P, 2, 1);
    P.x.n_seq = n;
    P.x.n_pair = P.x.n_group = 0;
    P.x.margin = P.x.p_chosen = NULL;
    for (int s = 0; s <= n; s++) P.off[s] = s;
    P.x.total.tok = P.x.total.seq = n;
}
static void pairs(int n) {
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++, P.x.n_pair++)
            P.chosen[P.x.n_pair] = i, P.rejected[P.x.n_pair] = j;
    P.x.total.pair = P.x.n_pair;
}
static void policy(const double *theta, int n, double *logp) {
    double lse = tn_logsumexp(theta, n);
    for (int i = 0; i < n; i++) logp[i] = theta[i] - lse;
}
/* d loss/d theta from d loss/d logp of every arm. */
static double chain(const double *logp, const double *g, int n, double *out) {
    double sum = 0, norm = 0;
    for (int i = 0; i < n; i++) sum += g[i];
    for (int i = 0; i < n; i++) {
        out[i] = g[i] - tn_exp(logp[i]) * sum;
        norm += out[i] * out[i];
    }
    return sqrt(norm);
}
static void probabilities(const double *logp, int n, double *pi) {
    for (int i = 0; i < n; i++) pi[i] = tn_exp(logp[i]);
}

/* PPO with the KL in the reward: each arm's advantage weighted by its probability, so that the
 * token mean is the expectation under the policy. */
static double ppo_arms(const double *theta, const vec *reward, const vec *ref, double beta,
                       double *g) {
    int n = reward->n, off[9];
    double rt[8], zero[8] = {0}, kl[8];
    policy(theta, n, P.logp);
    for (int i = 0; i <= n; i++) off[i] = i;
    for (int i = 0; i < n; i++) P.ref_logp[i] = tn_log(ref->v[i]);
    memcpy(P.old_logp, P.logp, sizeof(double) * 8);
    tn_token_rewards(n, off, P.logp, P.ref_logp, reward->v, TN_KL_K1, beta, rt, kl);
    tn_gae(n, off, rt, zero, 1, 0.95, P.advantage, P.ret);
    for (int i = 0; i < n; i++) P.advantage[i] *= n * tn_exp(P.logp[i]);
    tn_ppo_policy_opt o = policy_defaults();
    problem_loss(&P, &tn_algo_ppo_policy, &o);
    return chain(P.logp, P.g_logp, n, g);
}
static void toy_kl_optimum(kase *k) {
    vec reward = in_vec(k, "reward"), ref = in_vec(k, "ref");
    double theta[8] = {0}, g[8], pi[8], beta = hp(k, "beta", 0), norm = 1, r = 0, kl = 0;
    int n = reward.n, steps = 0;
    arms(n);
    for (; norm > 1e-13 && steps < 20000; steps++) {
        norm = ppo_arms(theta, &reward, &ref, beta, g);
        for (int i = 0; i < n; i++) theta[i] -= 4 * g[i];
    }
    CHECK_MSG(norm <= 1e-13, "%s: not converged after %d steps, gradient %g", k->id, steps, norm);
    policy(theta, n, P.logp);
    probabilities(P.logp, n, pi);
    for (int i = 0; i < n; i++)
        r += pi[i] * reward.v[i], kl += pi[i] * (P.logp[i] - tn_log(ref.v[i]));
    want_metrics(k, "pi", pi, n);
    want_metric(k, "kl", kl);
    want_metric(k, "expected_reward", r);
    want_metric(k, "objective_max", r - beta * kl);
}

static double dpo_arms(const double *theta, int n, const tn_dpo_opt *o, double *g) {
    policy(theta, n, P.logp);
    problem_loss(&P, &tn_algo_dpo, o);
    return chain(P.logp, P.g_logp, n, g);
}
static void descend(double *theta, int n, const tn_dpo_opt *o, double rate, int limit) {
    double g[8], norm = 1;
    int steps = 0;
    for (; norm > 1e-14 && steps < limit; steps++) {
        norm = dpo_arms(theta, n, o, g);
        for (int i = 0; i < n; i++) theta[i] -= rate * g[i];
    }
    CHECK_MSG(norm <= 1e-14, "not converged after %d steps, gradient %g", steps, norm);
}
static void toy_dpo_optimum(kase *k) {
    vec reward = in_vec(k, "reward"), ref = in_vec(k, "ref"), want = jvec(expected_metric(k, "pi"));
    double theta[8] = {0}, pi[8], g[8];
    int n = reward.n;
    tn_dpo_opt o = dpo_defaults();
    o.beta = hp(k, "beta", 0);
    arms(n);
    pairs(n);
    P.x.p_chosen = P.p_chosen;
    for (int i = 0; i < n; i++) P.ref_logp[i] = tn_log(ref.v[i]);
    for (int i = 0; i < P.x.n_pair; i++)
        P.p_chosen[i] = tn_sigmoid(reward.v[P.chosen[i]] - reward.v[P.rejected[i]]);
    descend(theta, n, &o, 8, 20000);
    policy(theta, n, P.logp);
    probabilities(P.logp, n, pi);
    want_metrics(k, "pi", pi, n);
    for (int i = 0; i < n; i++) theta[i] = tn_log(want.v[i]);
    dpo_arms(theta, n, &o, g);
    want_metrics(k, "grad_logits", g, n);
    want_loss(k, P.g.loss);
}
/* Deterministic preferences: IPO stops at a finite margin, DPO never does (normalised steps, since
 * its gradient dies out on the way). */
static void toy_ipo_bandit(kase *k) {
    static const char *const names[] = {"ipo", "sigmoid"};
    double theta[8] = {0}, pi[8], g[8];
    tn_dpo_opt o = dpo_defaults();
    o.beta = hp(k, "tau", 0);
    o.loss_type = (tn_opt_list){names, 1};
    arms(3);
    pairs(3);
    vec all = in_vec(k, "pairs");
    for (int i = 0; i < 3; i++) {
        P.ref_logp[i] = -tn_log(3);
        CHECK(P.chosen[i] < P.rejected[i] && all.v[2 * i] < all.v[2 * i + 1]);
    }
    descend(theta, 3, &o, 0.25, 2000);
    policy(theta, 3, P.logp);
    probabilities(P.logp, 3, pi);
    want_metrics(k, "pi_ipo", pi, 3);
    o.loss_type = (tn_opt_list){names + 1, 1};
    memset(theta, 0, sizeof theta);
    for (int step = 0; step < 400; step++) {
        double norm = dpo_arms(theta, 3, &o, g);
        for (int i = 0; i < 3; i++) theta[i] -= 0.2 * g[i] / norm;
    }
    policy(theta, 3, P.logp);
    probabilities(P.logp, 3, pi);
    want_metrics(k, "pi_dpo_limit", pi, 3);
}

/* Preferences in a circle. Nash-MD against the reference finds the equilibrium of the game regularised towards it; a
 * reference that follows the policy (a proximal point method) takes the regularisation away. */
static double nash_round(const vec *pref, double *theta, double beta, double *g) {
    double own[8], adv[8];
    int n = (int)(sqrt(pref->n) + 0.5);
    policy(theta, n, P.logp);
    probabilities(P.logp, n, own);
    for (int i = 0; i < n; i++) {
        double win = 0;
        for (int j = 0; j < n; j++) win += pref->v[n * i + j] * own[j];
        tn_nash_advantages(P.logp + i, P.ref_logp + i, 1, win, beta, adv + i);
        P.advantage[i] = n * own[i] * adv[i]; /* so that the token mean is the expectation */
    }
    problem_loss(&P, &tn_algo_reinforce, NULL);
    return chain(P.logp, P.g_logp, n, g);
}
static void toy_nash(kase *k) {
    vec pref = in_vec(k, "pref_prob");
    int n = (int)(sqrt(pref.n) + 0.5), rounds = 0;
    double theta[8] = {0}, g[8], pi[8], moved = 1, norm = 1;
    arms(n);
    for (int i = 0; i < n; i++) P.ref_logp[i] = -tn_log(n);
    for (; moved > 1e-12 && rounds < 500; rounds++) {
        int steps = 0;
        for (norm = 1; norm > 1e-14 && steps < 5000; steps++) {
            norm = nash_round(&pref, theta, 0.05, g);
            for (int i = 0; i < n; i++) theta[i] -= 4 * g[i];
        }
        policy(theta, n, P.logp);
        moved = 0;
        for (int i = 0; i < n; i++) moved += fabs(P.logp[i] - P.ref_logp[i]), P.ref_logp[i] = P.logp[i];
    }
    CHECK_MSG(moved <= 1e-12, "%s: still moving by %g after %d rounds", k->id, moved, rounds);
    probabilities(P.logp, n, pi);
    want_metrics(k, "pi_nash", pi, n);
    for (int i = 0; i < n; i++) { /* no pure deviation wins */
        double win = 0;
        for (int j = 0; j < n; j++) win += pref.v[n * i + j] * pi[j];
        CHECK_NEAR(win, 0.5, 1e-10, 0);
    }
    /* scores would make the logits additive */
    double gap = tn_logit(pref.v[1]) + tn_logit(pref.v[n + 2]) - tn_logit(pref.v[2]);
    want_metric(k, "bradley_terry_fits", fabs(gap) < 1e-9);
}

/* Constrained policy gradient on arms: the policy climbs the mix of both advantages with the KL in the reward (by the natural
 * gradient: the rarest arm converges as the others do), the multiplier follows the expected cost. */
static double safe_round(const double *theta, const vec *reward, const vec *cost, double lambda, double beta,
                         double *g) {
    int n = reward->n, off[9];
    double tr[8], tc[8], zero[8] = {0}, ar[8], ac[8], ret[8];
    tn_lagrange_opt o = lagrange_defaults();
    policy(theta, n, P.logp);
    memcpy(P.old_logp, P.logp, sizeof(double) * 8);
    for (int i = 0; i <= n; i++) off[i] = i;
    tn_lagrange_token_scores(&o, n, off, P.logp, P.ref_logp, reward->v, cost->v, TN_KL_K1, beta, tr, tc, NULL);
    tn_gae(n, off, tr, zero, 1, 0.95, ar, ret);
    tn_gae(n, off, tc, zero, 1, 0.95, ac, ret);
    tn_lagrange_mix(lambda, ar, ac, n, P.advantage);
    for (int i = 0; i < n; i++) P.advantage[i] *= n * tn_exp(P.logp[i]);
    tn_ppo_policy_opt po = policy_defaults();
    problem_loss(&P, &tn_algo_ppo_policy, &po);
    return chain(P.logp, P.g_logp, n, g);
}
/* Without the KL the optimum mixes the two arms whose price r - lambda c is the same where the dual is least. */
static void safe_limit(const vec *r, const vec *c, double *lambda, double *pi) {
    double best = HUGE_VAL;
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->n; j++) {
            double l = (r->v[i] - r->v[j]) / (c->v[i] - c->v[j]), dual = -HUGE_VAL;
            if (!(c->v[i] > 0 && c->v[j] < 0)) continue;
            for (int m = 0; m < r->n; m++) dual = fmax(dual, r->v[m] - l * c->v[m]);
            if (l < 0 || dual >= best) continue;
            best = dual, *lambda = l;
            memset(pi, 0, sizeof(double) * (size_t)r->n);
            pi[i] = -c->v[j] / (c->v[i] - c->v[j]), pi[j] = 1 - pi[i];
        }
}
static void toy_safe_saddle(kase *k) {
    vec r = in_vec(k, "reward"), c = in_vec(k, "cost");
    int n = r.n, rounds = 0;
    double theta[8] = {0}, g[8], pi[8], beta = hp(k, "beta", 0), er = 0, ec = 1, limit = 0, at[8] = {0};
    tn_lagrange_opt o = lagrange_defaults();
    tn_lagrange s;
    tn_metrics m = {0};
    o.window = 1, o.threshold = hp(k, "threshold", 0), o.lr = 20 * beta;
    CHECK_OK(tn_lagrange_start(&s, &o, e));
    arms(n);
    for (int i = 0; i < n; i++) P.ref_logp[i] = -tn_log(n);
    for (; fabs(ec - o.threshold) > 1e-10 && rounds < 3000; rounds++) {
        double norm = 1, lambda = tn_lagrange_lambda(&s);
        int steps = 0;
        for (; norm > 1e-14 && steps < 1000; steps++) {
            norm = safe_round(theta, &r, &c, lambda, beta, g);
            for (int i = 0; i < n; i++) theta[i] -= 0.4 / beta * g[i] / tn_exp(P.logp[i]);
        }
        policy(theta, n, P.logp);
        probabilities(P.logp, n, pi);
        er = ec = 0;
        for (int i = 0; i < n; i++) er += pi[i] * r.v[i], ec += pi[i] * c.v[i];
        CHECK_OK(tn_lagrange_update(&s, &o, &ec, 1, &m, e));
    }
    CHECK_MSG(rounds < 3000, "%s: cost still %g", k->id, ec);
    want_metric(k, "lambda", tn_lagrange_lambda(&s));
    want_metrics(k, "pi", pi, n);
    want_metric(k, "expected_reward", er);
    want_metric(k, "expected_cost", ec);
    safe_limit(&r, &c, &limit, at);
    want_metric(k, "lambda_limit_beta_0", limit);
    want_metrics(k, "pi_limit_beta_0", at, n);
}

const runner toy_runners[] = {
    {"nash_policy", toy_nash},
    {"ppo_lagrangian_saddle", toy_safe_saddle},
    {"kl_regularised_optimum", toy_kl_optimum},
    {"dpo_population_optimum", toy_dpo_optimum},
    {"ipo_bandit", toy_ipo_bandit},
    {NULL, NULL},
};
