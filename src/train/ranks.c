/* Ranks and lanes of a run: from options, launcher and checkpoint. */
#include "train/ranks.h"
#include "base/log.h"
#include "base/signals.h"
#include "train/checkpoint.h"
#include "train/lanes.h"

tn_status tn_ranks_open(tn_train_options *o, tn_comm **out, tn_err *e) {
    int cpus;
    TN_TRY(tn_comm_world_open(o->comm, o->comm_timeout, e));
    tn_comm *c = *out = tn_comm_world();
    if (o->ranks > 1 && c->size != o->ranks)
        return tn_fail(e, TN_ARG,
                       "--ranks %d starts processes from the command line only, and not within "
                       "mpirun or srun, "
                       "which say themselves how many there are",
                       (int)o->ranks);
    TN_TRY(tn_comm_same(c, "version", TN_VERSION, e));
    TN_TRY(tn_comm_cpus(c, &cpus, e));
    if (o->threads == 0 && c->size > 1) o->threads = cpus;
    return TN_OK;
}

static tn_status lanes_of(const char *from, int *lanes, tn_err *e) {
    json_t *state, *history;
    *lanes = 1;
    TN_TRY(tn_checkpoint_load_state(from, &state, &history, e));
    const json_t *n = json_object_get(state, "grad_lanes");
    if (json_is_integer(n)) *lanes = (int)json_integer_value(n);
    json_decref(state);
    json_decref(history);
    return TN_OK;
}

tn_status tn_ranks_lanes(const tn_train_options *o, tn_comm *c, const char *from, int *lanes,
                         tn_err *e) {
    int before = 0;
    if (*from) TN_TRY(lanes_of(from, &before, e));
    *lanes = o->grad_lanes > 0 ? (int)o->grad_lanes : before ? before : c->size;
    if (before && *lanes != before)
        tn_warn("the checkpoint was made with %d gradient lane%s, this run has %d: it goes on, its "
                "bits will "
                "differ from an uninterrupted one",
                before, before == 1 ? "" : "s", *lanes);
    TN_TRY(tn_lanes_check(c->size, *lanes, e));
    if (*lanes > 1)
        tn_info("ranks: %d (%s), %d gradient lanes%s", c->size, c->op->name, *lanes,
                c->size > 1 ? ", moments in as many shards" : "");
    return TN_OK;
}

tn_status tn_ranks_save_lanes(json_t *state, int lanes, tn_err *e) {
    if (lanes == 1 || (state && json_object_set_new(state, "grad_lanes", json_integer(lanes)) == 0))
        return TN_OK;
    return tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_ranks_check(tn_comm *c, uint64_t data_hash, const char *profile, tn_err *e) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_hash);
    TN_TRY(tn_comm_same(c, "hash of the rows", hash, e));
    return tn_comm_same(c, "numeric profile", profile, e);
}

tn_status tn_ranks_signals(tn_comm *c, bool *stop, bool *checkpoint, tn_err *e) {
    double x[2] = {tn_stop_requested(), tn_checkpoint_requested()};
    TN_TRY(tn_comm_reduce(c, TN_REDUCE_MAX, x, 2, e));
    *stop = x[0] > 0, *checkpoint = x[1] > 0;
    return TN_OK;
}
