#include "rl/critic.h"
#include <string.h>

static bool automatic(const tn_critic_spec *s) { return strcmp(s->how, "auto") == 0; }

tn_status tn_critic_open(tn_trainee *c, tn_online *on, const tn_critic_spec *s, const tn_scorer *judge, tn_err *e) {
    bool from_judge = automatic(s) && judge->same_tokenizer;
    bool folder = !automatic(s) && strcmp(s->how, "policy") != 0;
    tn_model *policy = on->policy.model, *like = from_judge ? judge->model : policy;
    const tn_adapter *a = policy->n_adapter ? policy->adapter[0] : NULL;
    bool view = a || like->n_adapter > 0;
    tn_load load = {.want_score = true, .base = on->lora.base_model, .on = view ? like : NULL};
    if (on->from.len) {
        tn_str dir = TN_STR_INIT;
        tn_path_join(&dir, on->from.s, s->name);
        if (view && !folder) load.base = like->dir;
        if (from_judge && !view) { /* it began as a copy, with the parts of that head */
            load.n_part = like->desc.n_part;
            memcpy(load.part, like->desc.part, sizeof load.part);
        }
        tn_status st = tn_model_load(&c->model, dir.s, on->be, &load, e);
        tn_str_free(&dir);
        TN_TRY(st);
    } else if (folder) {
        TN_TRY(tn_model_load(&c->model, s->how, on->be, &load, e));
    } else if (view) {
        TN_TRY(tn_critic_view(&c->model, like, a ? &a->spec : NULL, s->seed, e));
    } else {
        TN_TRY(tn_model_copy(&c->model, like, !from_judge, e));
    }
    c->value_mean = from_judge ? judge->model->score_mean : 0;
    c->value_sd = from_judge ? judge->model->score_sd : 1;
    c->algo = s->algo, c->opt = s->opt, c->inv_temp = 1.0;
    tn_model_moments(c->model, tn_moments_from_option(on->o.optim), s->seed);
    TN_TRY(tn_lanes_new(&c->lanes, on->comm, on->lanes, c->model, s->examples, e));
    on->part[on->n_part++] = (tn_part){s->name, c->model};
    on->learner[on->n_learner++] = c;
    return tn_online_workspace(on, c, e);
}

void tn_critic_close(tn_trainee *c) {
    tn_lanes_free(c->lanes);
    tn_batch_free(&c->mb);
    tn_run_free(c->run);
    tn_model_free(c->model);
}

static tn_status same_tokenizer(bool *same, const tn_critic_spec *s, const tn_online *on, tn_err *e) {
    return tn_scorer_same_tokenizer(same, s->judge, on->o.model, on->lora.base_model, e);
}

/* *shared: on somebody's trunk. */
tn_status tn_critic_peek(const tn_critic_spec *s, const tn_online *on, tn_desc *d, tn_lora_spec *l, bool *shared,
                         tn_err *e) {
    const tn_load load = {.want_score = true, .base = on->lora.base_model};
    bool same = false;
    if (automatic(s)) TN_TRY(same_tokenizer(&same, s, on, e));
    bool policy = automatic(s) ? !same : strcmp(s->how, "policy") == 0;
    const char *like = policy ? on->o.model : automatic(s) ? s->judge : s->how;
    *d = on->desc, *l = on->spec; /* from the policy: with a fresh head */
    if (!policy) {
        TN_TRY(tn_model_peek(d, like, &load, e));
        TN_TRY(tn_adapter_peek(l, like, e));
        if (!l->rank && automatic(s)) *l = on->spec;
    }
    *shared = policy || automatic(s) || tn_same_trunk(like, on->o.model, on->lora.base_model);
    return TN_OK;
}

tn_status tn_critic_budget(const tn_critic_spec *s, const tn_online *on, tn_budget *b, tn_err *e) {
    const tn_batch_need *q = &on->need;
    tn_desc d;
    tn_lora_spec l;
    bool shared;
    TN_TRY(tn_critic_peek(s, on, &d, &l, &shared, e));
    if (l.rank && shared) tn_budget_adapter(b, s->name, &d, &l, on->be, true, true);
    else tn_budget_trained(b, s->name, &d, &l, on->be, true);
    tn_budget_run(b, s->name, &d, on->be, q->tokens, on->rows, on->length, q->blocks, tn_keep_from_options(&on->o));
    tn_budget_adapter_run(b, s->name, &d, &l, on->be, q->tokens, true);
    tn_budget_scratch(b, &d, &l, on->be, q->tokens, 0, true);
    tn_budget_add(b, "micro-batch", "", tn_batch_bytes(q));
    return TN_OK;
}

/* ---- the judge ---- */

tn_status tn_judge_open(tn_scorer *j, const tn_critic_spec *s, const tn_online *on, tn_err *e) {
    tn_load how = {.base = on->lora.base_model};
    how.on = on->spec.rank ? on->policy.model : NULL;
    TN_TRY(tn_scorer_open_with(j, s->judge, on->o.model, on->be, on->need.tokens, 2 * on->rollout_length, &how, e));
    return tn_scorer_reserve(j, on->shape.n_prompt * on->shape.n_sample, on->shape.n_sample, on->shortest,
                             on->rollout_blocks, e);
}

tn_status tn_judge_freeze(const tn_scorer *j, const tn_online *on, tn_err *e) {
    tn_model_drop_masters(j->model);
    return on->spec.rank || j->model->n_adapter ? TN_OK : tn_online_park(on, j->model, e);
}

tn_status tn_judge_budget(const tn_critic_spec *s, const tn_online *on, tn_budget *b, tn_err *e) {
    int tokens = on->need.tokens, length = 2 * on->rollout_length;
    bool same;
    TN_TRY(same_tokenizer(&same, s, on, e));
    tn_batch_need scored = tn_online_scored(on, tokens > length ? tokens : length, same);
    tn_load how = {.base = on->lora.base_model};
    bool shared = on->spec.rank && tn_same_trunk(s->judge, on->o.model, on->lora.base_model), parks = b->parks;
    tn_lora_spec own;
    TN_TRY(tn_adapter_peek(&own, s->judge, e));
    b->parks = parks && !on->spec.rank && !own.rank;
    tn_status st = tn_scorer_budget(b, s->judge, on->be, &how, shared, tokens, length, &scored, e);
    b->parks = parks;
    return st;
}
