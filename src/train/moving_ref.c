#include "train/moving_ref.h"
#include "algo/ensemble.h"
#include <stdio.h>

#define AT(field) offsetof(tn_sync_options, field)
const tn_opt_row tn_sync_option_rows[] = {
    {"sync-ref-model", TN_OPT_BOOL, AT(on), "false", NULL, 0, 0, NULL, NULL,
     "Move the reference towards the model while training (TR-DPO). It is then a second model in "
     "memory and in "
     "every checkpoint."},
    {"ref-model-mixup-alpha", TN_OPT_REAL, AT(mixup_alpha), "0.6", NULL, 0, 1, NULL, "X",
     "Share of the model in the moved reference; 1 replaces it."},
    {"ref-model-sync-steps", TN_OPT_INT, AT(steps), "512", NULL, 1, 0, NULL, "N",
     "Move it after every so many optimiser steps."},
    TN_OPT_LAST};

tn_status tn_moving_ref_check(bool precomputed, const tn_adapter_options *o, const char *dir,
                              tn_err *e) {
    if (precomputed)
        return tn_fail(
            e, TN_ARG,
            "--sync-ref-model: log-probs of a reference that moves cannot be computed beforehand; "
            "leave out --precompute-ref-log-probs");
    if (o->use_peft || (dir && tn_adapter_folder(dir)))
        return tn_fail(e, TN_UNSUPPORTED,
                       "--sync-ref-model: the reference of an adapter is the model without it and "
                       "cannot move; train all weights");
    return TN_OK;
}

tn_status tn_moving_ref_open(tn_model **ref, const tn_model *policy, const char *ref_dir,
                             const char *from, tn_err *e) {
    tn_str dir = TN_STR_INIT;
    if (!from && !ref_dir) return tn_model_copy(ref, policy, false, e);
    if (from) tn_path_join(&dir, from, TN_MOVING_REF);
    tn_status st = dir.oom
                       ? tn_fail(e, TN_NOMEM, "out of memory")
                       : tn_model_load(ref, from ? dir.s : ref_dir, policy->be, &(tn_load){0}, e);
    /* What goes along with its weights is the first reference's: the checkpoint will be gone some day. */
    if (st == TN_OK && from) snprintf((*ref)->dir, sizeof (*ref)->dir, "%s", ref_dir ? ref_dir : policy->dir);
    if (st == TN_OK &&
        ((*ref)->trunk->n != policy->trunk->n || (*ref)->n_tensor != policy->n_tensor)) {
        st = tn_fail(e, TN_STATE, "--sync-ref-model: the reference %s is not of the model's shape",
                     from ? dir.s : ref_dir);
        tn_model_free(*ref);
        *ref = NULL;
    }
    tn_str_free(&dir);
    return st;
}

typedef struct mix {
    const tn_backend *be;
    void *ref;
    const void *policy;
    double alpha;
} mix;

static void mix_part(void *ctx, size_t begin, size_t end, int thread) {
    const mix *x = ctx;
    if (x->be->elem == sizeof(float)) {
        tn_weights_ema((float *)x->ref + begin, (const float *)x->policy + begin, end - begin, 1 - x->alpha);
        return;
    }
    for (size_t i = begin; i < end; i++) {
        double *r = (double *)x->ref + i;
        *r = x->alpha * ((const double *)x->policy)[i] + (1 - x->alpha) * *r;
    }
}

tn_status tn_moving_ref_mix(tn_model *ref, const tn_model *policy, double alpha, tn_err *e) {
    tn_trained to[TN_TRAINED_MAX], from[TN_TRAINED_MAX];
    int n = tn_model_trained(ref, to), m = tn_model_trained(policy, from);
    if (n != m) return tn_fail(e, TN_BUG, "reference and model have different parts");
    for (int i = 0; i < n; i++) {
        mix x = {ref->be, to[i].store->data, from[i].store->data, alpha};
        tn_pool_run(ref->be->pool, to[i].store->n, 4096, mix_part, &x);
    }
    tn_model_pack(ref);
    return TN_OK;
}
