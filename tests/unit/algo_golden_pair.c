/* Losses on exact divergences between two models: golden cases in logits, through the operations themselves in
 * double (an identity as vocabulary projection), and TRL's GKD. */
#include "algo_case.h"
#include "base/mathx.h"
#include "ops/ops.h"

enum { MAX_ROWS = 16, MAX_V = 16 };
/* Rows of logits of a policy and of a second model, their numbers, and the gradient of the policy's logits. */
typedef struct heads {
    tn_backend *be;
    int n, V;
    double z[MAX_ROWS * MAX_V], y[MAX_ROWS * MAX_V], eye[MAX_V * MAX_V], packed[MAX_V * MAX_V], dz[MAX_ROWS * MAX_V];
    int32_t target[MAX_ROWS];
    double logp[MAX_ROWS], logp2[MAX_ROWS], lse[MAX_ROWS], lse2[MAX_ROWS], kl[MAX_ROWS], rkl[MAX_ROWS], jsd[MAX_ROWS],
        kl_mix[MAX_ROWS];
    tn_weight w;
    tn_head_pair pair;
} heads;
static heads H;

static void heads_open(int n, int V) {
    memset(&H, 0, sizeof H);
    CHECK_OK(tn_backend_open(&H.be, "ref64", TN_F64, NULL, 1, e));
    H.n = n, H.V = V;
    CHECK(n <= MAX_ROWS && V <= MAX_V);
    for (int v = 0; v < V; v++) H.eye[v * V + v] = 1;
    H.w = (tn_weight){V, V, H.eye, H.packed};
    H.be->op->weight_pack(H.be, &H.w);
    for (int i = 0; i < n; i++) H.target[i] = -1;
}

static void heads_forward(double beta) {
    tn_head h = {.rows = H.n, .x = H.z, .w = &H.w, .inv_temp = 1, .target = H.target, .logp = H.logp, .lse = H.lse};
    tn_head h2 = {.rows = H.n, .x = H.y, .w = &H.w, .inv_temp = 1, .target = H.target, .logp = H.logp2, .lse = H.lse2};
    H.pair = (tn_head_pair){.rows = H.n, .x = H.z, .x2 = H.y, .w = &H.w, .w2 = &H.w, .inv_temp = 1, .beta = beta,
                            .lse = H.lse, .lse2 = H.lse2, .kl = H.kl, .rkl = H.rkl};
    if (beta > 0 && beta < 1) H.pair.jsd = H.jsd, H.pair.kl_mix = H.kl_mix;
    H.be->op->head(H.be, &h);
    H.be->op->head(H.be, &h2);
    H.be->op->head_pair(H.be, &H.pair);
}

static void heads_backward(const double *d_logp, const double *d_kl, const double *d_rkl, const double *d_jsd) {
    tn_head_bwd g = {.rows = H.n, .x = H.z, .w = &H.w, .inv_temp = 1, .target = H.target, .lse = H.lse, .d_logp = d_logp,
                     .dx = H.dz, .pair = &H.pair, .d_kl = d_kl, .d_rkl = d_rkl, .d_jsd = H.pair.jsd ? d_jsd : NULL};
    H.be->op->head_bwd(H.be, &g);
}

static void kl_full(kase *k) {
    static const double one[1] = {1};
    vec z = in_vec(k, "policy_logits"), y = in_vec(k, "ref_logits");
    bool forward = strncmp(hp_text(k, "direction"), "forward", 7) == 0; /* KL(ref|policy) */
    heads_open(1, z.n);
    case_set(H.z, &z);
    case_set(H.y, &y);
    heads_forward(0);
    heads_backward(NULL, forward ? NULL : one, forward ? one : NULL, NULL);
    want_loss(k, forward ? H.rkl[0] : H.kl[0]);
    want_grad(k, "policy_logits", H.dz, z.n);
    tn_backend_free(H.be);
}

/* One pair: the chosen response's rows, then the rejected one's. */
static void tdpo(kase *k) {
    static const char *const side[] = {"chosen", "rejected"};
    tn_tdpo_opt o = {hp(k, "beta", 0), json_string_value(json_object_get(k->j, "method")), hp(k, "alpha", 0)};
    int off[3] = {0}, row[34];
    char name[48];
    vec in[2][3];
    for (int s = 0; s < 2; s++) {
        static const char *const what[] = {"logits", "ref_logits", "tokens"};
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "%s_%s", side[s], what[i]);
            in[s][i] = in_vec(k, name);
        }
        snprintf(name, sizeof name, "%s_logits", side[s]);
        off[s + 1] = off[s] + jrows(jin(k, name), row);
    }
    int V = row[1];
    heads_open(off[2], V);
    for (int s = 0; s < 2; s++) {
        case_set(H.z + off[s] * V, &in[s][0]);
        case_set(H.y + off[s] * V, &in[s][1]);
        for (int i = 0; i < in[s][2].n; i++) H.target[off[s] + i] = (int)in[s][2].v[i];
    }
    heads_forward(0);
    problem *p = case_fresh(2, off);
    p->x.logp = H.logp, p->x.ref_logp = H.logp2, p->x.rkl = H.rkl;
    p->chosen[0] = 0, p->rejected[0] = 1;
    p->x.n_pair = 1, p->x.total.pair = 1;
    want_loss(k, problem_loss(p, &tn_algo_tdpo, &o));
    heads_backward(p->g_logp, NULL, p->g_rkl, NULL);
    want_grad(k, "chosen_logits", H.dz, off[1] * V);
    want_grad(k, "rejected_logits", H.dz + off[1] * V, (off[2] - off[1]) * V);
    want_metric(k, "seq_forward_kl_chosen", tn_metrics_find(&p->m, "kl/chosen"));
    want_metric(k, "seq_forward_kl_rejected", tn_metrics_find(&p->m, "kl/rejected"));
    double alpha = strcmp(o.loss_type, "tdpo1") == 0 ? 1 : o.alpha;
    want_metric(k, "u", tn_metrics_find(&p->m, "rewards/margins") - o.beta * alpha * tn_metrics_find(&p->m, "kl/margins"));
    problem_wire(p);
    tn_backend_free(H.be);
}

