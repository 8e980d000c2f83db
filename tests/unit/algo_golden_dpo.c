/* Golden cases of direct preference losses. */
#include "algo_case.h"
#include "base/mathx.h"

/* Direct preference losses: chosen sequences first, then the rejected ones. */
static int tokens_of(problem *p, double *dst, const json_t *chosen, const json_t *rejected) {
    int off[34], n = jrows(chosen, off);
    vec c = jvec(chosen), r = jvec(rejected);
    case_set(dst, &c);
    memcpy(dst + c.n, r.v, sizeof(double) * (size_t)r.n);
    for (int i = 0; i <= n; i++) p->off[i] = off[i];
    jrows(rejected, off);
    for (int i = 0; i <= n; i++) p->off[n + i] = c.n + off[i];
    return n;
}
static problem *dpo_problem(const kase *k) {
    static const int none[1] = {0};
    problem *p = case_fresh(0, none);
    int n = tokens_of(p, p->logp, jin(k, "chosen_logp"), jin(k, "rejected_logp"));
    tokens_of(p, p->ref_logp, jin(k, "chosen_ref_logp"), jin(k, "rejected_ref_logp"));
    if (jin(k, "chosen_log_sum_p2"))
        tokens_of(p, p->lssp, jin(k, "chosen_log_sum_p2"), jin(k, "rejected_log_sum_p2"));
    for (int i = 0; i < n; i++) p->chosen[i] = i, p->rejected[i] = n + i;
    p->x.n_seq = 2 * n;
    p->x.n_pair = n;
    p->x.total.pair = n;
    p->x.total.seq = 2 * n;
    p->x.total.tok = p->off[2 * n];
    p->x.total.chosen_tok = p->off[n];
    return p;
}
static const char *const mix_names[4] = {"sigmoid", "bco_pair", "sft", NULL};
static const char *one_name[1];

