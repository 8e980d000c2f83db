/* The per-pair formulas of DPO's losses: value and d/da, d/db of each; dpo.c puts them together. */
#include "algo/dpo.h"
#include <string.h>

/* loss(u) with u = beta (a - b): both sides get opposite gradients. */
static tn_dpo_term of_u(double loss, double du, double beta) {
    return (tn_dpo_term){loss, beta * du, -beta * du};
}

/* p sp(-u) + (1-p) sp(u); p = 1 is DPO, otherwise cDPO or a soft label. */
static tn_dpo_term sigmoid_term(double u, double p, double beta) {
    return of_u(p * tn_softplus(-u) + (1 - p) * tn_softplus(u),
                (1 - p) * tn_sigmoid(u) - p * tn_sigmoid(-u), beta);
}
static double smoothed(const tn_dpo_opt *o, double p) {
    return p * (1 - o->label_smoothing) + (1 - p) * o->label_smoothing;
}

/* 2305.18290; smoothing: cDPO; margin: ODPO, 2402.10571. */
static tn_dpo_term loss_sigmoid(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b) - o->margin_scale * q->margin;
    return sigmoid_term(u, smoothed(o, q->p), o->beta);
}
/* rDPO, 2403.00409: unbiased when a share eps of the labels is flipped.
 * [(1-eps) sp(-u) - eps sp(u)] / (1 - 2 eps) */
static tn_dpo_term loss_robust(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double eps = o->label_smoothing, u = o->beta * (q->a - q->b), z = 1 / (1 - 2 * eps);
    return of_u(z * ((1 - eps) * tn_softplus(-u) - eps * tn_softplus(u)),
                -z * ((1 - eps) * tn_sigmoid(-u) + eps * tn_sigmoid(u)), o->beta);
}
/* max(0, 1 - u): SLiC's hinge on log-ratios, 2305.10425, 2309.06657. */
static tn_dpo_term loss_hinge(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b);
    return u < 1 ? of_u(1 - u, -1, o->beta) : (tn_dpo_term){0, 0, 0};
}
/* IPO, 2310.12036: (a - b - 1/(2 beta))^2, on log-ratios per token (ipo) or summed (ipo_sum). */
static tn_dpo_term loss_ipo(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double d = q->a - q->b - 0.5 / o->beta;
    return (tn_dpo_term){d * d, 2 * d, -2 * d};
}
/* EXO, 2402.00856: KL(s(u), s(-u) || 1-eps, eps). */
static tn_dpo_term loss_exo(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b), s = tn_sigmoid(u), c = tn_sigmoid(-u);
    double lw = tn_log1p(-o->label_smoothing), ll = tn_log(o->label_smoothing);
    return of_u(s * (tn_logsigmoid(u) - lw) + c * (tn_logsigmoid(-u) - ll), s * c * (u - (lw - ll)),
                o->beta);
}
/* NCA, 2402.05369: sp(-beta a) + (1/2) sp(beta a) + (1/2) sp(beta b). */
static tn_dpo_term loss_nca(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double ra = o->beta * q->a, rb = o->beta * q->b;
    return (tn_dpo_term){tn_softplus(-ra) + 0.5 * (tn_softplus(ra) + tn_softplus(rb)),
                  o->beta * (0.5 * tn_sigmoid(ra) - tn_sigmoid(-ra)),
                  0.5 * o->beta * tn_sigmoid(rb)};
}
/* BCO, 2404.04656: sp(-(beta a - delta)) + sp(beta b - delta). */
static tn_dpo_term loss_bco(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double ra = o->beta * q->a - o->bco_delta, rb = o->beta * q->b - o->bco_delta;
    return (tn_dpo_term){tn_softplus(-ra) + tn_softplus(rb), -o->beta * tn_sigmoid(-ra),
                  o->beta * tn_sigmoid(rb)};
}
/* SPPO, 2405.00675, winner and loser certain: (a - 1/(2 beta))^2 + (b + 1/(2 beta))^2. */
static tn_dpo_term loss_sppo_hard(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double da = q->a - 0.5 / o->beta, db = q->b + 0.5 / o->beta;
    return (tn_dpo_term){da * da + db * db, 2 * da, 2 * db};
}
/* SPPO with a win probability p: (1/2)[(a - (p - 1/2)/beta)^2 + (b - (1/2 - p)/beta)^2]. */
static tn_dpo_term loss_sppo(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double c = (q->p - 0.5) / o->beta, da = q->a - c, db = q->b + c;
    return (tn_dpo_term){0.5 * (da * da + db * db), da, db};
}
/* APO, 2408.06266. zero: s(-beta a) + s(beta b); down: s(beta a) + s(-beta (a - b)). */
static double slope(double z) { return tn_sigmoid(z) * tn_sigmoid(-z); }
static tn_dpo_term loss_apo_zero(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double ra = o->beta * q->a, rb = o->beta * q->b;
    return (tn_dpo_term){tn_sigmoid(-ra) + tn_sigmoid(rb), -o->beta * slope(ra), o->beta * slope(rb)};
}
static tn_dpo_term loss_apo_down(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double ra = o->beta * q->a, u = o->beta * (q->a - q->b);
    return (tn_dpo_term){tn_sigmoid(ra) + tn_sigmoid(-u), o->beta * (slope(ra) - slope(u)),
                  o->beta * slope(u)};
}
/* DiscoPOP, 2406.08414: (1-m) sp(-u) + m e^-u, m = s(u / tau). */
static tn_dpo_term loss_discopop(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b), z = u / o->discopop_tau, m = tn_sigmoid(z),
           c = tn_sigmoid(-z);
    double ex = tn_exp(tn_logsigmoid(z) - u), sp = tn_softplus(-u); /* ex = m e^-u */
    return of_u(c * sp + ex, -c * tn_sigmoid(-u) - ex + c * (ex - m * sp) / o->discopop_tau,
                o->beta);
}
/* DPOP, 2402.13228: sp(-beta (a - b - lambda max(0, -a))). */
static tn_dpo_term loss_dpop(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b - o->dpop_lambda * (q->a < 0 ? -q->a : 0));
    double k = o->beta * tn_sigmoid(-u);
    return (tn_dpo_term){tn_softplus(-u), -k * (q->a < 0 ? 1 + o->dpop_lambda : 1), k};
}
/* R-DPO, 2403.19159: sp(-(u + alpha (n_w - n_l))). */
static tn_dpo_term loss_r_dpo(const tn_dpo_opt *o, const tn_dpo_pair *q) {
    double u = o->beta * (q->a - q->b) + o->length_alpha * (q->n_w - q->n_l);
    return of_u(tn_softplus(-u), -tn_sigmoid(-u), o->beta);
}

