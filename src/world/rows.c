/* Files of rows: sets written, responses judged, samples ranked. */
#include "world/attack.h"
#include "world/internal.h"
#include "world/oversight.h"
#include "world/steps.h"
#include <errno.h>
#include <string.h>

enum { MAX_LINE = 16 << 20 };

/* ---- output ---- */

typedef struct {
    tn_out *file;
    bool on; /* false: nothing is wanted */
} sink;

static tn_status sink_open(sink *s, const char *path, tn_err *e) {
    *s = (sink){0};
    if (path && strcmp(path, "-")) TN_TRY(tn_out_open(&s->file, path, false, e));
    s->on = true;
    return TN_OK;
}
static tn_status sink_write(sink *s, tn_str *row, tn_err *e) {
    if (row->oom) return tn_fail(e, TN_NOMEM, "out of memory for a row of %zu bytes", row->len);
    if (s->file)
        TN_TRY(tn_out_write(s->file, row->s, row->len, e));
    else if (fwrite(row->s, 1, row->len, stdout) != row->len)
        return tn_fail(e, TN_IO, "cannot write to standard output: %s", strerror(errno));
    tn_str_clear(row);
    return TN_OK;
}
static tn_status sink_close(sink *s, tn_status st, tn_err *e) {
    if (!s->on) return st;
    if (s->file) return tn_out_close(s->file, st, false, e);
    if (fflush(stdout) && st == TN_OK) return tn_fail(e, TN_IO, "cannot write to standard output: %s", strerror(errno));
    return st;
}

/* Rows first ... first + count - 1, of which each may be none, one or several lines. */
typedef void put_rows(const void *what, uint64_t i, tn_str *out);

static tn_status write_rows(put_rows *put, const void *what, uint64_t first, int64_t count, const char *out, tn_err *e) {
    sink s;
    tn_str row = TN_STR_INIT;
    TN_TRY(sink_open(&s, out, e));
    tn_status st = TN_OK;
    for (int64_t i = 0; i < count && st == TN_OK; i++) {
        put(what, first + (uint64_t)i, &row);
        st = sink_write(&s, &row, e);
    }
    tn_str_free(&row);
    return sink_close(&s, st, e);
}

typedef struct {
    const tn_world *w;
    tn_world_set set;
    uint64_t seed;
    tn_world_mix mix;
    bool oracle, twins, conflict;
    unsigned mask;
} set_rows;

static void put_set(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_row(s->w, s->set, s->seed, i, s->mix, s->oracle, out);
}

tn_status tn_world_write_set(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first,
                             int64_t count, tn_world_mix mix, bool oracle, const char *out,
                             tn_err *e) {
    set_rows s = {.w = w, .set = set, .seed = seed, .mix = mix, .oracle = oracle};
    return write_rows(put_set, &s, first, count, out, e);
}

static void put_attacks(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_prompt p;
    tn_world_set_prompt(s->w, s->set, s->seed, i, &p, NULL);
    bool wanted = tn_world_attackable(&p, false) || (s->twins && tn_world_attackable(&p, true));
    for (int k = 0; k < TN_WORLD_NATTACK && wanted; k++)
        if (s->mask >> k & 1) tn_world_attack_row(s->w, k, s->set, s->seed, i, &p, out);
}

tn_status tn_world_write_attacks(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first, int64_t count, unsigned mask,
                                 bool twins, const char *out, tn_err *e) {
    set_rows s = {.w = w, .set = set, .seed = seed, .mask = mask, .twins = twins};
    if (set == TN_WS_TEXT || set == TN_WS_SFT)
        return tn_fail(e, TN_ARG, "--attack changes prompts; the set %s has answers", tn_world_sets[set].name);
    return write_rows(put_attacks, &s, first, count, out, e);
}

static void put_document(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_text t;
    tn_world_ext_kind k = tn_world_oversight_document(s->w, s->seed, i, &t);
    tn_str_addf(out, "{\"kind\": \"%s\", \"text\": \"", tn_world_ext_kind_name[k]);
    tn_world_print(s->w, t.id, t.n, out);
    tn_str_addz(out, "\"}\n");
}

tn_status tn_world_write_oversight(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, const char *out, tn_err *e) {
    set_rows s = {.w = w, .seed = seed};
    return write_rows(put_document, &s, first, count, out, e);
}

static void put_judged_pair(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_judged_row(s->w, s->seed, i, s->conflict, out);
}

tn_status tn_world_write_judged(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, bool conflict, const char *out, tn_err *e) {
    set_rows s = {.w = w, .seed = seed, .conflict = conflict};
    return write_rows(put_judged_pair, &s, first, count, out, e);
}

/* ---- input ---- */

