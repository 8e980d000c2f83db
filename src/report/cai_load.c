/* Files of a run into one table of conversations; see cai.h. */
#include "report/cai.h"
#include "eval/compare.h"
#include "oversight/constitution.h"
#include "oversight/revise.h"
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_LINE ((size_t)1 << 28)
const char *const tn_cai_stage_name[8] = {"answer", "critique", "revision", NULL};

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "out of memory for the record"); }

static void note(tn_cai *c, const char *what, const char *where, long n) {
    tn_str_addz(&c->notes, "<li>");
    tn_html_textz(&c->notes, where);
    if (n) tn_str_addf(&c->notes, ": %ld", n);
    tn_str_addz(&c->notes, what);
    tn_str_addz(&c->notes, "</li>");
}

/* ---- rows ---- */

/* The line with every byte that is no UTF-8 replaced; false: it was UTF-8. */
static bool mend(const char *s, size_t n, tn_str *out) {
    bool bad = false;
    tn_str_clear(out);
    while (n > 0) {
        utf8proc_int32_t code;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &code);
        if (k <= 0) tn_str_addz(out, "\xEF\xBF\xBD"), k = 1, bad = true;
        else tn_str_add(out, s, (size_t)k);
        s += k, n -= (size_t)k;
    }
    return bad;
}

typedef tn_status (*row_fn)(tn_cai *c, json_t *row, const char *name, long number, tn_err *e);

/* Every row of a file that can be read; how many could not is noted. */
static tn_status each_row(tn_cai *c, const char *path, const char *name, row_fn f, tn_err *e) {
    tn_lines *in = NULL;
    const char *line;
    size_t n;
    long bad = 0, mended = 0;
    tn_str text = TN_STR_INIT;
    tn_status st = tn_lines_open(&in, path, MAX_LINE, e);
    while (st == TN_OK && (st = tn_lines_next(in, &line, &n, e)) == TN_OK && line) {
        json_t *row = NULL;
        mended += mend(line, n, &text);
        if (text.oom) st = no_memory(e);
        if (st != TN_OK || text.len == 0) continue;
        tn_err why = {0};
        tn_status parsed = tn_json_parse(text.s, text.len, path, &row, &why);
        if (parsed == TN_NOMEM) st = no_memory(e);
        else if (parsed != TN_OK || !json_is_object(row)) bad++;
        else if (json_array_append(c->kept, row) < 0) st = no_memory(e);
        else st = f(c, row, name, tn_lines_number(in), e);
        json_decref(row);
    }
    tn_lines_close(in);
    tn_str_free(&text);
    if (bad) note(c, bad == 1 ? " row could not be read: cut off, or no JSON object" : " rows could not be read: cut off, or no JSON objects", path, bad);
    if (mended) note(c, " rows had bytes that are no UTF-8; they are shown as \xEF\xBF\xBD", path, mended);
    return st;
}

/* ---- conversations ---- */

/* Messages' texts as a key; a text alone is a user's. */
static void add_key(tn_str *key, const json_t *prompt) {
    const json_t *m;
    size_t i;
    if (json_is_string(prompt)) tn_str_add(key, json_string_value(prompt), json_string_length(prompt));
    json_array_foreach(prompt, i, m) {
        const json_t *t = json_object_get(m, "content");
        if (i) tn_str_addc(key, '\n');
        if (json_is_string(t)) tn_str_add(key, json_string_value(t), json_string_length(t));
    }
}

/* The conversation of a row: of its id, of its prompt, or a new one. */
static tn_status talk_of(tn_cai *c, const json_t *row, const json_t *prompt, long number, int *talk, tn_err *e) {
    const char *id = json_string_value(json_object_get(row, "id"));
    tn_str key = TN_STR_INIT;
    char made[32];
    snprintf(made, sizeof made, "row-%ld", number);
    const json_t *at = id ? json_object_get(c->by_id, id) : NULL;
    if (!prompt) prompt = json_object_get(row, "prompt");
    if (!prompt) prompt = json_object_get(row, "messages");
    add_key(&key, prompt);
    for (size_t i = 0; i < key.len; i++) /* a key of jansson's ends at a NUL */
        if (!key.s[i]) key.s[i] = 1;
    if (key.len == 0) tn_str_addz(&key, id ? id : made);
    /* an id of another file may be another prompt's; texts are as a template made them, and the id is trusted */
    if (!at || json_is_array(prompt)) at = key.oom ? NULL : json_object_get(c->by_talk, key.s);
    bool ok = !key.oom;
    if (at) *talk = (int)json_integer_value(at);
    else if (ok && TN_GROW(c->talk, c->cap_talk, c->n_talk + 1)) {
        *talk = (int)c->n_talk;
        c->talk[c->n_talk++] = (tn_cai_talk){.prompt = prompt, .id = id, .kind = tn_compare_kind(row)};
        ok = json_object_set_new(c->by_talk, key.s, json_integer(*talk)) == 0;
    } else ok = false;
    if (ok && id && !json_object_get(c->by_id, id)) ok = json_object_set_new(c->by_id, id, json_integer(*talk)) == 0;
    tn_str_free(&key);
    return ok ? TN_OK : no_memory(e);
}

