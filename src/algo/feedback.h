/* AI feedback as numbers: what a judge's log-probs, scores and votes say.
 *
 * Sources: Bai et al. 2022 (2212.08073) for soft labels, clamping and principles; Lee et al. 2023 (2309.00267) for swapped
 * positions and direct rewards; Yuan et al. 2024 (2401.10020) for pairs from own scores; Mu et al. 2024 (2411.01111) for
 * rule-based rewards; Findeis et al. 2024 (2406.06560) for scores of principles; Huang et al. 2024 (2406.07814) for consensus. */
#ifndef TN_ALGO_FEEDBACK_H
#define TN_ALGO_FEEDBACK_H
#include "base/status.h"
#include <stdbool.h>

/* P(A) of a judge that may only say A or B: s(l_A - l_B), l the log-prob of the whole option string. */
double tn_label_soft(double logp_a, double logp_b);
double tn_label_clamp(double p, double lo, double hi);

/* Asked twice, the answers exchanged: p1 = P(label A) in the first order, p2 = P(label A) in the second, where A is the
 * other answer. Means of probabilities or of logits; the latter undoes a judge s(delta + bias) exactly. */
typedef enum tn_swap_mean { TN_SWAP_PROBS, TN_SWAP_LOGITS } tn_swap_mean;
double tn_label_swapped(double p1, double p2, tn_swap_mean how);
/* How much the judge prefers what comes first: (p1 + p2)/2 - 1/2, or (logit p1 + logit p2)/2. */
double tn_label_position_bias(double p1, double p2, tn_swap_mean how);

/* sum w_k p_k / sum w_k over principles; TN_ARG when the weights are not >= 0 with a sum above 0. */
tn_status tn_label_ensemble(const double *p, const double *w, int n, double *out, tn_err *e);
/* Of several chains of thought: the mean, clamped after averaging or before. */
typedef enum tn_cot_mean { TN_COT_PLAIN, TN_COT_MEAN_THEN_CLAMP, TN_COT_CLAMP_THEN_MEAN } tn_cot_mean;
double tn_label_cot(const double *p, int n, double lo, double hi, tn_cot_mean how);
/* -p log p - (1-p) log(1-p): the least that a soft label's loss can be. */
double tn_label_entropy(double p);

/* MT-bench's verdict (Zheng et al. 2023, 2306.05685): 1 or -1 when the first or the second answer wins in both orders, else 0,
 * a tie. p1, p2 as above. */
int tn_label_verdict(double p1, double p2);

/* A judge in both orders over n items; p1, p2 as above.
 *   consistency  share of items with the same winner (or a tie) in both orders
 *   first        share of answers that choose what comes first; a tie counts half
 *   bias         mean of (p1 + p2)/2 - 1/2 */
typedef struct tn_judge_orders { double consistency, first, bias; } tn_judge_orders;
tn_judge_orders tn_judge_orders_of(const double *p1, const double *p2, int n);
/* Against the truth: right1, right2 are the probabilities of the right answer in either order. Accuracies: of all answers, of
 * items right in both orders, of the mean probability (ties count half, half, not at all); p: mean probability. */
typedef struct tn_judge_accuracy { double pooled, both, mean, p; } tn_judge_accuracy;
tn_judge_accuracy tn_judge_accuracy_of(const double *right1, const double *right2, int n);
/* The temperature at which a judge's probabilities fit best: T > 0 minimises the mean of -log s(+-margin_i/T), + where
 * first_i (the first answer is right), margin = logit p. T is 0 when all are right, infinite when there is nothing in them
 * (sum of +-margin <= 0). nll, nll_1: the least, and that at T = 1. TN_ARG: n < 1, or a margin that is not finite. */
tn_status tn_judge_temperature(const double *margin, const bool *first, int n, double *T, double *nll_1, double *nll, tn_err *e);
/* Two judges: share of items where they say the same, and Cohen's kappa (o - c)/(1 - c), c the share by chance; NaN for c = 1. */
double tn_cohen_kappa(const bool *a, const bool *b, int n, double *observed);
/* Pearson's correlation; NaN when one of them does not vary. */
double tn_pearson(const double *x, const double *y, int n);

/* Likelihoods of the scores 1..10: sum i P(i) with P normalised, and (score - 5.5)/4.5 in [-1, 1]. TN_ARG without mass. */
tn_status tn_direct_score(const double likelihood[10], double *score, double *reward, tn_err *e);
/* Share of items whose most probable option (the first of equals) is the human's; p [n][options]. */
double tn_label_alignment(const double *p, const int *human, int n, int options);
/* Share by which a rate has fallen, (before - after)/before. */
double tn_relative_reduction(double before, double after);
/* Best and worst of n answers by the mean of their judgements score[n][judgements], the first of equals; mean [n].
 * false: all are equal and make no pair. */
bool tn_self_reward_pair(const double *score, int n, int judgements, double *mean, int *chosen, int *rejected);

/* Rule-based rewards: total R = r + w.x for answers of one prompt; mean over pairs (better, worse) of
 * max(0, margin + R(worse) - R(better)). x [n][k]; total [n], per_pair [pairs], grad [k] set; returns the loss. */
double tn_rbr_hinge(const double *x, const double *rm, int n, int k, const double *w, const int (*pair)[2], int pairs, double margin,
                    double *total, double *per_pair, double *grad);

/* Votes of a principle on labelled pairs. */
typedef struct tn_principle_votes { double for_, against, abstain, invalid; } tn_principle_votes;
typedef struct tn_principle_score { double accuracy, relevance, net; bool keep; } tn_principle_score;
/* accuracy for/(for+against), relevance (for+against)/all; kept when for > against and relevance reaches the least. */
tn_principle_score tn_principle_score_of(const tn_principle_votes *v, double min_relevance);
/* Product over groups of (agree + 1)/(seen + 2): what every group of voters accepts. */
double tn_group_consensus(const double *agree, const double *seen, int groups);
#endif
