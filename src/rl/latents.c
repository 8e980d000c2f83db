#include "rl/latents.h"
#include "algo/pooled.h"
#include "base/rng.h"
#include "model/safetensors.h"
#include <math.h>
#include <string.h>

enum { FEW = 4 };
#define PROJECTION UINT64_C(0x6c6174656e7473)

/* ---- z = map e ---- */

/* InfoRM's matrix of mu, [rows][width], of the folder; NULL where there is none. */
static tn_status bottleneck(const char *dir, int width, double **mu, int *rows, tn_err *e) {
    tn_st *file = NULL;
    *mu = NULL;
    TN_TRY(tn_st_open(&file, dir, e));
    const tn_st_entry *t = tn_st_find(file, TN_HEAD_PREFIX "mu.weight");
    tn_status st = TN_OK;
    if (t && t->n_dim == 2 && t->shape[1] == width && t->dtype != TN_ST_OTHER) {
        *rows = (int)t->shape[0];
        *mu = tn_malloc(t->count * sizeof **mu);
        if (*mu) tn_st_read(t, 0, t->count, *mu, sizeof **mu);
        else st = tn_fail(e, TN_NOMEM, "out of memory");
    }
    tn_st_close(file);
    return st;
}

/* map = R mu, R mu's random projection or, where that is small enough, the identity; mu NULL: the identity. */
static void project(tn_latents *l, const double *mu, int rows) {
    size_t W = (size_t)l->width;
    for (int k = 0; k < l->dim; k++) {
        double *to = l->map + (size_t)k * W;
        for (int i = 0; i < rows; i++) {
            bool up = tn_mix(PROJECTION + (uint64_t)k * (uint64_t)rows + (uint64_t)i) & 1;
            double c = l->dim == rows ? i == k : (up ? 1 : -1) / sqrt(l->dim);
            if (!mu) to[i] += c;
            for (size_t j = 0; mu && c != 0 && j < W; j++) to[j] += c * mu[(size_t)i * W + j];
        }
    }
}

tn_status tn_latents_open(tn_latents *l, tn_scorer *s, const char *dir, int cap, tn_err *e) {
    int width = s->model->desc.hidden, rows = width;
    double *mu;
    if (s->model->desc.per_token)
        return tn_fail(e, TN_ARG, "--alarm-latent and --alarm-separation read a reward model of whole responses, and %s judges steps", dir);
    TN_TRY(bottleneck(dir, width, &mu, &rows, e));
    *l = (tn_latents){.dim = rows < TN_LATENTS ? rows : TN_LATENTS, .width = width, .cap = cap};
    size_t dim = (size_t)l->dim, n = (size_t)cap;
    l->map = tn_calloc(dim * (size_t)width, sizeof *l->map);
    l->first = tn_calloc(TN_LATENT_ROWS * dim, sizeof *l->first);
    l->now = tn_calloc(n * dim, sizeof *l->now);
    l->distance = tn_calloc(n, sizeof *l->distance);
    l->label = tn_calloc(n, sizeof *l->label);
    l->size = tn_calloc(n, sizeof *l->size);
    bool have = l->map && l->first && l->now && l->distance && l->label && l->size;
    if (have) project(l, mu, rows);
    tn_free(mu);
    if (!have) return tn_fail(e, TN_NOMEM, "out of memory for the latents of %d responses", cap);
    l->scorer = s;
    return tn_scorer_keep_latents(s, l->map, l->dim, cap, e);
}

void tn_latents_close(tn_latents *l) {
    void *p[] = {l->map, l->first, l->now, l->distance, l->label, l->size};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_latent_free(&l->fit);
}

/* ---- a batch ---- */

/* What the kept rows say of the start. */
static tn_status begin(tn_latents *l, tn_err *e) {
    TN_TRY(tn_latent_fit_new(&l->fit, l->first, l->n_first, l->dim, 0, 1e-9, true, e));
    return tn_latent_eps(l->first, l->n_first, l->dim, 0.95, &l->eps, e);
}

tn_status tn_latents_look(tn_latents *l, const tn_rollouts *r, double *distance, double *separation, tn_err *e) {
    size_t dim = (size_t)l->dim;
    int n = 0;
    *distance = *separation = NAN;
    for (int i = 0; i < r->n; i++) {
        if (!r->own[i]) continue;
        for (size_t k = 0; k < dim; k++) l->now[(size_t)n * dim + k] = l->scorer->latent[k * (size_t)l->cap + (size_t)i];
        n++;
    }
    if (n < FEW) return TN_OK;
    if (l->n_first == 0) {
        l->n_first = n < TN_LATENT_ROWS ? n : TN_LATENT_ROWS;
        for (size_t i = 0; i < (size_t)l->n_first * dim; i++) l->first[i] = (float)l->now[i];
        TN_TRY(begin(l, e));
    }
    *distance = 0;
    for (int i = 0; i < n; i++) *distance += sqrt(tn_latent_distance2(&l->fit, l->now + (size_t)i * dim)) / n;
    if (!(l->eps > 0)) return TN_OK; /* the same response every time */
    tn_separation s = {.label = l->label, .size = l->size, .distance = l->distance};
    TN_TRY(tn_cluster_separation(l->now, n, l->first, l->n_first, l->dim, l->eps, FEW, &s, e));
    *separation = s.csi / n / l->eps;
    return TN_OK;
}

/* ---- in a checkpoint ---- */

json_t *tn_latents_state(const tn_latents *l) {
    if (l->n_first == 0) return json_null();
    json_t *rows = json_array();
    for (size_t i = 0; i < (size_t)l->n_first * (size_t)l->dim; i++) json_array_append_new(rows, json_real(l->first[i]));
    return rows;
}

tn_status tn_latents_take(tn_latents *l, const json_t *state, const char *where, tn_err *e) {
    size_t n = json_array_size(state), dim = (size_t)l->dim;
    if (n == 0) return TN_OK; /* looked at for the first time: from here on */
    if (n % dim || n / dim > TN_LATENT_ROWS || n / dim < FEW)
        return tn_fail(e, TN_STATE, "%s has latents of another reward model: %zu numbers, expected rows of %zu", where, n, dim);
    for (size_t i = 0; i < n; i++) l->first[i] = json_number_value(json_array_get(state, i));
    l->n_first = (int)(n / dim);
    return begin(l, e);
}