static tn_dpo_opt dpo_options(const kase *k, const char *loss) {
    tn_dpo_opt o = dpo_defaults();
    one_name[0] = loss;
    o.loss_type = (tn_opt_list){one_name, 1};
    o.beta = hp(k, "beta", hp(k, "tau", 0.1));
    o.label_smoothing = hp(k, "label_smoothing", 0);
    o.bco_delta = hp(k, "delta", 0);
    o.margin_scale = hp(k, "margin_scale", 0);
    o.dpop_lambda = hp(k, "lambda", 0);
    return o;
}
/* Loss, gradients, and the metrics of one or of every pair. */
static void dpo_compare(kase *k, problem *p, const tn_dpo_opt *o, const char *chosen,
                        const char *rejected) {
    int n = p->x.n_pair, tokens = p->off[n];
    vec a = {.n = n}, b = {.n = n}, ra = {.n = n}, rb = {.n = n}, rm = {.n = n}, each = {.n = n};
    want_loss(k, problem_loss(p, &tn_algo_dpo, o));
    want_grad(k, chosen, p->g_logp, tokens);
    want_grad(k, rejected, p->g_logp + tokens, p->off[2 * n] - tokens);
    if (expected_metric(k, "accuracy"))
        want_metric(k, "accuracy", tn_metrics_find(&p->m, "rewards/accuracies"));
    for (int i = 0; i < n; i++) {
        int c = p->chosen[0], r = p->rejected[0];
        p->x.n_pair = 1;
        p->x.total.pair = 1;
        p->chosen[0] = i, p->rejected[0] = n + i;
        if (p->x.p_chosen) p->x.p_chosen = p->p_chosen + i;
        if (p->x.margin) p->x.margin = p->margin + i;
        each.v[i] = problem_loss(p, &tn_algo_dpo, o);
        p->chosen[0] = c, p->rejected[0] = r;
        ra.v[i] = tn_metrics_find(&p->m, "rewards/chosen");
        rb.v[i] = tn_metrics_find(&p->m, "rewards/rejected");
        rm.v[i] = tn_metrics_find(&p->m, "rewards/margins");
        a.v[i] = ra.v[i] / o->beta, b.v[i] = rb.v[i] / o->beta;
    }
    struct { const char *name; vec *v; } all[] = {
        {"per_pair_loss", &each}, {"logratio_chosen", &a}, {"logratio_rejected", &b},
        {"reward_chosen", &ra}, {"reward_rejected", &rb}, {"reward_margin", &rm},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (expected_metric(k, all[i].name)) want_metrics(k, all[i].name, all[i].v->v, n);
}
static void dpo_case(kase *k, const char *loss) {
    tn_dpo_opt o = dpo_options(k, loss);
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
}
#define DPO(fn, loss) static void fn(kase *k) { dpo_case(k, loss); }
DPO(dpo_sigmoid, "sigmoid")
DPO(dpo_robust, "robust")
DPO(dpo_hinge, "hinge")
DPO(dpo_ipo_sum, "ipo_sum")
DPO(dpo_ipo, "ipo")
DPO(dpo_exo, "exo_pair")
DPO(dpo_nca, "nca_pair")
DPO(dpo_bco, "bco_pair")
DPO(dpo_sppo_hard, "sppo_hard")
DPO(dpo_apo_zero, "apo_zero")
DPO(dpo_apo_down, "apo_down")
DPO(dpo_norm, "sigmoid_norm")
DPO(dpo_dpop, "dpop")

static void dpo_discopop(kase *k) {
    tn_dpo_opt o = dpo_options(k, "discopop");
    o.beta = hp(k, "beta", 0);
    o.discopop_tau = hp(k, "tau", 0);
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
}
static void dpo_r_dpo(kase *k) {
    tn_dpo_opt o = dpo_options(k, "r_dpo");
    o.length_alpha = hp(k, "alpha", 0);
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
}
static void dpo_margin(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    vec gap = in_vec(k, "reward_gap");
    problem *p = dpo_problem(k);
    case_set(p->margin, &gap);
    p->x.margin = p->margin;
    dpo_compare(k, p, &o, "chosen_logp", "rejected_logp");
}
static void dpo_fdiv(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    const char *f = hp_text(k, "f");
    o.f_divergence = strcmp(f, "alpha") == 0            ? "alpha_divergence"
                     : strcmp(f, "jensen_shannon") == 0 ? "js_divergence"
                                                        : f;
    o.f_alpha = hp(k, "alpha", 0);
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
}
static void dpo_nll(kase *k) {
    static const char *const names[] = {"sigmoid", "sft"};
    char weight[32];
    const char *weights[] = {"1", weight};
    snprintf(weight, sizeof weight, "%.17g", hp(k, "nll_weight", 0));
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    o.loss_type = (tn_opt_list){names, 2};
    o.loss_weights = (tn_opt_list){weights, 2};
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
    tn_dpo_opt rpo = dpo_options(k, "sigmoid"); /* the same by RPO's option */
    rpo.rpo_alpha = hp(k, "nll_weight", 0);
    int seen = k->seen;
    dpo_compare(k, dpo_problem(k), &rpo, "chosen_logp", "rejected_logp");
    k->seen = seen;
    o.loss_type = (tn_opt_list){names + 1, 1};
    o.loss_weights = (tn_opt_list){NULL, 0};
    want_metric(k, "nll", problem_loss(dpo_problem(k), &tn_algo_dpo, &o));
}
static void dpo_mpo(kase *k) {
    static const char *const keys[] = {"dpo_sigmoid", "bco_pair", "sft"};
    const json_t *w = json_object_get(json_object_get(k->j, "hyperparameters"), "weights");
    char text[3][32];
    const char *weights[3];
    for (int i = 0; i < 3; i++) {
        snprintf(text[i], sizeof text[i], "%.17g", json_number_value(json_object_get(w, keys[i])));
        weights[i] = text[i];
    }
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    o.loss_type = (tn_opt_list){mix_names, 3};
    o.loss_weights = (tn_opt_list){weights, 3};
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
}
static void dpo_ld(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    problem *p = dpo_problem(k);
    o.ld_alpha = hp(k, "alpha", 0);
    dpo_compare(k, p, &o, "chosen_logp", "rejected_logp");
    vec h = {.n = 2};
    for (int i = 0; i < 2; i++) {
        p = dpo_problem(k);
        p->x.n_pair = 1;
        p->chosen[0] = i, p->rejected[0] = 2 + i;
        problem_loss(p, &tn_algo_dpo, &o);
        h.v[i] = tn_metrics_find(&p->m, "rewards/margins") / o.beta;
    }
    want_metrics(k, "h", h.v, h.n);
}
static void dpo_wpo(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    o.weighting = true;
    o.weighting_clip = hp(k, "clip_weight_to_1", 0) != 0;
    dpo_compare(k, dpo_problem(k), &o, "chosen_logp", "rejected_logp");
    /* weight of a pair: the loss with weights over the loss without; of a side: the definition */
    vec w = {.n = 2}, side[2] = {{.n = 2}, {.n = 2}};
    for (int i = 0; i < 2; i++) {
        problem *p = dpo_problem(k);
        p->x.n_pair = 1;
        p->chosen[0] = i, p->rejected[0] = 2 + i;
        double with = problem_loss(p, &tn_algo_dpo, &o);
        o.weighting = false;
        w.v[i] = with / problem_loss(p, &tn_algo_dpo, &o);
        o.weighting = true;
        for (int r = 0; r < 2; r++) {
            int s = 2 * r + i, n = p->off[s + 1] - p->off[s];
            double z = 0;
            for (int t = p->off[s]; t < p->off[s + 1]; t++) z += (p->logp[t] - p->lssp[t]) / n;
            side[r].v[i] = tn_exp(z);
        }
    }
    want_metrics(k, "w_pair", w.v, 2);
    want_metrics(k, "w_chosen", side[0].v, 2);
    want_metrics(k, "w_rejected", side[1].v, 2);
}
/* The case gives both win probabilities, which need not add up to 1; one pair per probability. */
static void dpo_sppo(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sppo");
    vec pc = in_vec(k, "p_chosen_wins"), pr = in_vec(k, "p_rejected_wins"), each = {.n = 2},
        a = {.n = 2}, b = {.n = 2};
    double loss = 0, gc[MAXV] = {0}, gr[MAXV] = {0};
    int tokens = 0, all = 0;
    for (int i = 0; i < 2; i++) {
        for (int side = 0; side < 2; side++) {
            problem *p = dpo_problem(k);
            tokens = p->off[2], all = p->off[4];
            p->x.n_pair = 1;
            p->chosen[0] = i, p->rejected[0] = 2 + i;
            p->x.p_chosen = p->p_chosen;
            p->p_chosen[0] = side ? 1 - pr.v[i] : pc.v[i];
            /* the other side held at its target adds nothing */
            int s = side ? i : 2 + i, t0 = p->off[s], n = p->off[s + 1] - t0;
            double now = 0, c = (p->p_chosen[0] - 0.5) / o.beta * (side ? 1 : -1);
            for (int t = t0; t < t0 + n; t++) now += p->logp[t] - p->ref_logp[t];
            p->logp[t0] += c - now;
            double l = problem_loss(p, &tn_algo_dpo, &o);
            loss += l;
            each.v[i] += 2 * l; /* two pairs in the batch */
            (side ? &b : &a)->v[i] =
                tn_metrics_find(&p->m, side ? "rewards/rejected" : "rewards/chosen") / o.beta;
            double *g = side ? gr : gc;
            for (int t = side ? tokens : 0; t < (side ? all : tokens); t++)
                g[side ? t - tokens : t] += p->g_logp[t];
        }
    }
    want_loss(k, loss);
    want_grad(k, "chosen_logp", gc, tokens);
    want_grad(k, "rejected_logp", gr, all - tokens);
    want_metrics(k, "per_pair_loss", each.v, 2);
    want_metrics(k, "logratio_chosen", a.v, 2);
    want_metrics(k, "logratio_rejected", b.v, 2);
}
static void dpo_step(kase *k) {
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    static const char *const names[] = {"chosen_step_logp", "rejected_step_logp"};
    static const int none[1] = {0};
    problem *p = case_fresh(0, none);
    tokens_of(p, p->logp, jin(k, names[0]), jin(k, names[1]));
    tokens_of(p, p->ref_logp, jin(k, "chosen_step_ref_logp"), jin(k, "rejected_step_ref_logp"));
    p->chosen[0] = 0, p->rejected[0] = 1;
    p->x.n_seq = 2, p->x.n_pair = 1, p->x.total.pair = 1;
    dpo_compare(k, p, &o, names[0], names[1]);
}
static void dpo_logits(kase *k) {
    static const char *const side[] = {"chosen", "rejected"};
    static const int none[1] = {0};
    problem *p = case_fresh(0, none);
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    double lp[8][64], h[8], out[2][64];
    int token[8], row[34], width = 0, t = 0;
    char name[64];
    for (int s = 0; s < 2; s++) {
        snprintf(name, sizeof name, "%s_logits", side[s]);
        int n = jrows(jin(k, name), row);
        vec z = in_vec(k, name);
        width = row[1];
        snprintf(name, sizeof name, "%s_tokens", side[s]);
        vec y = in_vec(k, name);
        snprintf(name, sizeof name, "%s_ref_seq_logp", side[s]);
        for (int i = 0; i < n; i++, t++) {
            h[t] = case_softmax(z.v + row[i], width, 1, lp[t]);
            token[t] = (int)y.v[i];
            p->logp[t] = lp[t][token[t]];
            p->ref_logp[t] = i ? 0 : in_vec(k, name).v[0];
        }
        p->off[s + 1] = t;
    }
    p->chosen[0] = 0, p->rejected[0] = 1;
    p->x.n_seq = 2, p->x.n_pair = 1, p->x.total.pair = 1;
    want_loss(k, problem_loss(p, &tn_algo_dpo, &o));
    for (int s = 0; s < 2; s++) {
        for (int i = p->off[s]; i < p->off[s + 1]; i++)
            case_chain(lp[i], width, 1, token[i], h[i], p->g_logp[i], 0,
                       out[s] + (i - p->off[s]) * width);
        snprintf(name, sizeof name, "%s_logits", side[s]);
        want_grad(k, name, out[s], (p->off[s + 1] - p->off[s]) * width);
    }
    want_metric(k, "chosen_seq_logp", tn_metrics_find(&p->m, "logps/chosen"));
    want_metric(k, "rejected_seq_logp", tn_metrics_find(&p->m, "logps/rejected"));
}
/* A policy whose ranking is level, where the reference prefers the rejected side by c. */
static void dpo_flip(kase *k) {
    vec c = in_vec(k, "ref_log_ratio_rejected_minus_chosen"), y = {.n = c.n};
    tn_dpo_opt o = dpo_options(k, "sigmoid");
    for (int i = 0; i < c.n; i++) {
        static const int off[] = {0, 1, 2};
        problem *p = case_fresh(2, off);
        p->logp[0] = p->logp[1] = -40;
        p->ref_logp[0] = -40 - c.v[i], p->ref_logp[1] = -40;
        p->chosen[0] = 0, p->rejected[0] = 1;
        p->x.n_pair = 1, p->x.total.pair = 1;
        y.v[i] = problem_loss(p, &tn_algo_dpo, &o);
    }
    want_metrics(k, "max_loss", y.v, y.n);
}

const runner dpo_runners[] = {
    {"dpo_sigmoid", dpo_sigmoid},
    {"dpo_cdpo", dpo_sigmoid},
    {"dpo_rdpo", dpo_robust},
    {"dpo_hinge", dpo_hinge},
    {"dpo_ipo_sum", dpo_ipo_sum},
    {"dpo_ipo_avg", dpo_ipo},
    {"dpo_exo_pair", dpo_exo},
    {"dpo_nca_pair", dpo_nca},
    {"dpo_bco_pair", dpo_bco},
    {"dpo_sppo_hard", dpo_sppo_hard},
    {"dpo_sppo", dpo_sppo},
    {"dpo_apo_zero", dpo_apo_zero},
    {"dpo_apo_down", dpo_apo_down},
    {"dpo_discopop", dpo_discopop},
    {"dpo_sigmoid_norm", dpo_norm},
    {"dpo_r_dpo_length", dpo_r_dpo},
    {"dpo_positive", dpo_dpop},
    {"dpo_offset_margin", dpo_margin},
    {"dpo_f_divergence", dpo_fdiv},
    {"dpo_plus_nll", dpo_nll},
    {"dpo_length_desensitised", dpo_ld},
    {"dpo_wpo", dpo_wpo},
    {"mpo_mixed", dpo_mpo},
    {"step_dpo", dpo_step},
    {"dpo_sigmoid_from_logits", dpo_logits},
    {"dpo_loss_needed_to_flip_ranking", dpo_flip},
    {NULL, NULL},
};
