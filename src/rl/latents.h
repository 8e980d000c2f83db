/* Where responses lie in the first reward model's space, beside those of the first batch, which the starting policy
 * sampled: what the alarms `latent` and `separation` read (algo/alarm.h, algo/latent.h).
 *
 * A response's latents are z = P e of its last hidden state e: InfoRM's mu where the model has that bottleneck, else e itself;
 * of more than TN_LATENTS a random projection with entries +-1/sqrt(TN_LATENTS) (distances keep within a few per cent: Johnson and Lindenstrauss), so
 * that a covariance can be had from one batch. The first TN_LATENT_ROWS responses of the first batch are kept, float32, and
 * are in every checkpoint. */
#ifndef TN_RL_LATENTS_H
#define TN_RL_LATENTS_H
#include "algo/latent.h"
#include "train/rollout.h"

enum { TN_LATENTS = 64, TN_LATENT_ROWS = 128 };

typedef struct tn_latents {
    tn_scorer *scorer; /* NULL: nobody asked */
    int dim, width, cap, n_first;
    double *map;           /* [dim][width] */
    double *first;         /* [n_first][dim] */
    double *now, *distance; /* [cap][dim], [cap] of clusters */
    int *label, *size;
    tn_latent_fit fit;
    double eps; /* the usual distance of neighbours in `first` (tn_latent_eps, .95) */
} tn_latents;

/* For batches of up to `cap` responses that `s`, the model in `dir`, scores. TN_ARG for process reward models. */
tn_status tn_latents_open(tn_latents *l, tn_scorer *s, const char *dir, int cap, tn_err *e);
void tn_latents_close(tn_latents *l);
/* Of the rollouts that were scored last, the policy's own: the mean Mahalanobis distance, and the cluster separation index
 * a response in units of eps. NaN for batches that are too few (below 4) to say. */
tn_status tn_latents_look(tn_latents *l, const tn_rollouts *r, double *distance, double *separation, tn_err *e);

json_t *tn_latents_state(const tn_latents *l); /* new reference; null before the first batch */
tn_status tn_latents_take(tn_latents *l, const json_t *state, const char *where, tn_err *e);
#endif