static tn_status push(json_t **list, json_t *item, tn_err *e) {
    if (!*list) *list = json_array();
    return *list && item && json_array_append_new(*list, item) == 0 ? TN_OK : no_memory(e);
}


static tn_cai_principle *principle_of(tn_cai *c, const char *id) {
    const json_t *at = json_object_get(c->principle_at, id);
    if (at) return &c->principle[json_integer_value(at)];
    if (!TN_GROW(c->principle, c->cap_principle, c->n_principle + 1)) return NULL;
    if (json_object_set_new(c->principle_at, id, json_integer((json_int_t)c->n_principle)) < 0) return NULL;
    tn_cai_principle *p = &c->principle[c->n_principle++];
    *p = (tn_cai_principle){.id = id};
    return p;
}

/* ---- kinds of rows ---- */

static tn_status add_chain(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)name;
    const json_t *rounds = json_object_get(row, "rounds"), *r;
    size_t i;
    int talk;
    TN_TRY(talk_of(c, row, NULL, number, &talk, e));
    if (!TN_GROW(c->chain, c->cap_chain, c->n_chain + 1)) return no_memory(e);
    c->chain[c->n_chain++] = (tn_cai_chain){row, talk};
    c->talk[talk].has_chain = true;
    json_array_foreach(rounds, i, r) {
        const char *id = json_string_value(json_object_get(r, "principle")), *fault = json_string_value(json_object_get(r, "fault"));
        if (!id) continue;
        tn_cai_principle *p = principle_of(c, id);
        if (!p) return no_memory(e);
        p->uses++;
        p->no_critique += json_string_length(json_object_get(r, "critique")) == 0;
        p->taken += !fault;
        for (int k = 0; fault && k < TN_REVISION_FAULTS; k++) p->fault[k] += tn_revision_fault_name[k] && !strcmp(fault, tn_revision_fault_name[k]);
    }
    return TN_OK;
}

static tn_status add_label(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)name;
    int talk;
    TN_TRY(talk_of(c, row, NULL, number, &talk, e));
    json_object_set_new(row, "row", json_integer(c->n_label++)); /* as its replies know it */
    return push(&c->talk[talk].labels, json_incref(row), e);
}

static tn_status add_truth(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)name, (void)number;
    const char *id = json_string_value(json_object_get(row, "id"));
    if (!id) return TN_OK;
    return json_object_set(c->truth, id, row) == 0 ? TN_OK : no_memory(e);
}

static tn_status add_final(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    int talk;
    bool ended;
    const char *text = tn_compare_text(row, &ended), *grade = json_string_value(json_object_get(row, "grade"));
    if (!text) return TN_OK;
    TN_TRY(talk_of(c, row, NULL, number, &talk, e));
    c->n_final++;
    return push(&c->talk[talk].finals, json_pack("{s:s,s:s,s:b,s:s*}", "name", name, "text", text, "ended", ended, "grade", grade), e);
}

static tn_status add_samples(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    const char *who;
    json_t *answers = json_object_get(row, "answers"), *a;
    int talk;
    (void)name;
    TN_TRY(talk_of(c, row, NULL, number, &talk, e));
    json_object_foreach(answers, who, a) {
        json_t *x = json_is_object(a) ? json_copy(a) : NULL;
        if (!x) continue;
        json_object_set_new(x, "name", json_string(who));
        c->n_final++;
        TN_TRY(push(&c->talk[talk].finals, x, e));
    }
    return TN_OK;
}

/* The world's evaluation prompts as messages, whose ids its samples have. */
static tn_status add_prompt(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    int talk;
    (void)name;
    return talk_of(c, row, NULL, number, &talk, e);
}

static tn_status add_judged(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)number;
    int r = name[0] - '0';
    if (name[1]) r = r * 10 + name[1] - '0';
    return push(&c->judged[r], json_incref(row), e);
}

