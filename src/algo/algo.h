/* The algorithm contract.
 *
 * An algorithm is a pure function of flat arrays of numbers per token, sequence, pair and
 * group. It returns a loss, metrics and the closed-form gradient of the loss with respect to
 * the numbers that the network made. It never sees tensors, devices or threads, and this
 * directory includes nothing but algo.h and base/.
 *
 * The loss is additive over calls: a step may hand over the optimisation batch in several
 * micro-batches; each call gets some members and the totals of the whole batch (`total`), and
 * losses and gradients of the calls add up. Sums and counts are therefore kept apart.
 *
 * No algorithm reports a metric called "loss": the loss of a step is the sum of tn_grad.loss.
 *
 * Notation (docs/methods are written in it): l_t = log pi(y_t | x, y_<t) of scored token t,
 * S = sum of l_t over a sequence's scored tokens, r_t the same under the frozen reference.   */
#ifndef TN_ALGO_H
#define TN_ALGO_H
#include "base/mathx.h"
#include "base/option.h"
#include "base/status.h"

/* Which network outputs of this pass one gradient depends on: decides what the packer must
 * keep in one micro-batch. */
typedef enum tn_coupling {
    TN_COUPLE_TOKEN,    /* coefficients known before the pass, up to the token itself */
    TN_COUPLE_SEQUENCE,
    TN_COUPLE_PAIR,
    TN_COUPLE_GROUP,
    TN_COUPLE_BATCH     /* two phases: forward all, then the algorithm, then backward */
} tn_coupling;

enum { /* needs, bit set */
    TN_NEED_LOGP = 1, TN_NEED_ENTROPY = 2, TN_NEED_LSE = 4, TN_NEED_VALUE = 8, TN_NEED_SCORE = 16,
    TN_NEED_REF_LOGP = 32, TN_NEED_OLD_LOGP = 64, TN_NEED_ADVANTAGE = 128, TN_NEED_STATS = 256,
    TN_NEED_SUM_SQ = 512,
    TN_NEED_PROMPT = 1024,      /* the prompt's own tokens are scored, too: tn_obs.prompt */
    TN_NEED_EXTRA = 1 << 12, TN_NEED_LENGTH = 1 << 13, TN_NEED_MACRO = 1 << 14,
    /* of the second model's distribution, beside the policy's (tn_obs.kl, rkl, jsd) */
    TN_NEED_KL = 1 << 24, TN_NEED_RKL = 1 << 25, TN_NEED_JSD = 1 << 26 /* bits 16 to 23: obs.h, what rows bring along */
};

/* Sizes of the whole optimisation batch, the denominators of every mean. */
typedef struct tn_total {
    double tok, seq, pair, group;
    double chosen_tok;          /* scored tokens of the chosen sides of all pairs (and their prompts: TN_NEED_PROMPT) */
    double gold_tok;            /* of gold answers beside pairs */
    /* Rollouts. gen_tok: tokens of the generation batch over the steps that share it (DAPO's
     * denominator); kept_tok: those at or above an entropy floor. 0: the same as tok. */
    double gen_tok, kept_tok;
    double macro;               /* macro actions */
} tn_total;

