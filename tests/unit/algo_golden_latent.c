/* Golden cases of pooled heads (InfoRM, ODIN) and of their latent space. */
#include "algo/latent.h"
#include "algo_case.h"
#include "base/mathx.h"

/* The head's rows are [mu, v] themselves: W_mu and W_v pick them out, so that d loss/d row is what
 * the case calls the gradients of mu and logvar. Row 0 is the chosen response. */
static void inform(kase *k) {
    static const char *const mu[] = {"mu_chosen", "mu_rejected"},
                             *const v[] = {"logvar_chosen", "logvar_rejected"},
                             *const eps[] = {"eps_chosen", "eps_rejected"};
    vec d = in_vec(k, "decoder_weight");
    int n = d.n, off[3] = {0};
    double x[2 * 16], w[8 * 17] = {0}, noise[2 * 8], dx[2 * 16] = {0}, dw[8 * 17] = {0};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < n; j++) {
            x[2 * n * i + j] = in_vec(k, mu[i]).v[j];
            x[2 * n * i + n + j] = in_vec(k, v[i]).v[j];
            noise[n * i + j] = in_vec(k, eps[i]).v[j];
        }
    for (int j = 0; j < 2 * n; j++) w[j * 2 * n + j] = 1;
    memcpy(w + 4 * n * n, d.v, sizeof(double) * (size_t)n);
    bool sum = strncmp(hp_text(k, "kl_reduction"), "sum", 3) == 0;
    tn_inform_opt o = {n, hp(k, "beta", 0), sum ? "sum" : "mean_first"};
    problem *p = case_fresh(2, off);
    p->chosen[0] = 0, p->rejected[0] = 1;
    p->x.n_pair = 1;
    p->x.total.pair = 1;
    tn_pooled rows = {2, 2 * n, x, w, noise};
    CHECK(tn_pooled_inform.params(&o, 2 * n) == (size_t)(4 * n * n + n));
    tn_pooled_inform.forward(&o, &rows, p->score, p->extra);
    want_loss(k, problem_loss(p, tn_pooled_inform.algo, &o));
    tn_pooled_grad g = {p->g_score, p->g_extra, dx, dw};
    tn_pooled_inform.backward(&o, &rows, &g);
    for (int i = 0; i < 2; i++) {
        want_grad(k, mu[i], dx + 2 * n * i, n);
        want_grad(k, v[i], dx + 2 * n * i + n, n);
    }
    if (!sum) {
        want_metric(k, "kl", tn_metrics_find(&p->m, "latent_kl"));
        return;
    }
    want_grad(k, "decoder_weight", dw + 4 * n * n, n);
    want_metric(k, "r_chosen", p->score[0]);
    want_metric(k, "r_rejected", p->score[1]);
    want_metric(k, "kl_chosen", p->extra[0]);
    want_metric(k, "kl_rejected", p->extra[1]);
    rows.noise = NULL;
    tn_pooled_inform.forward(&o, &rows, p->score, p->extra);
    want_metric(k, "r_chosen_eval", p->score[0]);
    double z[16];
    tn_inform_latent(&o, 2 * n, w, x, z);
    for (int j = 0; j < n; j++) CHECK(z[j] == x[j]);
}

static void odin(kase *k) {
    vec q = in_vec(k, "r_quality"), l = in_vec(k, "r_length"), len = in_vec(k, "length"),
        pairs = in_vec(k, "pairs"), hq = jvec(jin(k, "head_quality")),
        hl = jvec(jin(k, "head_length"));
    int off[34] = {0};
    problem *p = case_fresh(q.n, off);
    case_set(p->score, &q);
    case_set(p->extra, &l);
    case_set(p->length, &len);
    p->x.n_pair = pairs.n / 2;
    p->x.total.pair = p->x.n_pair;
    for (int i = 0; i < p->x.n_pair; i++)
        p->chosen[i] = (int)pairs.v[2 * i], p->rejected[i] = (int)pairs.v[2 * i + 1];
    bool code = strncmp(hp_text(k, "form"), "official", 8) == 0;
    tn_odin_opt o = {hp(k, "lambda_L", hp(k, "correlation_with_length", 0)), hp(k, "lambda_O", 0),
                     code ? "code" : "paper"};
    double loss = problem_loss(p, tn_pooled_odin.algo, &o), w[16], dw[16] = {0};
    want_grad(k, "r_quality", p->g_score, q.n);
    want_grad(k, "r_length", p->g_extra, q.n);
    if (code) {
        want_loss(k, loss);
        want_metric(k, "rho_total", tn_metrics_find(&p->m, "length_correlation/sum"));
        return;
    }
    memcpy(w, hq.v, sizeof(double) * (size_t)hq.n);
    memcpy(w + hq.n, hl.v, sizeof(double) * (size_t)hq.n);
    double overlap = tn_pooled_odin.penalty(&o, hq.n, w, dw);
    want_loss(k, loss + overlap);
    want_metric(k, "ortho", overlap);
    want_grad(k, "head_quality", dw, hq.n);
    want_grad(k, "head_length", dw + hq.n, hq.n);
    want_metric(k, "rho_quality", tn_metrics_find(&p->m, "length_correlation/quality"));
    want_metric(k, "rho_length", tn_metrics_find(&p->m, "length_correlation/length"));
}

static void csi(kase *k) {
    vec x = in_vec(k, "rlhf_latents"), sft = in_vec(k, "sft_latents");
    int n = x.n / 2, label[64], size[64];
    double distance[64];
    vec labels = {.n = n}, rows = {0};
    tn_separation s = {.label = label, .size = size, .distance = distance};
    CHECK_OK(tn_cluster_separation(x.v, n, sft.v, sft.n / 2, 2, hp(k, "dbscan_eps", 0),
                                   (int)hp(k, "dbscan_min_samples", 0), &s, e));
    for (int i = 0; i < n; i++) labels.v[i] = label[i];
    for (int c = 0; c < s.n_cluster; c++)
        rows.v[rows.n++] = size[c], rows.v[rows.n++] = distance[c];
    want_metrics(k, "labels", labels.v, n);
    want_metrics(k, "cluster_size_and_distance", rows.v, rows.n);
    want_metric(k, "csi", s.csi);
}
static void mahalanobis(kase *k) {
    vec x = in_vec(k, "sft_latents"), q = in_vec(k, "query");
    double r = in_vec(k, "reward").v[0], eta = hp(k, "eta", 0);
    tn_latent_fit f;
    CHECK_OK(tn_latent_fit_new(&f, x.v, x.n / 2, 2, (int)hp(k, "cov_ddof", 0), hp(k, "ridge", 0),
                               false, e));
    double d2 = tn_latent_distance2(&f, q.v);
    want_metrics(k, "mean", f.mean, 2);
    want_metrics(k, "cov", f.cov, 4);
    want_metric(k, "distance_squared", d2);
    want_metric(k, "distance", sqrt(d2));
    want_metric(k, "chi2_p_value_2dof", tn_chi2_tail(d2, 2));
    want_metric(k, "penalised_reward_distance", tn_latent_reward(r, d2, eta, false));
    want_metric(k, "penalised_reward_squared", tn_latent_reward(r, d2, eta, true));
    tn_latent_free(&f);
}

const runner latent_runners[] = {
    {"inform_loss", inform},
    {"odin_loss", odin},
    {"cluster_separation_index", csi},
    {"mahalanobis_penalty", mahalanobis},
    {NULL, NULL},
};
