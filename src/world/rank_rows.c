/* Responses in files, ranked by simulated annotators: whole rankings, the pairs of them, or one pair of each. */
#include "world/rows.h"
#include <string.h>

typedef struct {
    const tn_world *w;
    const tn_world_annotator *const *pool;
    int npool;
    uint64_t seed, draws, next; /* of items; of annotators; number of the next ranking */
    tn_world_sink out, pairs;
    bool one_pair; /* tn_world_pairs_file */
    tn_str line;
    /* the ranking that is being gathered */
    char id[96];
    tn_world_prompt prompt;
    tn_world_sample sample[TN_WORLD_RANK_MAX];
    int n;
} ranker;

static void ranker_clear(ranker *r) {
    for (int i = 0; i < r->n; i++) tn_world_sample_free(&r->sample[i]);
    r->n = 0;
    r->id[0] = 0;
}

static void put_turn(const tn_world_sample *s, tn_str *out) {
    tn_str_addz(out, "[{\"role\": \"assistant\", \"content\": ");
    tn_str_add_json(out, s->text.s ? s->text.s : "", s->text.len);
    tn_str_addz(out, "}]");
}

static bool same_tokens(const tn_world_sample *a, const tn_world_sample *b) {
    return a->n == b->n && (a->n == 0 || !memcmp(a->id, b->id, (size_t)a->n * sizeof *a->id));
}

static tn_status write_pairs(ranker *r, const int *rank, tn_err *e) {
    int order[TN_WORLD_RANK_MAX];
    for (int i = 0; i < r->n; i++) order[rank[i] - 1] = i;
    for (int a = 0; a < r->n; a++)
        for (int b = a + 1; b < r->n; b++) {
            const tn_world_sample *good = &r->sample[order[a]], *bad = &r->sample[order[b]];
            if (same_tokens(good, bad)) continue;
            tn_str_addz(&r->line, "{\"prompt\": ");
            tn_world_json_messages(r->w, &r->prompt, NULL, &r->line);
            tn_str_addz(&r->line, ", \"chosen\": ");
            put_turn(good, &r->line);
            tn_str_addz(&r->line, ", \"rejected\": ");
            put_turn(bad, &r->line);
            tn_str_addz(&r->line, "}\n");
            TN_TRY(tn_world_sink_write(&r->pairs, &r->line, e));
        }
    return TN_OK;
}

/* "prompt", "responses", "ended" of the responses that `which` numbers. */
static void put_responses(ranker *r, const int *which, int n) {
    tn_str *s = &r->line;
    tn_str_addz(s, "{\"prompt\": ");
    tn_world_json_messages(r->w, &r->prompt, NULL, s);
    tn_str_addz(s, ", \"responses\": [");
    for (int i = 0; i < n; i++) {
        const tn_str *t = &r->sample[which[i]].text;
        if (i) tn_str_addz(s, ", ");
        tn_str_add_json(s, t->s ? t->s : "", t->len);
    }
    tn_str_addz(s, "], \"ended\": [");
    for (int i = 0; i < n; i++) tn_str_addf(s, "%s%s", i ? ", " : "", r->sample[which[i]].ended ? "true" : "false");
    tn_str_addz(s, "]");
}

/* One of the pairs whose texts and true rewards differ, if there are any. */
static tn_status pair_gathered(ranker *r, tn_err *e) {
    int pair[TN_WORLD_RANK_MAX * TN_WORLD_RANK_MAX / 2][2], n = 0, rank[2];
    uint64_t k = r->next++;
    for (int a = 0; a < r->n; a++)
        for (int b = a + 1; b < r->n; b++)
            if (!same_tokens(&r->sample[a], &r->sample[b]) && r->sample[a].verdict.reward != r->sample[b].verdict.reward)
                pair[n][0] = a, pair[n++][1] = b;
    tn_rng rng = tn_rng_stream(r->draws, TN_WR_PAIR, k);
    if (n) {
        const int *p = pair[tn_rng_below(&rng, (uint32_t)n)];
        tn_world_verdict v[2] = {r->sample[p[0]].verdict, r->sample[p[1]].verdict};
        tn_world_rank(r->pool, r->npool, r->draws, k, v, 2, rank);
        put_responses(r, p, 2);
        tn_str_addf(&r->line, ", \"rank\": [%d, %d], \"human\": %d, \"truth\": %d, \"family\": \"%s\", \"id\": \"%s\"}\n", rank[0], rank[1],
                    rank[0], v[0].reward > v[1].reward ? 1 : 2, tn_world_family_name[r->prompt.family], r->id);
        TN_TRY(tn_world_sink_write(&r->out, &r->line, e));
    }
    ranker_clear(r);
    return TN_OK;
}