const runner pair_runners[] = {{"kl_full_vocab", kl_full}, {"tdpo1", tdpo}, {"tdpo2", tdpo}, {NULL, NULL}};

/* Ragged rows of logits as one array; off gets the sequences. */
static int flat(const json_t *rows, double *z, int *off) {
    vec v = jvec(rows);
    size_t i;
    json_t *s;
    json_array_foreach(rows, i, s) off[i + 1] = off[i] + (int)json_array_size(s);
    case_set(z, &v);
    return (int)json_array_size(rows);
}

TEST(algo_trl_gkd) {
    json_t *all = tn_golden("trl_gkd.json"), *c;
    size_t i;
    const json_t *student = json_object_get(all, "student"), *first = json_array_get(json_array_get(student, 0), 0);
    CHECK(json_array_size(json_object_get(all, "cases")) == 5);
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        int off[MAX_ROWS + 1] = {0}, again[MAX_ROWS + 1] = {0};
        tn_gkd_opt o = {.beta = json_number_value(json_object_get(c, "beta"))};
        heads_open(MAX_ROWS, (int)json_array_size(first));
        int n = flat(student, H.z, off);
        flat(json_object_get(all, "teacher"), H.y, again);
        H.n = off[n];
        heads_forward(o.beta);
        problem *p = case_fresh(n, off);
        p->x.kl = H.kl, p->x.rkl = H.rkl, p->x.jsd = H.jsd;
        CHECK_NEAR(problem_loss(p, &tn_algo_gkd, &o), json_number_value(json_object_get(c, "loss")), 1e-12, 1e-14);
        heads_backward(NULL, p->g_kl, p->g_rkl, p->g_jsd);
        vec g = jvec(json_object_get(c, "grad"));
        CHECK(g.n == H.n * H.V);
        for (int t = 0; t < g.n; t++) CHECK_NEAR(H.dz[t], g.v[t], 1e-10, 1e-14);
        problem_wire(p);
        tn_backend_free(H.be);
    }
    json_decref(all);
}

TEST(algo_gradients_pair) {
    static problem p;
    static const double betas[] = {0, 0.3, 1};
    for (int i = 0; i < 6; i++) {
        tn_gkd_opt o = {betas[i % 3], i < 3 ? "token_mean" : "sequence_mean"};
        problem_random(&p, 8, 31);
        problem_differences(&p, &tn_algo_gkd, &o, NULL, NULL, 2e-9, "gkd");
        problem_additive(&p, &tn_algo_gkd, &o, 's', "gkd");
    }
    tn_tdpo_opt o = {0.4, "tdpo1", 0.5};
    problem_random(&p, 8, 32);
    problem_differences(&p, &tn_algo_tdpo, &o, NULL, NULL, 2e-9, "tdpo1");
    problem_additive(&p, &tn_algo_tdpo, &o, 'p', "tdpo1");
}

/* tdpo2's chosen divergence is in the loss and has no gradient. */
static double frozen_tdpo2(problem *p, const void *ctx) {
    const double *rkl = ctx;
    double loss = 0;
    for (int i = 0; i < p->x.n_pair; i++) {
        double h = 0, k = 0;
        for (int t = p->off[2 * i]; t < p->off[2 * i + 1]; t++) h += p->logp[t] - p->ref_logp[t], k -= rkl[t];
        for (int t = p->off[2 * i + 1]; t < p->off[2 * i + 2]; t++) h -= p->logp[t] - p->ref_logp[t], k += p->rkl[t];
        loss += tn_softplus(-0.4 * (h - 0.7 * k)) / p->x.n_pair;
    }
    return loss;
}
TEST(algo_gradients_tdpo2) {
    static problem p;
    static double rkl[MAXV];
    tn_tdpo_opt o = {0.4, "tdpo2", 0.7};
    problem_random(&p, 8, 33);
    memcpy(rkl, p.rkl, sizeof rkl);
    problem_differences(&p, &tn_algo_tdpo, &o, frozen_tdpo2, rkl, 2e-9, "tdpo2");
    CHECK_NEAR(problem_loss(&p, &tn_algo_tdpo, &o), frozen_tdpo2(&p, rkl), 1e-13, 0);
    problem_additive(&p, &tn_algo_tdpo, &o, 'p', "tdpo2");
}

TEST(algo_pair_refuses) {
    static problem p;
    tn_gkd_opt g = {.beta = 1.5};
    tn_tdpo_opt t = tdpo_defaults();
    problem_random(&p, 8, 34);
    problem_loss(&p, &tn_algo_tdpo, &t);
    CHECK_FAIL(tn_algo_gkd.step(&g, &p.x, &p.g, &p.m, e), TN_ARG, "beta is 1.5");
    g.beta = 0.5;
    p.x.jsd = NULL;
    CHECK_FAIL(tn_algo_gkd.step(&g, &p.x, &p.g, &p.m, e), TN_ARG, "needs the array 'jsd'");
    p.rkl[2] = NAN;
    CHECK_FAIL(tn_algo_tdpo.step(&t, &p.x, &p.g, &p.m, e), TN_NUMERIC, "rkl of token");
    t.beta = 0;
    CHECK_FAIL(tn_algo_tdpo.step(&t, &p.x, &p.g, &p.m, e), TN_ARG, "beta is 0");
}
