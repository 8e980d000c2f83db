#include "rl/rlthf_rows.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/formats.h"

enum { MAX_LINE = 1 << 26 };

/* ---- pairs in ---- */

/* 1 or 2 of a member that may be absent (0); `none`: 0 is an answer, too, given as -1. */
static tn_status number_of(const json_t *row, const char *key, bool none, int *out, const char *where, tn_err *e) {
    const json_t *v = json_object_get(row, key);
    json_int_t k = json_integer_value(v);
    *out = 0;
    if (!v || json_is_null(v)) return TN_OK;
    if (!json_is_integer(v) || k < (none ? 0 : 1) || k > 2)
        return tn_fail(e, TN_FORMAT, "%s: \"%s\" must be 1 or 2, the number of a response%s", where, key,
                       none ? ", or 0: cannot say" : "");
    *out = k ? (int)k : -1;
    return TN_OK;
}

static tn_status label_of(const json_t *row, int *label, const char *where, tn_err *e) {
    const json_t *list = json_object_get(row, "responses"), *rank = json_object_get(row, "rank");
    *label = 1;
    if (!list) {
        if (json_object_get(row, "chosen") && json_object_get(row, "rejected")) return TN_OK;
        return tn_fail(e, TN_FORMAT, "%s: a pair needs \"responses\" and \"rank\", or \"chosen\" and \"rejected\"", where);
    }
    const json_t *a = json_array_get(rank, 0), *b = json_array_get(rank, 1);
    if (json_array_size(list) != 2)
        return tn_fail(e, TN_FORMAT, "%s: \"responses\" must be two, found %zu", where, json_array_size(list));
    if (json_array_size(rank) != 2 || !json_is_number(a) || !json_is_number(b) || json_number_value(a) == json_number_value(b))
        return tn_fail(e, TN_FORMAT,
                       "%s: \"rank\" must be [1, 2] or [2, 1], the first labeller's word (`tenet label` gives one)", where);
    if (!json_object_get(row, "prompt")) return tn_fail(e, TN_FORMAT, "%s: \"responses\" without \"prompt\"", where);
    *label = json_number_value(a) < json_number_value(b) ? 1 : 2;
    return TN_OK;
}

static tn_status read_pair(tn_rlthf_pair *p, const char *where, tn_err *e) {
    TN_TRY(label_of(p->row, &p->label, where, e));
    TN_TRY(number_of(p->row, "human", true, &p->human, where, e));
    TN_TRY(number_of(p->row, "truth", false, &p->truth, where, e));
    if (!p->truth && p->human > 0) p->truth = p->human;
    return TN_OK;
}

/* A public set's row gets its prompt beside its own fields: what is written is prompt and answers. */
static tn_status known_row(json_t **row, tn_err *e) {
    json_t *known;
    if (json_object_get(*row, "prompt")) return TN_OK;
    TN_TRY(tn_row_canonical(*row, false, &known, e));
    json_decref(*row);
    *row = known;
    return TN_OK;
}

static tn_status read_file(tn_rlthf_pairs *r, const char *path, tn_err *e) {
    tn_lines *in;
    TN_TRY(tn_lines_open(&in, path, MAX_LINE, e));
    tn_status st = TN_OK;
    for (json_t *row; st == TN_OK;) {
        char where[600];
        st = tn_jsonl_next(in, path, &row, e);
        if (st != TN_OK || !row) break;
        snprintf(where, sizeof where, "%.500s:%ld", path, tn_lines_number(in));
        st = known_row(&row, e);
        if (st == TN_OK && !TN_GROW(r->v, r->cap, r->n + 1)) st = tn_fail(e, TN_NOMEM, "%s: out of memory", where);
        if (st != TN_OK) {
            json_decref(row);
            break;
        }
        r->v[r->n] = (tn_rlthf_pair){.row = row};
        st = read_pair(&r->v[r->n++], where, e);
    }
    tn_lines_close(in);
    return st;
}

tn_status tn_rlthf_read(tn_rlthf_pairs *r, const char *const *path, int n_path, tn_err *e) {
    for (int i = 0; i < n_path; i++) TN_TRY(read_file(r, path[i], e));
    return TN_OK;
}

void tn_rlthf_pairs_free(tn_rlthf_pairs *r) {
    for (size_t i = 0; i < r->n; i++) json_decref(r->v[i].row);
    tn_free(r->v);
    *r = (tn_rlthf_pairs){0};
}

/* ---- rows out ---- */

static json_t *response(const tn_rlthf_pair *p, int number) {
    json_t *list = json_object_get(p->row, "responses");
    return list ? json_array_get(list, (size_t)number - 1) : json_object_get(p->row, number == 1 ? "chosen" : "rejected");
}

static tn_status put_member(tn_str *out, const char *name, const json_t *v, tn_err *e) {
    if (!v) return TN_OK;
    tn_str_addf(out, "%s\"%s\": ", out->s[out->len - 1] == '{' ? "" : ", ", name);
    return tn_json_add(out, v, JSON_COMPACT | JSON_ENCODE_ANY, name, e);
}