typedef struct {
    const char *path;
    char where[512]; /* "rows.jsonl:17" */
    tn_lines *lines;
} source;

static tn_status source_next(source *s, json_t **row, tn_err *e) {
    TN_TRY(tn_jsonl_next(s->lines, s->path, row, e));
    snprintf(s->where, sizeof s->where, "%s:%ld", s->path, tn_lines_number(s->lines));
    return TN_OK;
}

/* One sampled response. */
typedef struct {
    tn_str text;
    bool ended;
    int32_t *id;
    int n;
    tn_world_verdict verdict;
} sample;

static void sample_free(sample *s) {
    tn_str_free(&s->text);
    tn_free(s->id);
    *s = (sample){0};
}

/* Token ids of a conversation in the world's vocabulary, as generation writes them: the item's, or another one's? */
static bool same_ids(const tn_world_prompt *p, const json_t *ids) {
    tn_world_text t = {0};
    tn_world_push(&t, TN_WORLD_BOS);
    tn_world_render(p, true, &t);
    bool worldly = json_integer_value(json_array_get(ids, 0)) == TN_WORLD_BOS &&
                   json_integer_value(json_array_get(ids, 1)) == TN_WORLD_USER;
    bool same = (int)json_array_size(ids) == t.n;
    for (int i = 0; same && i < t.n; i++) same = json_integer_value(json_array_get(ids, (size_t)i)) == t.id[i];
    return same || !worldly;
}

/* The conversation of a row, where it has one, must be the item's. */
static tn_status check_prompt(const tn_world *w, const tn_world_prompt *p, const json_t *row,
                              const char *where, const char *id, tn_str *scratch, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt"), *ids = json_object_get(row, "prompt_ids");
    bool same = same_ids(p, ids);
    if (json_is_array(prompt)) same = same && (int)json_array_size(prompt) == p->nturns;
    for (int i = 0; json_is_array(prompt) && same && i < p->nturns; i++) {
        const json_t *turn = json_array_get(prompt, (size_t)i);
        const char *role = json_string_value(json_object_get(turn, "role"));
        const char *content = json_string_value(json_object_get(turn, "content"));
        tn_str_clear(scratch);
        tn_world_print(w, p->turn[i].id, p->turn[i].n, scratch);
        if (scratch->oom) break;
        same = role && content && !strcmp(role, i % 2 ? "assistant" : "user") &&
               !strcmp(content, scratch->s);
    }
    if (!scratch->oom) {
        if (same) return TN_OK;
        tn_str_clear(scratch);
        tn_world_print(w, p->turn[0].id, p->turn[0].n, scratch);
    }
    if (scratch->oom) return tn_fail(e, TN_NOMEM, "%s: out of memory for a prompt", where);
    return tn_fail(e, TN_ARG,
                   "%s: the prompt is not the one of '%s', which begins '%s' for this seed; "
                   "pass the seed that made the prompts (--seed N, --reward-funcs world:N)",
                   where, id, scratch->s);
}

tn_status tn_world_row_item(const tn_world *w, const json_t *row, const char *where, uint64_t seed,
                            const char **id, tn_world_prompt *p, tn_str *scratch, tn_err *e) {
    TN_TRY(tn_json_need_str(row, "id", id, where, e));
    tn_status st = tn_world_item(w, *id, seed, p, NULL, NULL, e);
    if (st != TN_OK) return tn_err_context(e, st, "%s", where);
    return check_prompt(w, p, row, where, *id, scratch, e);
}

static tn_status row_item(const tn_world *w, const json_t *row, const char *where, uint64_t seed,
                          const char **id, tn_world_prompt *p, tn_err *e) {
    tn_str scratch = TN_STR_INIT;
    tn_status st = tn_world_row_item(w, row, where, seed, id, p, &scratch, e);
    tn_str_free(&scratch);
    return st;
}

static tn_status sample_set(const tn_world *w, const tn_world_prompt *p, const char *text, size_t n,
                            bool ended, sample *s, tn_err *e) {
    bool end_word;
    TN_TRY(tn_world_parse(w, text, n, &s->id, &s->n, &end_word, e));
    tn_str_add(&s->text, text, n);
    if (s->text.oom) return tn_fail(e, TN_NOMEM, "out of memory for a response of %zu bytes", n);
    s->ended = ended || end_word;
    tn_world_judge(w, p, s->id, s->n, s->ended, &s->verdict);
    return TN_OK;
}