static tn_status add_thought(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)name, (void)number;
    const json_t *asked = json_object_get(row, "asked"), *text = json_object_get(json_object_get(row, "reply"), "text");
    const char *stage = json_string_value(json_object_get(asked, "stage")), *principle = json_string_value(json_object_get(asked, "principle"));
    if (!stage || strcmp(stage, "reason") != 0 || !principle || !json_is_string(text)) return TN_OK;
    char key[160];
    snprintf(key, sizeof key, "%lld %.100s %lld", (long long)json_integer_value(json_object_get(asked, "row")), principle,
             (long long)json_integer_value(json_object_get(asked, "order")));
    json_t *list = json_object_get(c->thoughts, key);
    if (!list && json_object_set_new(c->thoughts, key, list = json_array()) < 0) return no_memory(e);
    return json_array_append(list, (json_t *)text) == 0 ? TN_OK : no_memory(e);
}

/* Replies of a critique that has not ended. */
static tn_status count_reply(tn_cai *c, json_t *row, const char *name, long number, tn_err *e) {
    (void)name, (void)number, (void)e;
    const char *stage = json_string_value(json_object_get(json_object_get(row, "asked"), "stage"));
    for (int k = 0; stage && tn_cai_stage_name[k]; k++) c->replies[k] += !strcmp(stage, tn_cai_stage_name[k]);
    return TN_OK;
}

/* ---- files ---- */

static tn_status replies_beside(tn_cai *c, const char *path, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_str_addf(&p, "%s.replies.jsonl", path);
    tn_status st = p.oom ? no_memory(e) : tn_exists(p.s) ? each_row(c, p.s, NULL, add_thought, e) : TN_OK;
    tn_str_free(&p);
    return st;
}

/* What the first row of a file says about all of them. */
static tn_status sniff(tn_cai *c, const char *path, json_t **row, tn_err *e) {
    tn_lines *in = NULL;
    const char *line;
    size_t n;
    tn_str text = TN_STR_INIT;
    (void)c;
    *row = NULL;
    tn_status st = tn_lines_open(&in, path, MAX_LINE, e);
    while (st == TN_OK && !*row && (st = tn_lines_next(in, &line, &n, e)) == TN_OK && line) {
        mend(line, n, &text);
        if (tn_json_parse(text.s, text.len, path, row, NULL) == TN_OK && !json_is_object(*row)) json_decref(*row), *row = NULL;
    }
    tn_lines_close(in);
    tn_str_free(&text);
    return st;
}

static tn_status load_rows(tn_cai *c, const char *path, const char *name, tn_err *e) {
    json_t *row;
    tn_status st = sniff(c, path, &row, e);
    if (st != TN_OK) return st;
    if (!row) note(c, " has no row that can be read", path, 0);
    else if (json_object_get(row, "rounds")) st = each_row(c, path, name, add_chain, e);
    else if (json_object_get(row, "labels")) {
        st = each_row(c, path, name, add_label, e);
        if (st == TN_OK) st = replies_beside(c, path, e);
    } else if (json_object_get(row, "rank")) st = each_row(c, path, name, add_truth, e);
    else if (json_object_get(row, "answers")) st = each_row(c, path, name, add_samples, e);
    else if (!name) st = tn_fail(e, TN_ARG, "--record %s: these look like answers; say whose: NAME=%s", path, path);
    else st = each_row(c, path, name, add_final, e);
    json_decref(row);
    return st;
}

static tn_status load_constitution(tn_cai *c, const char *path, tn_err *e) {
    tn_constitution *k;
    TN_TRY(tn_constitution_load(&k, path, e));
    snprintf(c->constitution_hash, sizeof c->constitution_hash, "%016llx", (unsigned long long)k->hash);
    json_decref(c->constitution);
    c->constitution = json_incref(k->doc);
    tn_constitution_free(k);
    return TN_OK;
}

