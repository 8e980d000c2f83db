#include "oversight/revise.h"
#include "oversight/rows.h"
#include <ctype.h>
#include <string.h>

const char *const tn_revision_fault_name[TN_REVISION_FAULTS] = {"good", "empty", "unended", "unchanged", "critique", "repeats", "long"};

/* ---- faults ---- */

static int words(const char *s) {
    int n = 0;
    for (bool in = false; *s; s++) {
        bool is = !isspace((unsigned char)*s);
        n += is && !in;
        in = is;
    }
    return n;
}

/* Start of the word behind the one at s. */
static const char *next_word(const char *s) {
    while (*s && !isspace((unsigned char)*s)) s++;
    while (isspace((unsigned char)*s)) s++;
    return s;
}

/* Do n words from a on equal those from b on? */
static bool same_words(const char *a, const char *b, int n) {
    for (; n > 0; n--, a = next_word(a), b = next_word(b)) {
        size_t la = strcspn(a, " \t\r\n"), lb = strcspn(b, " \t\r\n");
        if (la == 0 || la != lb || memcmp(a, b, la)) return false;
    }
    return true;
}

static bool repeats(const char *s, int n, int most) {
    while (isspace((unsigned char)*s)) s++;
    for (const char *a = s; *a; a = next_word(a)) {
        int times = 1;
        for (const char *b = next_word(a); *b; b = next_word(b)) times += same_words(a, b, n);
        if (times >= most) return true;
    }
    return false;
}

tn_revision_fault tn_revision_judge(const tn_revise_limits *l, const tn_prompts *p, const char *answer, const char *critique,
                                    const char *revision, bool ended) {
    if (!*revision) return TN_REVISION_EMPTY;
    if (!ended && !l->unended) return TN_REVISION_UNENDED;
    if (!strcmp(revision, answer)) return TN_REVISION_UNCHANGED;
    if ((critique && !strcmp(revision, critique)) || tn_prompts_is_critique(p, revision)) return TN_REVISION_CRITIQUE;
    if (l->repeat_n > 0 && repeats(revision, l->repeat_n, l->repeats)) return TN_REVISION_REPEATS;
    int n = words(revision);
    return l->longest > 0 && n > 20 && n > l->longest * words(answer) ? TN_REVISION_LONG : TN_REVISION_GOOD;
}

/* ---- one row on its way ---- */

typedef struct item {
    json_t *conversation, *rounds;
    const char *kind, *id;
    char number[24]; /* the id of a row without one */
    tn_str answer, critique;
    bool ended;
    int principle;
} item;

typedef struct job {
    const tn_revise *v;
    item *it;
    int n, begin, end; /* rows; those that are on their way together */
    tn_question *q;
    tn_answer *a;
    tn_ids *ids, *cut;
    tn_str *text;
} job;

/* Rows that go through all rounds together, before others begin: what a model has read of them is then still in its cache. Not fewer for
 * small batches, so that replies are asked for in one order. */
enum { TOGETHER = 64 };

static tn_status open_item(const tn_revise *v, item *it, int i, const json_t *row, const char *where, tn_err *e) {
    *it = (item){.kind = v->kind, .answer = TN_STR_INIT, .critique = TN_STR_INIT, .rounds = json_array()};
    if (v->kind_key) TN_TRY(tn_json_need_str(row, v->kind_key, &it->kind, where, e));
    snprintf(it->number, sizeof it->number, "row-%d", i + 1);
    TN_TRY(tn_json_str(row, "id", it->number, &it->id, where, e));
    return tn_row_conversation(row, &it->conversation, where, e);
}

static void close_item(item *it) {
    json_decref(it->conversation);
    json_decref(it->rounds);
    tn_str_free(&it->answer);
    tn_str_free(&it->critique);
}

