/* Which rows make up which optimiser step. */
#ifndef TN_TRAIN_PLAN_H
#define TN_TRAIN_PLAN_H
#include "data/dataset.h"
#include "train/schedule.h"

typedef struct tn_plan {
    tn_order_kind kind;
    uint64_t seed;
    long rows_per_step, tokens_per_step; /* the latter wins when > 0 */
    size_t n;
    const tn_example *ex;
    long total; /* optimiser steps of the run */
    /* the epoch in hand */
    long epoch, first_step; /* 0-based number of the epoch's first step */
    uint32_t *order;
    size_t *cut; /* step k of the epoch takes order[cut[k]] .. order[cut[k+1]-1] */
    size_t n_step;
} tn_plan;

/* epochs may be fractional; max_steps > 0 decides instead. */
tn_status tn_plan_new(tn_plan *p, const tn_dataset *d, tn_order_kind kind, uint64_t seed,
                      long rows_per_step, long tokens_per_step, double epochs, long max_steps,
                      tn_err *e);
void tn_plan_free(tn_plan *p);
/* Brings the epoch of 0-based step s into hand. */
void tn_plan_seek(tn_plan *p, long s);
/* Rows of step s (steps are asked for in ascending order, or anew from any step). */
void tn_plan_step(tn_plan *p, long s, const uint32_t **rows, size_t *n);
double tn_plan_epoch_of(const tn_plan *p,
                        long done); /* epochs completed after `done` steps, for logs */
#endif