static tn_status load_document(tn_cai *c, const char *path, tn_err *e) {
    json_t *j;
    TN_TRY(tn_json_load(path, &j, e));
    json_t *stages = json_object_get(j, "stages") ? j : json_object_get(j, "compare");
    tn_status st = TN_OK;
    if (stages) json_decref(c->stages), c->stages = json_incref(stages);
    else if (json_object_get(j, "principles") && json_object_get(j, "rows")) json_decref(c->summary), c->summary = json_incref(j);
    else if (json_object_get(j, "principles")) st = load_constitution(c, path, e);
    json_decref(j);
    return st;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* The round of .../judged-R.jsonl as text in name; false: the file is called otherwise. */
static bool is_judged(const char *path, char name[4]) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    if (strncmp(base, "judged-", 7) != 0) return false;
    size_t n = strspn(base + 7, "0123456789");
    if (n < 1 || n > 2 || strcmp(base + 7 + n, ".jsonl") != 0) return false;
    snprintf(name, 4, "%.*s", (int)n, base + 7);
    return n == 1 || (name[0] == '1' && name[1] - '0' < TN_CAI_ROUNDS - 10);
}

static tn_status load_file(tn_cai *c, const char *path, const char *name, tn_err *e) {
    char round[4];
    if (is_judged(path, round)) return each_row(c, path, round, add_judged, e);
    if (ends_with(path, "constitution.jsonl")) return load_constitution(c, path, e);
    return ends_with(path, ".json") ? load_document(c, path, e) : load_rows(c, path, name, e);
}

/* FILE of a folder, when it is there. */
static tn_status from_folder(tn_cai *c, const char *dir, const char *file, row_fn f, const char *name, bool *found, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, dir, file);
    tn_status st = p.oom ? no_memory(e) : TN_OK;
    bool there = st == TN_OK && tn_exists(p.s);
    if (there) st = f ? each_row(c, p.s, name, f, e) : load_file(c, p.s, name, e);
    *found = *found || there;
    tn_str_free(&p);
    return st;
}

static tn_status load_folder(tn_cai *c, const char *dir, tn_err *e) {
    static const char *const parts[] = {"summary.json", "constitution.json", "constitution.jsonl", "record.jsonl", "labels.jsonl", "truth.jsonl", "stages.json",
                                        "critique/summary.json", "critique/constitution.json", "critique/constitution.jsonl", "critique/record.jsonl"};
    static const char *const later[] = {"eval.json", "samples.jsonl", "eval/eval.json", "eval/samples.jsonl"};
    static const char *const prompts[] = {"prompts.jsonl", "eval/prompts.jsonl"};
    bool found = false, record = false;
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        TN_TRY(from_folder(c, dir, parts[k], NULL, NULL, strstr(parts[k], "record") ? &record : &found, e));
    for (int part = 0; part < 2 && !record; part++) {
        bool open = false;
        TN_TRY(from_folder(c, dir, part ? "critique/replies.jsonl" : "replies.jsonl", count_reply, NULL, &open, e));
        if (open) note(c, " has replies but no record.jsonl yet: the critique was interrupted. The same command goes on where it stopped", dir, 0);
        found = found || open;
    }
    for (int r = 0; r < TN_CAI_ROUNDS; r++)
        for (int part = 0; part < 2; part++) {
            char file[40];
            snprintf(file, sizeof file, "%sjudged-%d.jsonl", part ? "critique/" : "", r);
            TN_TRY(from_folder(c, dir, file, NULL, NULL, &found, e));
        }
    for (int k = 0; k < 2; k++) TN_TRY(from_folder(c, dir, prompts[k], add_prompt, NULL, &found, e));
    for (size_t k = 0; k < sizeof later / sizeof *later; k++) TN_TRY(from_folder(c, dir, later[k], NULL, NULL, &found, e));
    return found || record ? TN_OK : tn_fail(e, TN_ARG, "--record %s: the folder has nothing of a Constitutional AI run, e.g. record.jsonl of `tenet critique`", dir);
}

/* ---- all of it ---- */

/* Which answer is the better one by somebody who should know: 1, 2, or 0 when nobody says. */
static int truth_of(const tn_cai *c, const json_t *row) {
    static const char *const by[] = {"truth", "human"};
    for (int k = 0; k < 2; k++) {
        json_int_t v = json_integer_value(json_object_get(row, by[k]));
        if (v == 1 || v == 2) return (int)v;
    }
    const char *id = json_string_value(json_object_get(row, "id"));
    const json_t *t = id ? json_object_get(c->truth, id) : NULL, *rank = json_object_get(t, "rank");
    if (!t || !json_equal(json_object_get(t, "responses"), json_object_get(row, "responses"))) return 0;
    json_int_t a = json_integer_value(json_array_get(rank, 0)), b = json_integer_value(json_array_get(rank, 1));
    return a == b ? 0 : a < b ? 1 : 2;
}