/* Question i of a stage, whose prompt lies in ids[i] and text[i]. */
static tn_status put_question(job *j, int i, const char *stage, int round, int part, tn_err *e) {
    const item *it = &j->it[i];
    json_decref(j->q[i].about);
    json_t *about = json_pack("{s:s,s:s,s:i}", "stage", stage, "id", it->id, "round", round);
    if (about && round > 0) json_object_set_new(about, "principle", json_string(j->v->constitution->principle[it->principle].id));
    j->q[i] = (tn_question){.ids = j->ids[i].v, .n = (int)j->ids[i].n, .draw = (uint64_t)i * 32 + (uint64_t)(2 * round + part), .about = about,
                            .text = j->text[i].s, .n_text = j->text[i].len, .chat = tn_prompts_are_turns(j->v->prompts),
                            .stop = tn_prompts_stops(j->v->prompts), .cut = j->cut[i].v, .n_cut = (int)j->cut[i].n,
                            .goes_on = part == 0 && tn_prompts_go_on(j->v->prompts)};
    return about ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status set_str(tn_str *to, const char *s, size_t n, tn_err *e) {
    tn_str_clear(to);
    tn_str_add(to, s, n);
    return to->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

/* What a call is called in the progress line. */
static const char *name(const job *j, char what[64], const char *stage, int round) {
    int n = snprintf(what, 64, "%s", stage);
    if (round) n += snprintf(what + n, 64 - (size_t)n, ", round %d", round);
    if (j->end - j->begin < j->n) snprintf(what + n, 64 - (size_t)n, ", rows %d-%d of %d", j->begin + 1, j->end, j->n);
    return what;
}

/* ---- round 0 ---- */

static tn_status chat_ids(const tn_tokenizer *tok, const json_t *conversation, tn_ids *ids, tn_err *e) {
    tn_message *m = NULL;
    uint8_t *mask = NULL;
    size_t n;
    tn_status st = tn_messages_from_json(conversation, &m, &n, "a prompt", e);
    if (st == TN_OK) st = tn_chat_encode(tok, m, n, true, ids, &mask, e);
    tn_free(m);
    tn_free(mask);
    return st;
}

static tn_status first_answers(job *j, json_t *const *row, tn_err *e) {
    const tn_revise *v = j->v;
    int *asked = tn_calloc((size_t)j->n, sizeof *asked), k = 0;
    tn_question *q = tn_calloc((size_t)j->n, sizeof *q);
    tn_status st = asked && q ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = j->begin; i < j->end && st == TN_OK; i++) {
        const char *given = json_string_value(json_object_get(row[i], "response"));
        if (given) {
            st = set_str(&j->it[i].answer, given, strlen(given), e);
            j->it[i].ended = true;
            continue;
        }
        st = chat_ids(tn_asker_tokenizer(v->policy), j->it[i].conversation, &j->ids[i], e);
        if (st == TN_OK) st = put_question(j, i, "answer", 0, 0, e);
        q[k] = j->q[i], asked[k++] = i;
    }
    char what[64];
    if (st == TN_OK && k) st = tn_asker_sample(v->policy, q, k, &v->answer, v->batch, name(j, what, "first answers", 0), j->a, e);
    for (int i = 0; i < k && st == TN_OK; i++) {
        item *it = &j->it[asked[i]];
        it->ended = j->a[i].ended;
        st = tn_prompts_clean(v->prompts, j->a[i].text, j->a[i].len, &it->answer, &it->ended, e);
    }
    tn_free(asked);
    tn_free(q);
    for (int i = j->begin; i < j->end && st == TN_OK; i++)
        if (json_array_append_new(j->it[i].rounds, json_pack("{s:s,s:b}", "answer", j->it[i].answer.s, "ended", j->it[i].ended)) < 0)
            st = tn_fail(e, TN_NOMEM, "out of memory, or an answer that is not UTF-8");
    return st;
}

/* ---- a round ---- */

static tn_status ask_all(job *j, tn_prompt_kind kind, const char *stage, int round, int part, const tn_sampling *how, const char *plural, tn_err *e) {
    const tn_revise *v = j->v;
    char what[64];
    for (int i = j->begin; i < j->end; i++) {
        item *it = &j->it[i];
        tn_prompt_about a = {.conversation = it->conversation, .answer = it->answer.s, .critique = it->critique.s,
                             .principle = &v->constitution->principle[it->principle]};
        TN_TRY(tn_prompts_ask(v->prompts, kind, &a, tn_asker_tokenizer(v->critic), &j->text[i], &j->ids[i], &j->cut[i], e));
        TN_TRY(put_question(j, i, stage, round, part, e));
    }
    return tn_asker_sample(v->critic, j->q + j->begin, j->end - j->begin, how, v->batch, name(j, what, plural, round), j->a + j->begin, e);
}

static tn_status critiques(job *j, int round, tn_revise_count *count, tn_err *e) {
    TN_TRY(ask_all(j, TN_PROMPT_CRITIQUE, "critique", round, 0, &j->v->critique, "critiques", e));
    for (int i = j->begin; i < j->end; i++) {
        item *it = &j->it[i];
        bool ended = j->a[i].ended;
        TN_TRY(tn_prompts_clean(j->v->prompts, j->a[i].text, j->a[i].len, &it->critique, &ended, e));
        count[it->principle].no_critique += it->critique.len == 0;
    }
    return TN_OK;
}

static tn_status take(job *j, item *it, const tn_answer *a, tn_revise_count *count, tn_err *e) {
    const tn_revise *v = j->v;
    tn_str y = TN_STR_INIT;
    bool ended = a->ended;
    tn_status st = tn_prompts_clean(v->prompts, a->text, a->len, &y, &ended, e);
    tn_revision_fault f = st == TN_OK ? tn_revision_judge(&v->limits, v->prompts, it->answer.s, it->critique.s, y.s, ended) : TN_REVISION_EMPTY;
    count[it->principle].fault[f]++;
    if (st == TN_OK && f == TN_REVISION_GOOD) st = set_str(&it->answer, y.s, y.len, e);
    json_t *r = json_pack("{s:s,s:s,s:s,s:o,s:s}", "principle", v->constitution->principle[it->principle].id, "critique", it->critique.s,
                          "revision", y.s, "fault", f == TN_REVISION_GOOD ? json_null() : json_string(tn_revision_fault_name[f]), "answer",
                          it->answer.s);
    if (st == TN_OK && (!r || json_array_append(it->rounds, r) < 0)) st = tn_fail(e, TN_NOMEM, "out of memory, or a revision that is not UTF-8");
    json_decref(r);
    tn_str_free(&y);
    return st;
}

static tn_status one_round(job *j, int round, tn_revise_count *count, tn_err *e) {
    const tn_revise *v = j->v;
    for (int i = j->begin; i < j->end; i++) {
        item *it = &j->it[i];
        TN_TRY(tn_constitution_draw(v->constitution, TN_CRITIQUE_REVISE, it->kind, v->seed, 16 * (uint64_t)i + (uint64_t)round, &it->principle, e));
        count[it->principle].uses++;
        tn_str_clear(&it->critique);
    }
    if (!v->direct) TN_TRY(critiques(j, round, count, e));
    TN_TRY(ask_all(j, v->direct ? TN_PROMPT_DIRECT : TN_PROMPT_REVISION, "revision", round, 1, &v->revision, "revisions", e));
    for (int i = j->begin; i < j->end; i++) TN_TRY(take(j, &j->it[i], &j->a[i], count, e));
    return TN_OK;
}

static tn_status work(job *j, json_t *const *row, const char *const *where, json_t **record, tn_revise_count *count, tn_err *e) {
    const tn_revise *v = j->v;
    for (int i = 0; i < j->n; i++) TN_TRY(open_item(v, &j->it[i], i, row[i], where[i], e));
    int together = !tn_asker_tokenizer(v->critic) || v->rounds == 0 ? j->n : v->batch > TOGETHER ? v->batch : TOGETHER;
    for (j->begin = 0; j->begin < j->n; j->begin = j->end) {
        j->end = j->n - j->begin < together ? j->n : j->begin + together;
        TN_TRY(first_answers(j, row, e));
        for (int r = 1; r <= v->rounds; r++) TN_TRY(one_round(j, r, count + (size_t)(r - 1) * (size_t)v->constitution->n_principle, e));
    }
    for (int i = 0; i < j->n; i++) {
        const item *it = &j->it[i];
        record[i] = json_pack("{s:s,s:O,s:s*,s:O}", "id", it->id, "prompt", it->conversation, "kind", it->kind, "rounds", it->rounds);
        if (!record[i]) return tn_fail(e, TN_NOMEM, "out of memory");
    }
    return TN_OK;
}

tn_status tn_revise_rows(const tn_revise *v, json_t *const *row, const char *const *where, int n, json_t **record, tn_revise_count *count,
                         tn_err *e) {
    size_t m = (size_t)n + 1;
    job j = {.v = v, .n = n, .it = tn_calloc(m, sizeof *j.it), .q = tn_calloc(m, sizeof *j.q), .a = tn_calloc(m, sizeof *j.a),
             .ids = tn_calloc(m, sizeof *j.ids), .cut = tn_calloc(m, sizeof *j.cut), .text = tn_calloc(m, sizeof *j.text)};
    for (int i = 0; j.text && i < n; i++) j.text[i] = (tn_str)TN_STR_INIT;
    tn_status st = j.it && j.q && j.a && j.ids && j.cut && j.text ? work(&j, row, where, record, count, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        if (j.it) close_item(&j.it[i]);
        if (j.q) json_decref(j.q[i].about);
        if (j.ids) tn_ids_free(&j.ids[i]);
        if (j.cut) tn_ids_free(&j.cut[i]);
        if (j.text) tn_str_free(&j.text[i]);
        if (st != TN_OK && record[i]) json_decref(record[i]), record[i] = NULL;
    }
    tn_free(j.it);
    tn_free(j.q);
    tn_free(j.a);
    tn_free(j.ids);
    tn_free(j.cut);
    tn_free(j.text);
    return st;
}
