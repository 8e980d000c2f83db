/* Outliers in a reward model's latent space, where over-optimised responses leave the cloud of
 * those of the SFT model (InfoRM, Miao et al. 2024, 2402.09345; 2510.13694). Rows are latents mu
 * [n][dim] (tn_inform_latent). These run beside training, a few hundred rows at a time, and take
 * memory. */
#ifndef TN_ALGO_LATENT_H
#define TN_ALGO_LATENT_H
#include "algo/algo.h"

/* TN_ARG for no rows, TN_NUMERIC for a number that is not finite (named with its row). */
tn_status tn_latent_check(const double *x, int n, int dim, const char *who, tn_err *e);

/* DBSCAN (Ester et al. 1996) with Euclidean distance: rows with at least min_samples rows within
 * eps, themselves included, are cores; label[i] = cluster in the order of their first cores, -1:
 * noise. A border row joins the first cluster that reaches it. O(n^2). TN_ARG for eps <= 0,
 * min_samples < 1 or no rows. */
tn_status tn_dbscan(const double *x, int n, int dim, double eps, int min_samples, int *label,
                    int *n_cluster, tn_err *e);
/* An eps for it: the q quantile (0.95) over rows of the distance to the nearest other one (sorted,
 * index ceil(q n) - 1). TN_ARG for fewer than two rows. */
tn_status tn_latent_eps(const double *x, int n, int dim, double q, double *eps, tn_err *e);

/* Cluster separation index: sum over clusters of size x distance(centroid, nearest SFT row). label,
 * size and distance have room for n; noise contributes nothing. */
typedef struct tn_separation {
    int n_cluster;
    int *label, *size;
    double *distance, csi;
} tn_separation;
tn_status tn_cluster_separation(const double *x, int n, const double *sft, int n_sft, int dim,
                                double eps, int min_samples, tn_separation *out, tn_err *e);

/* Gaussian of the SFT rows: covariance with denominator n - ddof, `ridge` added to its diagonal;
 * with `shrinking`, that with denominator n drawn towards a multiple of the unit matrix as far as
 * Ledoit and Wolf (2004) say, which many dimensions and few rows need. One block of memory, freed
 * with tn_latent_free. TN_NUMERIC when rows are not finite, or too few for their dimension without
 * either. */
typedef struct tn_latent_fit {
    int dim;
    double *mean, *cov, *chol; /* [dim], [dim][dim], its lower factor */
    double *work;              /* [dim] of tn_latent_distance2 */
    double shrinkage;          /* 0 to 1 */
} tn_latent_fit;
tn_status tn_latent_fit_new(tn_latent_fit *f, const double *x, int n, int dim, int ddof,
                            double ridge, bool shrinking, tn_err *e);
void tn_latent_free(tn_latent_fit *f);
/* Squared Mahalanobis distance of a row. */
double tn_latent_distance2(const tn_latent_fit *f, const double *row);
/* P(chi^2 with dof degrees of freedom > x): the p-value of a squared distance. Absolute error
 * 1e-14. */
double tn_chi2_tail(double x, int dof);
/* Share of n rows whose p-value is below alpha: alpha for rows like the SFT model's, more where a
 * policy has left them (MOP, 2510.13694, without its projection). */
double tn_latent_outliers(const tn_latent_fit *f, const double *x, int n, double alpha);
/* The reward with the distance as a penalty: r - eta D (the code), or - eta D^2 (the text). */
double tn_latent_reward(double reward, double distance2, double eta, bool squared);
#endif
