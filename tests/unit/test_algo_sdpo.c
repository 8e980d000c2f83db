/* SDPO's loss: by hand, and its gradient against differences of the loss with what is held constant held constant. */
#include "algo/sdpo.h"
#include "algo_case.h"
#include "base/mathx.h"
#include <math.h>

static tn_sdpo_opt options(const char *mode, double alpha, double weight) {
    tn_grpo_opt policy = grpo_defaults();
    policy.beta = 0;
    return (tn_sdpo_opt){mode, alpha, 2, weight, policy};
}

/* One answer of two tokens that is taught, one of one token that is not: l - q = .5, -1; ratios e^.1 and (e^1 cut to) 2. */
TEST(algo_sdpo_by_hand) {
    const int off[3] = {0, 2, 3};
    tn_sdpo_opt o = options("sampled_token", 1, 1);
    problem *q = case_fresh(2, off);
    const double logp[3] = {-1, -2, -1}, ref[3] = {-1.5, -1, -3}, old[3] = {-1.1, -3, -1}, ret[3] = {1, 1, 0};
    memcpy(q->logp, logp, sizeof logp);
    memcpy(q->ref_logp, ref, sizeof ref);
    memcpy(q->old_logp, old, sizeof old);
    memcpy(q->ret, ret, sizeof ret);
    q->x.total.seq = 2;
    double e01 = exp(0.1);
    CHECK_NEAR(problem_loss(q, &tn_algo_sdpo, &o), (e01 * 0.5 * -1 + 2 * -1.0 * -2) / 4, 1e-14, 0);
    CHECK_NEAR(q->g_logp[0], e01 * 0.5 / 4, 1e-14, 0);
    CHECK_NEAR(q->g_logp[1], 2 * -1.0 / 4, 1e-14, 0);
    CHECK(q->g_logp[2] == 0);
    o.is_clip = 0;
    CHECK_NEAR(problem_loss(q, &tn_algo_sdpo, &o), (0.5 * -1 + -1.0 * -2) / 4, 1e-14, 0);
    o.alpha = 0.5;
    CHECK_FAIL(tn_sdpo_check(&o, e), TN_ARG, "needs full_logits");
}

typedef struct constants {
    const tn_sdpo_opt *o;
    double rho[MAXV], gap[MAXV];
} constants;

static double frozen(problem *p, const void *ctx) {
    const constants *c = ctx;
    const tn_sdpo_opt *o = c->o;
    double loss = o->weight < 1 ? (1 - o->weight) * problem_loss(p, &tn_algo_grpo, &o->policy) : 0;
    bool sampled = strcmp(o->mode, "sampled_token") == 0;
    const double *d = o->alpha == 0 ? p->rkl : o->alpha == 1 ? p->kl : p->jsd;
    for (int s = 0; s < p->x.n_seq; s++) {
        int n = p->off[s + 1] - p->off[s];
        for (int t = p->off[s]; t < p->off[s + 1] && p->ret[p->off[s]] != 0; t++)
            loss += o->weight / (p->x.total.seq * n) * c->rho[t] * (sampled ? c->gap[t] * p->logp[t] : d[t]);
    }
    return loss;
}

TEST(algo_gradients_sdpo) {
    static problem p;
    static constants c;
    static const struct { const char *mode; double alpha, weight; } kinds[] = {
        {"sampled_token", 1, 1}, {"sampled_token", 1, 0.6}, {"full_logits", 1, 1}, {"full_logits", 0, 1}, {"full_logits", 0.3, 0.4}};
    for (int k = 0; k < 5; k++) {
        tn_sdpo_opt o = options(kinds[k].mode, kinds[k].alpha, kinds[k].weight);
        o.policy.epsilon = 0.9; /* its bends are grpo's own test's */
        problem_random(&p, 8, 40 + (uint64_t)k);
        for (int s = 0; s < 8; s++)
            for (int t = p.off[s]; t < p.off[s + 1]; t++) p.ret[t] = s != 2 && s != 5;
        c.o = &o;
        for (int t = 0; t < p.off[8]; t++) {
            double r = exp(p.logp[t] - p.old_logp[t]);
            c.rho[t] = r < 2 ? r : 2, c.gap[t] = p.logp[t] - p.ref_logp[t];
        }
        problem_differences(&p, &tn_algo_sdpo, &o, frozen, &c, 2e-9, kinds[k].mode);
        CHECK_NEAR(problem_loss(&p, &tn_algo_sdpo, &o), frozen(&p, &c), 1e-12, 0);
        problem_additive(&p, &tn_algo_sdpo, &o, 's', kinds[k].mode);
    }
}