/* Labels know their thoughts and who is right; principles what was made of them. */
static tn_status join(tn_cai *c, tn_err *e) {
    for (size_t t = 0; t < c->n_talk; t++) {
        json_t *row, *l;
        size_t i, k;
        json_array_foreach(c->talk[t].labels, i, row) {
            int right = truth_of(c, row);
            if (right) json_object_set_new(row, "truth", json_integer(right));
            json_array_foreach(json_object_get(row, "labels"), k, l) {
                const char *id = json_string_value(json_object_get(l, "principle"));
                double p = tn_report_real(l, "p"), p1 = tn_report_real(l, "p_order1"), p2 = tn_report_real(l, "p_order2");
                tn_cai_principle *x = id ? principle_of(c, id) : NULL;
                if (id && !x) return no_memory(e);
                if (!x || !isfinite(p)) continue;
                x->compared++, x->margin += fabs(p - 0.5);
                if (isfinite(p1) && isfinite(p2)) x->bias += (p1 + p2) / 2 - 0.5;
                if (right) x->judged++, x->right += (p >= 0.5) == (right == 1);
                for (int order = 0; order < 2; order++) {
                    char key[160];
                    snprintf(key, sizeof key, "%lld %.100s %d", (long long)json_integer_value(json_object_get(row, "row")), id, order);
                    json_t *said = json_object_get(c->thoughts, key);
                    if (said && json_object_set(l, order ? "thoughts2" : "thoughts1", said) < 0) return no_memory(e);
                }
            }
        }
    }
    const json_t *p;
    size_t i;
    json_array_foreach(json_object_get(c->constitution, "principles"), i, p) {
        const char *id = json_string_value(json_object_get(p, "id"));
        tn_cai_principle *x = id ? principle_of(c, id) : NULL;
        if (!x) return no_memory(e);
        x->text = p;
    }
    return TN_OK;
}

static void say_what_is_missing(tn_cai *c) {
    const char *hash = json_string_value(json_object_get(c->summary, "constitution_hash"));
    if (!c->n_chain) note(c, "No record of critiques and revisions was given (record.jsonl of tenet critique).", "", 0);
    if (!c->n_label) note(c, "No comparisons were given (tenet label): there are no soft labels here yet.", "", 0);
    if (!c->n_final) note(c, "No later model's answers were given (samples.jsonl of tenet eval, or NAME=FILE of tenet generate).", "", 0);
    if (!c->constitution) note(c, "The constitution was not given (--constitution FILE): principles are known by their ids alone.", "", 0);
    else if (hash && strcmp(hash, c->constitution_hash) != 0)
        note(c, "The constitution is not the one of this run, or was changed since: its texts are shown, but others were used.", "", 0);
}

tn_status tn_cai_load(tn_cai *c, tn_opt_list parts, const char *constitution, tn_err *e) {
    c->notes = (tn_str)TN_STR_INIT;
    c->kept = json_array();
    c->by_talk = json_object(), c->by_id = json_object(), c->truth = json_object(), c->thoughts = json_object(), c->principle_at = json_object();
    if (!c->kept || !c->by_talk || !c->by_id || !c->truth || !c->thoughts || !c->principle_at) return no_memory(e);
    for (int i = 0; i < parts.n; i++) {
        const char *eq = strchr(parts.v[i], '='), *path = eq ? eq + 1 : parts.v[i];
        char name[64];
        snprintf(name, sizeof name, "%.*s", eq ? (int)(eq - parts.v[i] > 63 ? 63 : eq - parts.v[i]) : 0, parts.v[i]);
        TN_TRY(tn_is_dir(path) ? load_folder(c, path, e) : load_file(c, path, eq ? name : NULL, e));
    }
    if (constitution) TN_TRY(load_constitution(c, constitution, e));
    TN_TRY(join(c, e));
    say_what_is_missing(c);
    return c->notes.oom ? no_memory(e) : tn_json_check("the record", e);
}

void tn_cai_free(tn_cai *c) {
    for (size_t t = 0; t < c->n_talk; t++) json_decref(c->talk[t].labels), json_decref(c->talk[t].finals);
    for (int r = 0; r < TN_CAI_ROUNDS; r++) json_decref(c->judged[r]);
    json_t *const j[] = {c->by_talk, c->by_id, c->truth, c->thoughts, c->principle_at, c->stages, c->constitution, c->summary, c->kept};
    for (size_t k = 0; k < sizeof j / sizeof *j; k++) json_decref(j[k]);
    tn_free(c->chain), tn_free(c->talk), tn_free(c->principle);
    tn_str_free(&c->notes);
    *c = (tn_cai){0};
}