const tn_dpo_loss tn_dpo_losses[] = {
    {"sigmoid", TN_DPO_SCORES | TN_DPO_SOFT, loss_sigmoid},
    {"sigmoid_norm", TN_DPO_SCORES | TN_DPO_PER_TOKEN | TN_DPO_SOFT, loss_sigmoid}, /* Tulu 3, 2411.15124 */
    {"robust", TN_DPO_SCORES, loss_robust},
    {"hinge", TN_DPO_SCORES, loss_hinge},
    {"ipo", TN_DPO_SCORES | TN_DPO_PER_TOKEN, loss_ipo},
    {"ipo_sum", TN_DPO_SCORES, loss_ipo},
    {"exo_pair", TN_DPO_SCORES, loss_exo},
    {"nca_pair", 0, loss_nca},
    {"bco_pair", 0, loss_bco},
    {"sppo_hard", 0, loss_sppo_hard},
    {"sppo", TN_DPO_SOFT, loss_sppo},
    {"apo_zero", 0, loss_apo_zero},
    {"apo_down", 0, loss_apo_down},
    {"discopop", TN_DPO_SCORES, loss_discopop},
    {"dpop", 0, loss_dpop},
    {"r_dpo", TN_DPO_SCORES, loss_r_dpo},
    {"sft", TN_DPO_SCORES, NULL}, /* token mean of -l_t over the chosen responses of the whole batch */
    {NULL, 0, NULL}};

const tn_dpo_loss *tn_dpo_find(const char *name) {
    for (const tn_dpo_loss *l = tn_dpo_losses; l->name; l++)
        if (strcmp(l->name, name) == 0) return l;
    return NULL;
}

bool tn_dpo_reads_p(tn_opt_list types) {
    for (int i = 0; i < types.n; i++) {
        const tn_dpo_loss *l = tn_dpo_find(types.v[i]);
        if (!l || !(l->flags & TN_DPO_SOFT)) return false;
    }
    return true;
}
