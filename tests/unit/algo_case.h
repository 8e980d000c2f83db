/* Shared by the tests of src/algo: golden cases as flat arrays, and random inputs with
 * finite differences. */
#ifndef ALGO_CASE_H
#define ALGO_CASE_H
#include "algo/ensemble.h"
#include "algo/lagrange.h"
#include "algo/losses.h"
#include "algo/macro.h"
#include "algo/pick.h"
#include "algo/pooled.h"
#include "algo/reward.h"
#include "algo/rl.h"
#include "algo/rlthf.h"
#include "algo/shape.h"
#include "base/rng.h"
#include "test.h"
#include <math.h>

#define MAXV 512
typedef struct vec { int n; double v[MAXV]; } vec;

/* One golden case. Every expected value must be compared: `seen` counts them. */
typedef struct kase {
    const json_t *j;
    const char *id;
    double rel, abs;
    int seen;
} kase;

vec jvec(const json_t *a);            /* numbers and booleans of nested arrays, in order */
int jrows(const json_t *a, int *off); /* row offsets of [[...],[...]]; a flat array is one row */
const json_t *jin(const kase *k, const char *name);
vec in_vec(const kase *k, const char *name);
double hp(const kase *k, const char *name, double def); /* null and absent: def */
const char *hp_text(const kase *k, const char *name);
void want_loss(kase *k, double got);
void want_grad(kase *k, const char *name, const double *got, int n);
void want_metrics(kase *k, const char *name, const double *got, int n);
static inline void want_metric(kase *k, const char *name, double got) {
    want_metrics(k, name, &got, 1);
}
const json_t *expected_metric(const kase *k, const char *name);
void want_texts(kase *k, const char *name, const char *const *got, int n);

/* Tokens of the rows where the mask is set: v shrinks in place, off gets the new row offsets,
 * back[i] is the original index of kept element i. No mask: everything is kept. */
int keep_masked(const json_t *rows, const json_t *mask, int *off, int *back);
vec take(const vec *v, const int *back, int n);
vec put_back(const double *v, const int *back, int n, int full);

/* A random problem with every array that some loss reads. */
typedef struct problem {
    tn_obs x;
    int off[33], chosen[16], rejected[16], group_off[9], rank[32], label[32], prompt[16], sort_order[32];
    double logp[MAXV], entropy[MAXV], mean_logit[MAXV], top1[MAXV], lssp[MAXV], value[MAXV],
        score[32], kl[MAXV], rkl[MAXV], jsd[MAXV];
    double ref_logp[MAXV], old_logp[MAXV], old_value[MAXV], advantage[MAXV], ret[MAXV];
    double margin[16], p_chosen[16], baseline[32], sort_value[32];
    int macro_off[MAXV];
    double extra[32], length[32];
    double g_logp[MAXV], g_entropy[MAXV], g_value[MAXV], g_score[32], g_extra[32],
        g_kl[MAXV], g_rkl[MAXV], g_jsd[MAXV];
    tn_grad g;
    tn_metrics m;
} problem;
/* n_seq even: sequences 2i and 2i+1 are pair i; groups of 4; macros of 1 to 3 tokens; one extra output. */
void problem_random(problem *p, int n_seq, uint64_t seed);
/* Points x at the arrays of p (after a copy). */
void problem_wire(problem *p);
void problem_baseline(problem *p, double z); /* of all responses */
/* Runs the step on zeroed gradients; the loss, or NaN with a failed check. */
double problem_loss(problem *p, const tn_algo *a, const void *opt);
/* All gradients of `a` against sixth-order central differences of step h. With `frozen`, the
 * loss to differentiate is frozen(ctx) instead of the algorithm's (stop-gradient terms). */
typedef double (*loss_fn)(problem *p, const void *ctx);
void problem_differences(problem *p, const tn_algo *a, const void *opt, loss_fn frozen,
                         const void *ctx, double tol, const char *what);
/* Sums over single pairs, groups or sequences equal the whole batch. unit: 's', 'p' or 'g'. */
void problem_additive(problem *p, const tn_algo *a, const void *opt, char unit, const char *what);

/* Options at their defaults. */
tn_sft_opt sft_defaults(void);
tn_reward_opt reward_defaults(void);
tn_dpo_opt dpo_defaults(void);
tn_ppo_policy_opt policy_defaults(void);
tn_ppo_value_opt value_defaults(void);
tn_rl_opt rl_defaults(void);
tn_score_opt score_defaults(void);
tn_kto_opt kto_defaults(void);
tn_cpo_opt cpo_defaults(void);
tn_cpo_opt simpo_defaults(void); /* the paper's, without a loss type */
tn_grpo_opt grpo_defaults(void);
tn_macro_opt macro_defaults(void);
tn_macro_value_opt macro_value_defaults(void);
tn_cost_opt cost_defaults(void);
tn_lagrange_opt lagrange_defaults(void);
tn_inform_opt inform_defaults(void);
tn_odin_opt odin_defaults(void);
tn_shape_opt shape_defaults(void);
tn_ensemble_opt ensemble_defaults(void);
tn_rlthf_opt rlthf_defaults(void);
tn_strength_opt strength_defaults(void);
tn_gkd_opt gkd_defaults(void);
tn_tdpo_opt tdpo_defaults(void);

/* A problem whose sequences are given by off, one call the whole batch; no pairs or groups yet. */
problem *case_fresh(int n_seq, const int *off);
void case_set(double *dst, const vec *v);
/* softmax(z / tau): log-probabilities into lp, entropy returned. */
double case_softmax(const double *z, int n, double tau, double *lp);
/* d loss/d z from d loss/d logp(target) and d loss/d entropy. */
void case_chain(const double *lp, int n, double tau, int target, double h, double gl, double gh,
                double *out);

/* Method of a golden case to the function that runs and compares it. Ends with a NULL method. */
typedef struct runner { const char *method; void (*run)(kase *); } runner;
extern const runner rm_runners[], dpo_runners[], ppo_runners[], more_runners[],
    toy_runners[], macro_runners[], safe_runners[], latent_runners[], score_runners[],
    num_op_runners[], goodhart_runners[], pair_runners[];
#endif