static tn_status rank_gathered(ranker *r, tn_err *e) {
    tn_world_verdict v[TN_WORLD_RANK_MAX];
    int rank[TN_WORLD_RANK_MAX], all[TN_WORLD_RANK_MAX];
    if (!r->n) return TN_OK;
    if (r->n < 2)
        return tn_fail(e, TN_FORMAT, "only one response to '%s': a ranking needs at least two",
                       r->id);
    if (r->one_pair) return pair_gathered(r, e);
    for (int i = 0; i < r->n; i++) all[i] = i;
    for (int i = 0; i < r->n; i++) v[i] = r->sample[i].verdict;
    int who = tn_world_rank(r->pool, r->npool, r->draws, r->next++, v, r->n, rank);

    tn_str *s = &r->line;
    put_responses(r, all, r->n);
    tn_str_addz(s, ", \"rank\": [");
    for (int i = 0; i < r->n; i++) tn_str_addf(s, "%s%d", i ? ", " : "", rank[i]);
    tn_str_addf(s, "], \"annotator\": %d, \"family\": \"%s\", \"id\": \"%s\"}\n", who,
                tn_world_family_name[r->prompt.family], r->id);
    TN_TRY(tn_world_sink_write(&r->out, s, e));
    if (r->pairs.on) TN_TRY(write_pairs(r, rank, e));
    ranker_clear(r);
    return TN_OK;
}

static tn_status gather_list(ranker *r, const json_t *row, const char *where, tn_err *e) {
    const json_t *list = json_object_get(row, "responses"), *ended = json_object_get(row, "ended");
    size_t n = json_array_size(list);
    if (n < 2 || n > TN_WORLD_RANK_MAX)
        return tn_fail(e, TN_FORMAT,
                       "%s: \"responses\" must be an array of 2 to %d strings, found %zu", where,
                       TN_WORLD_RANK_MAX, n);
    if (ended && !json_is_null(ended) && json_array_size(ended) != n)
        return tn_fail(
            e, TN_FORMAT,
            "%s: \"ended\" must be an array of %zu booleans like \"responses\", found %zu", where,
            n, json_array_size(ended));
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(list, i), *end = json_array_get(ended, i);
        if (!json_is_string(text) || (end && !json_is_boolean(end)))
            return tn_fail(
                e, TN_FORMAT,
                "%s: \"responses\" must be strings and \"ended\" booleans; item %zu is not", where,
                i);
        r->n++;
        TN_TRY(tn_world_sample_set(r->w, &r->prompt, json_string_value(text), json_string_length(text),
                          !end || json_is_true(end), &r->sample[i], e));
    }
    return TN_OK;
}

static tn_status rank_row(ranker *r, const json_t *row, const char *where, tn_err *e) {
    tn_world_prompt p;
    const char *id;
    TN_TRY(tn_world_item_of_row(r->w, row, where, r->seed, &id, &p, e));
    bool list = json_object_get(row, "responses") != NULL;
    if (list || strcmp(id, r->id)) TN_TRY(rank_gathered(r, e));
    r->prompt = p;
    snprintf(r->id, sizeof r->id, "%s", id);
    if (list) {
        TN_TRY(gather_list(r, row, where, e));
        return rank_gathered(r, e);
    }
    if (r->n == TN_WORLD_RANK_MAX)
        return tn_fail(e, TN_FORMAT, "%s: more than %d responses to '%s'", where, TN_WORLD_RANK_MAX,
                       id);
    return tn_world_sample_read(r->w, &p, row, where, &r->sample[r->n++], e);
}

static tn_status rank_rows(const tn_world *w, const char *input, const tn_world_annotator *const *pool, int npool,
                           uint64_t seed, uint64_t draws, bool one_pair, const char *out, const char *pairs, tn_err *e) {
    tn_world_source in = {.path = input};
    json_t *row = NULL;
    tn_status st;
    TN_TRY(tn_world_ask_oracle("a simulated annotator", e));
    ranker *r = tn_calloc(1, sizeof *r);
    if (!r) return tn_fail(e, TN_NOMEM, "out of memory for a ranking");
    r->w = w;
    r->pool = pool;
    r->npool = npool;
    r->seed = seed, r->draws = draws, r->one_pair = one_pair;
    TN_GO(tn_lines_open(&in.lines, input, TN_WORLD_MAX_LINE, e), done);
    TN_GO(tn_world_sink_open(&r->out, out, e), done);
    if (pairs) TN_GO(tn_world_sink_open(&r->pairs, pairs, e), done);
    while (st == TN_OK) {
        st = tn_world_source_next(&in, &row, e);
        if (st != TN_OK || !row) break;
        st = rank_row(r, row, in.where, e);
        json_decref(row);
    }
    if (st == TN_OK) st = rank_gathered(r, e);
done:
    if (in.lines) tn_lines_close(in.lines);
    ranker_clear(r);
    tn_str_free(&r->line);
    st = tn_world_sink_close(&r->out, st, e);
    st = tn_world_sink_close(&r->pairs, st, e);
    tn_free(r);
    return st;
}

tn_status tn_world_rank_file(const tn_world *w, const char *input,
                             const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t draws,
                             const char *out, const char *pairs, tn_err *e) {
    return rank_rows(w, input, pool, npool, seed, draws, false, out, pairs, e);
}

tn_status tn_world_pairs_file(const tn_world *w, const char *input,
                              const tn_world_annotator *const *pool, int npool, uint64_t seed, uint64_t draws,
                              const char *out, tn_err *e) {
    return rank_rows(w, input, pool, npool, seed, draws, true, out, NULL, e);
}
