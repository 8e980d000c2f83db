/* Inside of tn_lanes. */
#ifndef TN_TRAIN_LANES_INT_H
#define TN_TRAIN_LANES_INT_H
#include "train/lanes.h"

enum { TN_LANE_LEVELS = 16, TN_METRIC_NAME = 48 };

/* What a lane has summed up, as it travels between ranks. */
typedef struct tn_lane_sum {
    double loss;
    int64_t tokens, micro_batches, n;
    struct {
        char name[TN_METRIC_NAME];
        int64_t kind;
        double sum, count;
    } v[TN_METRICS_MAX];
} tn_lane_sum;

struct tn_lanes {
    tn_comm *comm;
    tn_model *model;
    tn_store *store[TN_TRAINED_MAX];
    int n_store;
    int n, first, own, spares;  /* lanes; this rank's; log2(own) */
    void *main[TN_TRAINED_MAX]; /* the stores' own gradients */
    void *spare[TN_LANE_LEVELS][TN_TRAINED_MAX];
    bool resting[TN_LANE_LEVELS]; /* a spare gradient is zeros, and in no memory */
    /* dealing */
    size_t cap;
    uint64_t *key; /* [cap] */
    int *lane_of;  /* [cap] */
    long *load;    /* [n] */
    struct {
        tn_example **ex;        /* [cap] by lane */
        int *start;             /* [n+1] */
        tn_step_result *result; /* [own] */
    } batch[TN_LANE_BATCHES];
    tn_lane_sum *sum;                          /* [n] */
    char name[TN_METRICS_MAX][TN_METRIC_NAME]; /* of metrics that came from other ranks */
    int n_name;
    /* shards: boundaries for ranks 0 .. size, in bytes of elements and of block sums */
    size_t *elem_at[TN_TRAINED_MAX], *block_at[TN_TRAINED_MAX]; /* [size+1] */
    double *block[TN_TRAINED_MAX];
    void *received; /* [size][piece] elements */
    size_t piece;
    uint8_t *live; /* [size][blocks] maps of all ranks; NULL without one */
    tn_piece *out, *in; /* [size] */
};
tn_status tn_lanes_shards(tn_lanes *l, tn_err *e); /* shard.c: boundaries and buffers */
#endif