/* A row of one response: "response" or "text", "ended" or "finish_reason". */
static tn_status sample_read(const tn_world *w, const tn_world_prompt *p, const json_t *row,
                             const char *where, sample *s, tn_err *e) {
    const json_t *text = json_object_get(row, "response");
    const char *reason;
    bool end;
    if (!text) text = json_object_get(row, "text");
    if (!json_is_string(text))
        return tn_fail(e, TN_FORMAT, "%s: expected a string \"response\" (or \"text\"), found %s",
                       where, text ? "another type" : "none");
    TN_TRY(tn_json_str(row, "finish_reason", "stop", &reason, where, e));
    TN_TRY(tn_json_bool(row, "ended", !strcmp(reason, "stop"), &end, where, e));
    return sample_set(w, p, json_string_value(text), json_string_length(text), end, s, e);
}

/* ---- judging ---- */

static void put_judged(const char *id, const tn_world_prompt *p, const sample *s, tn_str *out) {
    tn_str_addz(out, "{\"id\": ");
    tn_str_add_json(out, id, strlen(id));
    tn_str_addz(out, ", \"response\": ");
    tn_str_add_json(out, s->text.s ? s->text.s : "", s->text.len);
    tn_str_addf(out, ", \"ended\": %s, ", s->ended ? "true" : "false");
    tn_world_json_verdict(&s->verdict, out);
    tn_str_addf(out, ", \"family\": \"%s\", \"task\": \"%s\", \"pool\": \"%s\"}\n",
                tn_world_family_name[p->family], tn_world_task_name[p->task],
                tn_world_pool_name[p->pool]);
}

/* A sum's response as labelled steps: its sentences without their full stops. A step is right when it and all before it
 * are; with `outcome` every label says whether the answer is right. Other families have no steps. */
static void put_steps(const tn_world *w, const char *id, const tn_world_prompt *p, const sample *s, bool outcome, tn_str *out) {
    int from[TN_WORLD_TEXT_MAX + 1], n = tn_world_sentences(w, s->id, s->n, from, TN_WORLD_TEXT_MAX), stop = tn_world_id(w, ".", 1);
    bool right[TN_WORLD_TEXT_MAX], so_far = true;
    if (p->task != TN_WT_ARITH || n == 0) return;
    tn_world_judge_sentences(w, p, s->id, from, n, right);
    tn_str_addz(out, "{\"id\": ");
    tn_str_add_json(out, id, strlen(id));
    tn_str_addz(out, ", \"prompt\": ");
    tn_world_json_messages(w, p, NULL, out);
    tn_str_addz(out, ", \"completions\": [");
    for (int i = 0; i < n; i++) {
        int len = from[i + 1] - from[i];
        if (len > 1 && s->id[from[i + 1] - 1] == stop) len--;
        tn_str_addz(out, i ? ", \"" : "\"");
        tn_world_print(w, s->id + from[i], len, out); /* words of the vocabulary need no escapes */
        tn_str_addc(out, '"');
    }
    tn_str_addz(out, "], \"labels\": [");
    for (int i = 0; i < n; i++) {
        so_far &= right[i];
        tn_str_addf(out, "%s%s", i ? ", " : "", (outcome ? s->verdict.correct == 1 : so_far) ? "true" : "false");
    }
    tn_str_addf(out, "], \"correct\": %s}\n", s->verdict.correct == 1 ? "true" : "false");
}

/* What becomes of a judged row. */
typedef enum { AS_VERDICTS, AS_STEPS, AS_OUTCOMES } judged_form;

static tn_status judge_row(const tn_world *w, const json_t *row, const char *where, uint64_t seed, judged_form form, sink *out,
                           tn_str *line, tn_err *e) {
    tn_world_prompt p;
    sample s = {0};
    const char *id;
    TN_TRY(row_item(w, row, where, seed, &id, &p, e));
    tn_status st = sample_read(w, &p, row, where, &s, e);
    if (st == TN_OK) {
        if (form == AS_VERDICTS) put_judged(id, &p, &s, line);
        else put_steps(w, id, &p, &s, form == AS_OUTCOMES, line);
        st = sink_write(out, line, e);
    }
    sample_free(&s);
    return st;
}

static tn_status judge_file(const tn_world *w, const char *input, uint64_t seed, judged_form form, const char *out, tn_err *e) {
    source in = {.path = input};
    sink s = {0};
    tn_str line = TN_STR_INIT;
    json_t *row = NULL;
    TN_TRY(tn_world_ask_oracle("judging rows", e));
    TN_TRY(tn_lines_open(&in.lines, input, MAX_LINE, e));
    tn_status st = sink_open(&s, out, e);
    while (st == TN_OK) {
        st = source_next(&in, &row, e);
        if (st != TN_OK || !row) break;
        st = judge_row(w, row, in.where, seed, form, &s, &line, e);
        json_decref(row);
    }
    tn_lines_close(in.lines);
    tn_str_free(&line);
    return sink_close(&s, st, e);
}