typedef struct tn_obs {
    /* Sequences own consecutive scored tokens: sequence s has tokens off[s] .. off[s+1]-1. */
    int n_seq;
    const int *off;             /* [n_seq+1], off[0] = 0 */
    /* From the network, [n_tok]; NULL where not asked for (needs). */
    const double *logp;         /* l_t */
    const double *entropy;      /* of the full distribution, nats */
    const double *mean_logit;   /* mean over the vocabulary of the raw logits (metrics only) */
    const double *top1;         /* 1 when the target is the arg max (metrics only) */
    const double *log_sum_sq_p; /* log sum_v pi(v)^2 of the full distribution */
    /* Exact divergences at the token between the policy's distribution p and that, q, of a second model (reference,
     * teacher): KL(p|q), KL(q|p), generalised Jensen-Shannon with the caller's beta. */
    const double *kl, *rkl, *jsd;
    const double *value;        /* V of the state before token t */
    const double *score;        /* [n_seq] scalar head at the sequence's last token */
    /* Known before the pass, [n_tok]. */
    const double *ref_logp, *old_logp, *old_value, *advantage, *ret;
    /* Pairs of sequences. */
    int n_pair;
    const int *chosen, *rejected; /* [n_pair] sequence numbers */
    const double *margin;         /* [n_pair] label strength, or NULL (0) */
    const double *p_chosen;       /* [n_pair] probability that the label is right, or NULL (1) */
    const int *gold;              /* [n_pair] sequence of the gold answer beside the pair, -1: has none */
    const int *prompt;            /* [n_pair] sequence of the prompt's tokens, -1: has none; NULL unless asked for */
    /* Single responses. */
    const int *label;             /* [n_seq] 1 desirable, 0 not */
    const double *baseline;       /* [n_seq] KTO's z0, BCO's delta: known before the pass, no gradient */
    /* Groups: group g has sequences group_off[g] .. group_off[g+1]-1; rank 1 = best. */
    int n_group;
    const int *group_off;         /* [n_group+1] */
    const int *rank;              /* [n_seq] */
    /* Macro action k has tokens macro_off[k] .. macro_off[k+1]-1, at least one, of one sequence;
     * the macros of a call are all its tokens, in order (macro.h). */
    int n_macro;
    const int *macro_off;         /* [n_macro+1] */
    /* Of pooled heads (pooled.h): what they give beside the score. */
    int n_extra;
    const double *extra;          /* [n_seq][n_extra] */
    const double *length;         /* [n_seq] tokens of the response */
    /* Coupling BATCH: room to sort the pairs by two values, [2 n_pair] each. */
    double *sort_value;
    int *sort_order;
    const uint64_t *origin;       /* [n_seq] the row that it is of, the same in every step; NULL: evaluation */
    tn_total total;
} tn_obs;

typedef struct tn_grad {
    double loss;                  /* set: this call's share; shares add up to the batch's loss */
    /* [n_tok] d loss / d number. Steps add to them (two algorithms may share one tn_grad), so the
     * caller zeroes them; NULL where the gradient is not wanted. */
    double *logp, *entropy, *lse, *value;
    double *score;                /* [n_seq] */
    double *extra;                /* [n_seq][n_extra] */
    double *kl, *rkl, *jsd;       /* [n_tok] */
} tn_grad;

/* Metrics: named sums with counts, merged over calls; a value is sum/count (or max, min, sum). */
typedef enum tn_metric_kind {
    TN_METRIC_MEAN,
    TN_METRIC_MAX,
    TN_METRIC_MIN,
    TN_METRIC_SUM
} tn_metric_kind;
#define TN_METRICS_MAX 96
typedef struct tn_metrics {
    int n;
    struct {
        const char *name; /* static storage */
        tn_metric_kind kind;
        double sum, count;
    } v[TN_METRICS_MAX];
} tn_metrics;
void tn_metrics_clear(tn_metrics *m);
void tn_metrics_mean(tn_metrics *m, const char *name, double sum, double count);
void tn_metrics_put(tn_metrics *m, tn_metric_kind kind, const char *name, double value);
void tn_metrics_merge(tn_metrics *into, const tn_metrics *from);
double tn_metrics_get(const tn_metrics *m, int i);            /* NaN when the count is 0 */
double tn_metrics_find(const tn_metrics *m, const char *name); /* NaN when absent */

typedef struct tn_algo {
    const char *name, *summary;
    tn_coupling coupling;
    unsigned needs;
    const tn_opt_row *options;    /* rows describing the struct passed as `opt` */
    size_t opt_size;
    /* opt: the bound option struct. Errors: TN_ARG for impossible hyper-parameters or an empty
     * mask, TN_NUMERIC when an input is not finite (message names token and sequence). */
    tn_status (*step)(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e);
    unsigned (*more_needs)(const void *opt); /* that some options bring; NULL: none ever */
} tn_algo;
unsigned tn_algo_needs(const tn_algo *a, const void *opt); /* needs and more_needs together */

extern const tn_algo tn_algo_sft, tn_algo_reward, tn_algo_reward_rank, tn_algo_prm, tn_algo_dpo,
    tn_algo_dpo_aot, tn_algo_tdpo, tn_algo_kto, tn_algo_cpo, tn_algo_orpo, tn_algo_slic, tn_algo_ppo_policy,
    tn_algo_ppo_value, tn_algo_grpo, tn_algo_rloo, tn_algo_reinforce, tn_algo_gkd, tn_algo_sdpo;
extern const tn_algo tn_algo_macro_policy, tn_algo_macro_value, tn_algo_cost, tn_algo_inform,
    tn_algo_odin, tn_algo_many, tn_algo_a2po, tn_algo_xpo, tn_algo_tpo;
extern const tn_algo *const tn_algo_all[]; /* NULL-terminated */
const tn_algo *tn_algo_find(const char *name); /* NULL when there is none */
#endif
