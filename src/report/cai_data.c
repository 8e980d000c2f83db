/* The rows of the record as JSON inside the page; cai_script.c reads them. */
#include "report/cai.h"
#include <string.h>

enum { CHAINS = 200, TALKS = 200 }; /* of a chunk */

tn_status tn_html_json(tn_str *out, const json_t *v, tn_err *e) {
    tn_str t = TN_STR_INIT;
    tn_status st = tn_json_add(&t, v, JSON_COMPACT | JSON_ENCODE_ANY, "a row", e);
    for (size_t i = 0; st == TN_OK && i < t.len; i++) {
        unsigned char c = (unsigned char)t.s[i];
        if (c == '<' || c == '>' || c == '&') tn_str_addf(out, "\\u%04x", c);
        else if (c == 0xE2 && i + 2 < t.len && (unsigned char)t.s[i + 1] == 0x80 && ((unsigned char)t.s[i + 2] & 0xFE) == 0xA8)
            tn_str_addf(out, "\\u%04x", 0x2000 + ((unsigned char)t.s[i + 2] & 0x3F)), i += 2;
        else tn_str_addc(out, (char)c);
    }
    tn_str_free(&t);
    return st;
}

static tn_status put(tn_str *o, json_t *v, tn_err *e) {
    tn_status st = v ? tn_html_json(o, v, e) : tn_fail(e, TN_NOMEM, "out of memory for a row of the page");
    json_decref(v);
    return st;
}

static void open_chunk(tn_str *o, const char *id, size_t k, bool first) {
    if (!first) tn_str_addz(o, "]</script>\n");
    tn_str_addf(o, "<script type=\"application/json\" id=\"%s%zu\">[", id, k);
}

/* Answers behind the first are the revision taken last: they are not written again. */
static json_t *chain_json(const tn_cai_chain *x) {
    const json_t *rounds = json_object_get(x->row, "rounds"), *r;
    json_t *list = json_array();
    size_t i;
    json_array_foreach(rounds, i, r) {
        json_t *copy = json_copy((json_t *)r);
        if (i) json_object_del(copy, "answer");
        json_array_append_new(list, copy);
    }
    return json_pack("{s:O*,s:O*,s:i,s:o}", "id", json_object_get(x->row, "id"), "kind", json_object_get(x->row, "kind"), "talk", x->talk, "rounds", list);
}

static json_t *label_json(const json_t *row) {
    return json_pack("{s:O*,s:O*,s:O*,s:O*,s:O*}", "id", json_object_get(row, "id"), "responses", json_object_get(row, "responses"), "p",
                     json_object_get(row, "p"), "truth", json_object_get(row, "truth"), "labels", json_object_get(row, "labels"));
}

static json_t *talk_json(const tn_cai_talk *t) {
    json_t *labels = json_array(), *row;
    size_t i;
    json_array_foreach(t->labels, i, row) json_array_append_new(labels, label_json(row));
    return json_pack("{s:O*,s:o,s:O*}", "prompt", t->prompt, "labels", labels, "finals", t->finals);
}

/* A text's first bytes, whole characters; what a list shows. */
static json_t *preview(const json_t *prompt) {
    const json_t *t = json_is_array(prompt) ? json_object_get(json_array_get(prompt, json_array_size(prompt) - 1), "content") : prompt;
    size_t n = json_string_length(t), k = n > 160 ? 160 : n;
    const char *s = json_string_value(t);
    while (s && k < n && k > 0 && ((unsigned char)s[k] & 0xC0) == 0x80) k--;
    return s ? json_stringn(s, k) : json_string("");
}

/* What a list needs of an entry: [id, kind, talk, chain or -1, preview, rounds taken, rounds rejected, labels, finals, [principle, ...]]. */
static tn_status entry(const tn_cai *c, int chain, int talk, tn_str *o, tn_err *e) {
    const tn_cai_talk *t = &c->talk[talk];
    const json_t *row = chain < 0 ? NULL : c->chain[chain].row, *r;
    const char *id = row ? json_string_value(json_object_get(row, "id")) : t->id, *kind = row ? json_string_value(json_object_get(row, "kind")) : t->kind;
    int taken = 0, rejected = 0;
    size_t i;
    json_t *used = json_array();
    json_array_foreach(json_object_get(row, "rounds"), i, r) {
        const json_t *fault = json_object_get(r, "fault"), *p = json_object_get(r, "principle");
        if (!p) continue;
        taken += !json_is_string(fault), rejected += json_is_string(fault);
        json_array_append(used, (json_t *)p);
    }
    return put(o, json_pack("[s,s,i,i,o,i,i,i,i,o]", id ? id : "", kind ? kind : "", talk, chain, preview(t->prompt), taken, rejected,
                            (int)json_array_size(t->labels), (int)json_array_size(t->finals), used), e);
}

static tn_status entries(const tn_cai *c, tn_str *o, tn_err *e) {
    bool any = false;
    tn_str_addz(o, "<script type=\"application/json\" id=\"entries\">[");
    for (size_t i = 0; i < c->n_chain; i++, any = true) {
        if (any) tn_str_addz(o, ",\n");
        TN_TRY(entry(c, (int)i, c->chain[i].talk, o, e));
    }
    for (size_t t = 0; t < c->n_talk; t++) {
        if (c->talk[t].has_chain || (!c->talk[t].labels && !c->talk[t].finals)) continue;
        if (any) tn_str_addz(o, ",\n");
        TN_TRY(entry(c, -1, (int)t, o, e));
        any = true;
    }
    tn_str_addz(o, "]</script>\n");
    return TN_OK;
}

static tn_status constitution(const tn_cai *c, tn_str *o, tn_err *e) {
    json_t *all = json_object();
    for (size_t k = 0; k < c->n_principle; k++) {
        const json_t *p = c->principle[k].text;
        json_object_set_new(all, c->principle[k].id,
                            json_pack("{s:O*,s:O*,s:O*,s:O*,s:O*}", "critique", json_object_get(p, "critique"), "revise", json_object_get(p, "revise"),
                                      "compare", json_object_get(p, "compare"), "tags", json_object_get(p, "tags"), "polarity", json_object_get(p, "polarity")));
    }
    tn_str_addz(o, "<script type=\"application/json\" id=\"principles\">");
    TN_TRY(put(o, all, e));
    tn_str_addz(o, "</script>\n");
    return TN_OK;
}

tn_status tn_cai_data(const tn_cai *c, tn_str *o, tn_err *e) {
    TN_TRY(constitution(c, o, e));
    TN_TRY(entries(c, o, e));
    for (size_t i = 0; i < c->n_chain; i++) {
        if (i % CHAINS == 0) open_chunk(o, "chains", i / CHAINS, i == 0);
        else tn_str_addz(o, ",\n");
        TN_TRY(put(o, chain_json(&c->chain[i]), e));
    }
    if (c->n_chain) tn_str_addz(o, "]</script>\n");
    for (size_t t = 0; t < c->n_talk; t++) {
        if (t % TALKS == 0) open_chunk(o, "talks", t / TALKS, t == 0);
        else tn_str_addz(o, ",\n");
        TN_TRY(put(o, talk_json(&c->talk[t]), e));
    }
    if (c->n_talk) tn_str_addz(o, "]</script>\n");
    return TN_OK;
}