tn_status tn_rlthf_put(const tn_rlthf_pair *p, int better, const char *more, tn_str *out, tn_err *e) {
    const json_t *list = json_object_get(p->row, "responses");
    tn_str_addz(out, "{");
    if (out->oom) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(put_member(out, "prompt", json_object_get(p->row, "prompt"), e));
    if (list) {
        TN_TRY(put_member(out, "responses", list, e));
        TN_TRY(put_member(out, "ended", json_object_get(p->row, "ended"), e));
        tn_str_addf(out, ", \"rank\": [%d, %d]", better, 3 - better);
    } else {
        TN_TRY(put_member(out, "chosen", response(p, better), e));
        TN_TRY(put_member(out, "rejected", response(p, 3 - better), e));
    }
    if (more) TN_TRY(put_member(out, "id", json_object_get(p->row, "id"), e));
    tn_str_addz(out, more ? more : "");
    tn_str_addz(out, "}");
    return out->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

/* ---- questions and answers ---- */

/* Which response is shown first. */
static int first_of(uint64_t seed, int pair) {
    tn_rng r = tn_rng_stream(seed, TN_RNG_RLTHF, 1001 + (uint64_t)pair);
    return 1 + (int)tn_rng_below(&r, 2);
}

static tn_status questions(const tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, bool answer, const char *path,
                           tn_err *e) {
    tn_out *out;
    tn_str s = TN_STR_INIT;
    TN_TRY(tn_out_open(&out, path, false, e));
    tn_status st = TN_OK;
    for (int i = 0; i < n && st == TN_OK; i++) {
        const tn_rlthf_pair *p = &r->v[which[i]];
        int first = first_of(seed, which[i]), better = p->human <= 0 ? 0 : p->human == first ? 1 : 2;
        tn_str_clear(&s);
        tn_str_addf(&s, "{\"pair\": %d", which[i] + 1);
        st = s.oom ? tn_fail(e, TN_NOMEM, "out of memory")
                   : put_member(&s, "prompt", json_object_get(p->row, "prompt"), e);
        if (st == TN_OK) st = put_member(&s, "first", response(p, first), e);
        if (st == TN_OK) st = put_member(&s, "second", response(p, 3 - first), e);
        if (answer) tn_str_addf(&s, ", \"better\": %d}\n", better);
        else tn_str_addz(&s, ", \"better\": null}\n");
        if (st == TN_OK) st = s.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(out, s.s, s.len, e);
    }
    tn_str_free(&s);
    return tn_out_close(out, st, true, e);
}

tn_status tn_rlthf_ask(const tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e) {
    return questions(r, which, n, seed, false, path, e);
}

tn_status tn_rlthf_simulate(const tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e) {
    for (int i = 0; i < n; i++)
        if (!r->v[which[i]].human)
            return tn_fail(e, TN_FORMAT, "row %d has no \"human\", which --human rows answers with", which[i] + 1);
    return questions(r, which, n, seed, true, path, e);
}

static tn_status answer_row(tn_rlthf_pairs *r, const json_t *row, uint64_t seed, const char *where, tn_err *e) {
    int64_t pair;
    const json_t *v = json_object_get(row, "better");
    TN_TRY(tn_json_need_int(row, "pair", &pair, where, e));
    if (pair < 1 || pair > (int64_t)r->n || !r->v[pair - 1].asked)
        return tn_fail(e, TN_FORMAT, "%s: pair %lld was not asked about in this round; answer the rows of to_label.jsonl", where,
                       (long long)pair);
    tn_rlthf_pair *p = &r->v[pair - 1];
    if (p->answer >= 0)
        return tn_fail(e, TN_FORMAT, "%s: pair %lld is answered twice", where, (long long)pair);
    json_int_t k = json_integer_value(v);
    if (!json_is_integer(v) || k < 0 || k > 2)
        return tn_fail(e, TN_FORMAT, "%s: \"better\" must be 1 (first), 2 (second) or 0 (cannot say); %s", where,
                       !v || json_is_null(v) ? "it is not filled in" : "found something else");
    int first = first_of(seed, (int)pair - 1);
    p->answer = k == 0 ? 0 : k == 1 ? first : 3 - first;
    return TN_OK;
}

static tn_status read_answers(tn_rlthf_pairs *r, uint64_t seed, const char *path, tn_err *e) {
    tn_lines *in;
    TN_TRY(tn_lines_open(&in, path, MAX_LINE, e));
    tn_status st = TN_OK;
    for (json_t *row; st == TN_OK;) {
        char where[600];
        st = tn_jsonl_next(in, path, &row, e);
        if (st != TN_OK || !row) break;
        snprintf(where, sizeof where, "%.500s:%ld", path, tn_lines_number(in));
        st = answer_row(r, row, seed, where, e);
        json_decref(row);
    }
    tn_lines_close(in);
    return st;
}

/* While they are read, -1 in `answer` marks what is still open. */
tn_status tn_rlthf_answers(tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e) {
    int *before = tn_calloc(r->n, sizeof *before);
    if (!before) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < r->n; i++) before[i] = r->v[i].asked, r->v[i].asked = false;
    for (int i = 0; i < n; i++) r->v[which[i]].asked = true, r->v[which[i]].answer = -1;
    tn_status st = read_answers(r, seed, path, e);
    for (int i = 0; st == TN_OK && i < n; i++)
        if (r->v[which[i]].answer < 0)
            st = tn_fail(e, TN_FORMAT, "%s: pair %d of to_label.jsonl is not answered", path, which[i] + 1);
    for (size_t i = 0; i < r->n; i++) r->v[i].asked |= before[i] != 0;
    tn_free(before);
    return st;
}
