#include "world/steps.h"
#include "world/internal.h"
#include <stdlib.h>
#include <string.h>

static int id_of(const tn_world *w, const char *word) { return tn_world_id(w, word, strlen(word)); }

int tn_world_sentences(const tn_world *w, const int32_t *y, int n, int *from, int max) {
    int stop = id_of(w, "."), count = 0;
    from[0] = 0;
    for (int i = 0; i < n && count < max; i++)
        if (y[i] == stop || i == n - 1) from[++count] = i + 1;
    return count;
}

/* The windows of one sentence against those that are expected; *seen counts them over the response. */
static bool windows_right(const tn_world *w, const tn_world_prompt *p, const int32_t *y, int n, int *seen) {
    int plus = id_of(w, "+"), equals = id_of(w, "="), s = p->term[0] + p->term[1];
    const int want[2][3] = {{p->term[0], p->term[1], s}, {s, p->term[2], s + p->term[2]}};
    bool right = true;
    for (int i = 0; i + 5 <= n; i++) {
        int x[3];
        for (int k = 0; k < 3; k++) x[k] = tn_world_number_value(w, y[i + 2 * k]);
        if (y[i + 1] != plus || y[i + 3] != equals || x[0] < 0 || x[1] < 0 || x[2] < 0) continue;
        if (*seen < 2)
            right &= x[0] == want[*seen][0] && x[1] == want[*seen][1] && x[2] == want[*seen][2];
        else
            right &= x[0] + x[1] == x[2];
        ++*seen;
    }
    return right;
}

static bool sum_right(const tn_world *w, const tn_world_prompt *p, const int32_t *y, int n) {
    const int phrase[3] = {id_of(w, "the"), id_of(w, "sum"), id_of(w, "is")};
    for (int i = 0; i + 4 <= n; i++)
        if (y[i] == phrase[0] && y[i + 1] == phrase[1] && y[i + 2] == phrase[2] &&
            tn_world_number_value(w, y[i + 3]) != p->term[0] + p->term[1] + p->term[2])
            return false;
    return true;
}

static bool refuses(const tn_world *w, const int32_t *y, int n) {
    int cannot = id_of(w, "cannot");
    for (int i = 0; i < n; i++)
        if (y[i] == cannot) return true;
    return false;
}

void tn_world_judge_sentences(const tn_world *w, const tn_world_prompt *p, const int32_t *y, const int *from, int n,
                              bool *right) {
    int seen = 0;
    for (int i = 0; i < n; i++) {
        const int32_t *s = y + from[i];
        int len = from[i + 1] - from[i];
        right[i] = windows_right(w, p, s, len, &seen) && sum_right(w, p, s, len) && !refuses(w, s, len);
    }
}

/* ---- the oracle of --localise ---- */

typedef struct oracle {
    tn_world w;
    uint64_t seed;
    const json_t *row; /* of the prompt below; its samples follow each other */
    tn_world_prompt prompt;
    tn_str scratch;
    int32_t *id, *all; /* of one step, of all */
    int *from;
    size_t cap_id, cap_all, cap_from;
} oracle;

static void close_oracle(void *state) {
    oracle *o = state;
    if (!o) return;
    tn_str_free(&o->scratch);
    tn_free(o->id);
    tn_free(o->all);
    tn_free(o->from);
    tn_free(o);
}

static tn_status open_oracle(void **state, const char *argument, tn_err *e) {
    TN_TRY(tn_world_ask_oracle("--localise world", e));
    oracle *o = *state = tn_calloc(1, sizeof *o);
    if (!o) return tn_fail(e, TN_NOMEM, "out of memory for the world's tables");
    char *end = NULL;
    long long seed = argument ? strtoll(argument, &end, 10) : 1;
    if (argument && (end == argument || *end || seed < 0))
        return tn_fail(e, TN_ARG, "--localise world:%s: expected the seed of the prompts", argument);
    o->seed = (uint64_t)seed;
    o->scratch = (tn_str)TN_STR_INIT;
    tn_world_init(&o->w, 1);
    return TN_OK;
}

/* All steps' tokens in one piece, with where each begins. */
static tn_status gather(oracle *o, const char *const *step, int n, tn_err *e) {
    size_t at = 0;
    if (!TN_GROW(o->from, o->cap_from, (size_t)n + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
    o->from[0] = 0;
    for (int i = 0; i < n; i++) {
        bool end;
        int k;
        TN_TRY(tn_world_parse_into(&o->w, step[i], strlen(step[i]), &o->id, &o->cap_id, &k, &end, e));
        if (!TN_GROW(o->all, o->cap_all, at + (size_t)k + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
        if (k) memcpy(o->all + at, o->id, (size_t)k * sizeof *o->all);
        o->from[i + 1] = (int)(at += (size_t)k);
    }
    return TN_OK;
}

static tn_status judge(void *state, const tn_completion *x, const char *const *step, int n, bool *right, bool *good,
                       bool *known, tn_err *e) {
    oracle *o = state;
    const char *id;
    tn_world_verdict v;
    *known = *good = false;
    if (!json_is_string(json_object_get(x->row, "id"))) return TN_OK;
    if (x->row != o->row) {
        o->row = NULL;
        TN_TRY(
            tn_world_row_item(&o->w, x->row, "a prompt of --localise world", o->seed, &id, &o->prompt, &o->scratch, e));
        o->row = x->row;
    }
    if (o->prompt.task != TN_WT_ARITH || n == 0) return TN_OK;
    TN_TRY(gather(o, step, n, e));
    tn_world_judge_sentences(&o->w, &o->prompt, o->all, o->from, n, right);
    tn_world_judge(&o->w, &o->prompt, o->all, o->from[n], x->ended, &v);
    *good = v.correct == 1 && x->ended;
    *known = true;
    return TN_OK;
}

const tn_step_oracle tn_world_step_oracles[] = {{"world", "[SEED]", open_oracle, judge, close_oracle}, {0}};
