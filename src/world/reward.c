#include "world/reward.h"
#include "world/internal.h"
#include <math.h>
#include <stdlib.h>

/* Samples of one prompt follow each other: the prompt is looked up once for them. */
typedef struct judge {
    tn_world w;
    uint64_t seed;
    const json_t *row;
    tn_world_prompt prompt;
    tn_str scratch;
    int32_t *id;
    size_t cap;
} judge;

static void close_judge(void *state) {
    judge *j = state;
    if (!j) return;
    tn_str_free(&j->scratch);
    tn_free(j->id);
    tn_free(j);
}

static tn_status open_judge(void **state, const char *argument, tn_err *e) {
    TN_TRY(tn_world_ask_oracle("--reward-funcs world", e));
    judge *j = *state = tn_calloc(1, sizeof *j);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory for the world's tables");
    char *end = NULL;
    long long seed = argument ? strtoll(argument, &end, 10) : 1;
    if (argument && (end == argument || *end || seed < 0))
        return tn_fail(e, TN_ARG, "--reward-funcs world:%s: expected the seed of the prompts",
                       argument);
    j->seed = (uint64_t)seed;
    j->scratch = (tn_str)TN_STR_INIT;
    for (int i = 0; i < 24 * TN_WORLD_TEXT_MAX; i++) tn_str_addc(&j->scratch, ' '); /* any prompt */
    tn_world_init(&j->w, 1);
    return j->scratch.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

static tn_status true_reward(void *state, const tn_completion *x, double *reward, tn_err *e) {
    judge *j = state;
    const char *id;
    bool end_word;
    int n;
    *reward = NAN;
    if (!json_is_string(json_object_get(x->row, "id"))) return TN_OK;
    if (x->row != j->row)
        TN_TRY(tn_world_row_item(&j->w, x->row, "a prompt of --reward-funcs world", j->seed, &id,
                                 &j->prompt, &j->scratch, e));
    j->row = x->row;
    if (!TN_GROW(j->id, j->cap, (size_t)x->max_new + 1))
        return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_world_parse_into(&j->w, x->text, x->len, &j->id, &j->cap, &n, &end_word, e));
    tn_world_verdict v;
    tn_world_judge(&j->w, &j->prompt, j->id, n, x->ended || end_word, &v);
    *reward = v.reward;
    return TN_OK;
}

const tn_reward_fn tn_world_reward_fns[] = {{"world", "[SEED]",
                                             "the built-in world's true reward, from the row's id",
                                             true, open_judge, true_reward, close_judge, "id"},
                                            {0}};
