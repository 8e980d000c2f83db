/* What is not in memory all the time. A loop samples, has a reference and reward models read what was sampled, and trains: while it
 * trains nobody reads frozen models or the sampler's cache, and before that there are no gradients. */
#include "base/log.h"
#include "rl/online.h"
#include "train/intro.h"

tn_status tn_online_plan(tn_online *on, tn_online_add_fn *add, const void *loop, tn_err *e) {
    const char *dir = on->o.output_dir ? on->o.output_dir : ".";
    tn_budget p = {.parks = on->q.offload};
    tn_err why = {0};
    tn_status st = TN_OK;
    TN_TRY(add(loop, &p, e));
    if (p.parked) st = on->o.dry_run ? tn_park_fits(dir, p.parked, &why) : tn_park_new(&on->park, dir, p.parked, &why);
    if (st != TN_OK) {
        tn_info("frozen models stay in memory (--offload): %s", why.msg);
        p = (tn_budget){0};
        TN_TRY(add(loop, &p, e));
    } else if (p.parked)
        tn_info("frozen models are in memory while they are read; between that, in %.1f MB of an unnamed file in %s (--no-offload: always)",
                (double)p.parked / 1e6, dir);
    return tn_intro_memory(&p, on->o.max_memory, e);
}

tn_status tn_online_park(const tn_online *on, tn_model *m, tn_err *e) {
    tn_err why = {0};
    tn_status st = on->park ? tn_model_park(m, on->park, &why) : TN_OK;
    if (st == TN_IO) {
        tn_warn("a frozen model stays in memory, beyond the plan: %s", why.msg);
        return TN_OK;
    }
    if (st != TN_OK) return tn_fail(e, st, "%s", why.msg);
    tn_park_leave(on->park);
    return TN_OK;
}

void tn_online_leave(const tn_online *on) { tn_park_leave(on->park); }

void tn_online_last(tn_online *on, bool last) {
    for (int i = 0; i < on->n_learner; i++) on->learner[i]->rests = last;
}