tn_status tn_world_judge_file(const tn_world *w, const char *input, uint64_t seed, const char *out, tn_err *e) {
    return judge_file(w, input, seed, AS_VERDICTS, out, e);
}

tn_status tn_world_steps_file(const tn_world *w, const char *input, uint64_t seed, bool outcome, const char *out, tn_err *e) {
    return judge_file(w, input, seed, outcome ? AS_OUTCOMES : AS_STEPS, out, e);
}

/* ---- ranking ---- */

typedef struct {
    const tn_world *w;
    const tn_world_annotator *const *pool;
    int npool;
    uint64_t seed, draws, next; /* of items; of annotators; number of the next ranking */
    sink out, pairs;
    bool one_pair; /* tn_world_pairs_file */
    tn_str line;
    /* the ranking that is being gathered */
    char id[96];
    tn_world_prompt prompt;
    sample sample[TN_WORLD_RANK_MAX];
    int n;
} ranker;

static void ranker_clear(ranker *r) {
    for (int i = 0; i < r->n; i++) sample_free(&r->sample[i]);
    r->n = 0;
    r->id[0] = 0;
}

static void put_turn(const sample *s, tn_str *out) {
    tn_str_addz(out, "[{\"role\": \"assistant\", \"content\": ");
    tn_str_add_json(out, s->text.s ? s->text.s : "", s->text.len);
    tn_str_addz(out, "}]");
}

static bool same_tokens(const sample *a, const sample *b) {
    return a->n == b->n && (a->n == 0 || !memcmp(a->id, b->id, (size_t)a->n * sizeof *a->id));
}

static tn_status write_pairs(ranker *r, const int *rank, tn_err *e) {
    int order[TN_WORLD_RANK_MAX];
    for (int i = 0; i < r->n; i++) order[rank[i] - 1] = i;
    for (int a = 0; a < r->n; a++)
        for (int b = a + 1; b < r->n; b++) {
            const sample *good = &r->sample[order[a]], *bad = &r->sample[order[b]];
            if (same_tokens(good, bad)) continue;
            tn_str_addz(&r->line, "{\"prompt\": ");
            tn_world_json_messages(r->w, &r->prompt, NULL, &r->line);
            tn_str_addz(&r->line, ", \"chosen\": ");
            put_turn(good, &r->line);
            tn_str_addz(&r->line, ", \"rejected\": ");
            put_turn(bad, &r->line);
            tn_str_addz(&r->line, "}\n");
            TN_TRY(sink_write(&r->pairs, &r->line, e));
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
        TN_TRY(sink_write(&r->out, &r->line, e));
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
    TN_TRY(sink_write(&r->out, s, e));
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
        TN_TRY(sample_set(r->w, &r->prompt, json_string_value(text), json_string_length(text),
                          !end || json_is_true(end), &r->sample[i], e));
    }
    return TN_OK;
}

static tn_status rank_row(ranker *r, const json_t *row, const char *where, tn_err *e) {
    tn_world_prompt p;
    const char *id;
    TN_TRY(row_item(r->w, row, where, r->seed, &id, &p, e));
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
    return sample_read(r->w, &p, row, where, &r->sample[r->n++], e);
}

static tn_status rank_rows(const tn_world *w, const char *input, const tn_world_annotator *const *pool, int npool,
                           uint64_t seed, uint64_t draws, bool one_pair, const char *out, const char *pairs, tn_err *e) {
    source in = {.path = input};
    json_t *row = NULL;
    tn_status st;
    TN_TRY(tn_world_ask_oracle("a simulated annotator", e));
    ranker *r = tn_calloc(1, sizeof *r);
    if (!r) return tn_fail(e, TN_NOMEM, "out of memory for a ranking");
    r->w = w;
    r->pool = pool;
    r->npool = npool;
    r->seed = seed, r->draws = draws, r->one_pair = one_pair;
    TN_GO(tn_lines_open(&in.lines, input, MAX_LINE, e), done);
    TN_GO(sink_open(&r->out, out, e), done);
    if (pairs) TN_GO(sink_open(&r->pairs, pairs, e), done);
    while (st == TN_OK) {
        st = source_next(&in, &row, e);
        if (st != TN_OK || !row) break;
        st = rank_row(r, row, in.where, e);
        json_decref(row);
    }
    if (st == TN_OK) st = rank_gathered(r, e);
done:
    if (in.lines) tn_lines_close(in.lines);
    ranker_clear(r);
    tn_str_free(&r->line);
    st = sink_close(&r->out, st, e);
    st = sink_close(&r->pairs, st, e);
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
