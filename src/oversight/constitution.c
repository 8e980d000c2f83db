#include "oversight/constitution.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

enum { MAX_PRINCIPLES = 4096, MAX_FEW_SHOTS = 256, MAX_FILE = 16 << 20 };
static const char *const use_name[] = {"critique_revise", "compare"};

/* ---- members ---- */

/* Only these keys; a list of names that ends with NULL. */
static tn_status only(const json_t *o, const char *const *keys, const char *where, tn_err *e) {
    const char *k;
    json_t *v;
    json_object_foreach((json_t *)o, k, v) {
        int i = 0;
        while (keys[i] && strcmp(keys[i], k)) i++;
        if (keys[i]) continue;
        tn_str all = TN_STR_INIT;
        for (i = 0; keys[i]; i++) tn_str_addf(&all, "%s%s", i ? ", " : "", keys[i]);
        tn_status st = tn_fail(e, TN_FORMAT, "%s: unknown key \"%s\"; known are %s", where, k, all.oom ? "others" : all.s);
        tn_str_free(&all);
        return st;
    }
    return TN_OK;
}

static bool blank(const char *s) { return s[strspn(s, " \t\r\n")] == 0; }

/* A text that says something, or NULL when it may be absent and is. */
static tn_status text(const json_t *o, const char *key, bool needed, const char **out, const char *where, tn_err *e) {
    if (needed) TN_TRY(tn_json_need_str(o, key, out, where, e));
    else TN_TRY(tn_json_str(o, key, NULL, out, where, e));
    if (*out && blank(*out)) return tn_fail(e, TN_FORMAT, "%s: \"%s\" is empty; write its text or leave the key out", where, key);
    if (*out && strlen(*out) != json_string_length(json_object_get(o, key)))
        return tn_fail(e, TN_FORMAT, "%s: \"%s\" has a NUL in it", where, key);
    return TN_OK;
}

/* An array of texts, or NULL. */
static tn_status texts(const json_t *o, const char *key, const json_t **out, const char *where, tn_err *e) {
    const json_t *a = json_object_get(o, key), *v;
    size_t i;
    *out = NULL;
    if (!a || json_is_null(a)) return TN_OK;
    if (!json_is_array(a)) return tn_fail(e, TN_FORMAT, "%s: \"%s\" is not a list of texts", where, key);
    json_array_foreach((json_t *)a, i, v)
        if (!json_is_string(v)) return tn_fail(e, TN_FORMAT, "%s: \"%s\"[%zu] is not a text", where, key, i);
    *out = a;
    return TN_OK;
}

static tn_status weight(const json_t *v, double *out, const char *what, const char *where, tn_err *e) {
    double w = json_number_value(v);
    if (!json_is_number(v) || !(w >= 0) || !isfinite(w))
        return tn_fail(e, TN_FORMAT, "%s: %s is not a number of at least 0", where, what);
    *out = w;
    return TN_OK;
}

/* ---- principles ---- */

static tn_status kinds(tn_principle *p, const json_t *o, const char *where, tn_err *e) {
    const json_t *a = json_object_get(o, "kind"), *v;
    size_t i;
    if (!json_is_array(a) || json_array_size(a) == 0)
        return tn_fail(e, TN_FORMAT, "%s: \"kind\" is to be a list of critique_revise and compare", where);
    json_array_foreach((json_t *)a, i, v) {
        int u = 0;
        while (u < TN_PRINCIPLE_USES && (!json_is_string(v) || strcmp(use_name[u], json_string_value(v)))) u++;
        if (u == TN_PRINCIPLE_USES)
            return tn_fail(e, TN_FORMAT, "%s: \"kind\" is to be a list of critique_revise and compare, not %s", where,
                           json_is_string(v) ? json_string_value(v) : "of something else");
        p->use[u] = true;
    }
    return TN_OK;
}

static tn_status weights(tn_principle *p, const json_t *o, const char *where, tn_err *e) {
    const json_t *w = json_object_get(o, "weight"), *v;
    const char *kind;
    double ignored;
    p->weight = 1;
    if (w) TN_TRY(weight(w, &p->weight, "\"weight\"", where, e));
    p->weights = json_object_get(o, "weights");
    if (!p->weights) return TN_OK;
    if (!json_is_object(p->weights))
        return tn_fail(e, TN_FORMAT, "%s: \"weights\" is to be an object of prompt kinds and numbers", where);
    json_object_foreach((json_t *)p->weights, kind, v) TN_TRY(weight(v, &ignored, kind, where, e));
    return TN_OK;
}

static uint64_t hash_text(const char *s, uint64_t h) { return s ? tn_hash64(s, strlen(s) + 1, h) : tn_mix(h + 1); }

static tn_status read_principle(tn_principle *p, const json_t *o, const char *where, tn_err *e) {
    static const char *const keys[] = {"id", "kind", "weight", "weights", "tags", "critique", "revise", "compare", "polarity",
                                       "applies_to", "enabled", NULL};
    const char *polarity;
    if (!json_is_object(o)) return tn_fail(e, TN_FORMAT, "%s: a principle is to be an object", where);
    TN_TRY(text(o, "id", true, &p->id, where, e));
    TN_TRY(only(o, keys, where, e));
    TN_TRY(kinds(p, o, where, e));
    TN_TRY(text(o, "critique", p->use[TN_CRITIQUE_REVISE], &p->critique, where, e));
    TN_TRY(text(o, "revise", p->use[TN_CRITIQUE_REVISE], &p->revise, where, e));
    TN_TRY(text(o, "compare", p->use[TN_COMPARE], &p->compare, where, e));
    TN_TRY(weights(p, o, where, e));
    TN_TRY(texts(o, "tags", &p->tags, where, e));
    TN_TRY(texts(o, "applies_to", &p->applies_to, where, e));
    TN_TRY(tn_json_bool(o, "enabled", true, &p->enabled, where, e));
    TN_TRY(tn_json_str(o, "polarity", "chosen_is_better", &polarity, where, e));
    p->worse = !strcmp(polarity, "chosen_is_worse");
    if (!p->worse && strcmp(polarity, "chosen_is_better"))
        return tn_fail(e, TN_FORMAT, "%s: \"polarity\" is chosen_is_better or chosen_is_worse, not %s", where, polarity);
    p->hash = tn_mix(hash_text(p->compare, hash_text(p->revise, hash_text(p->critique, 0))) + p->worse);
    return TN_OK;
}

static tn_status read_principles(tn_constitution *c, const json_t *a, const char *path, tn_err *e) {
    size_t n = json_array_size(a);
    if (!json_is_array(a) || n == 0) return tn_fail(e, TN_FORMAT, "%s: \"principles\" is to be a list with at least one", path);
    if (n > MAX_PRINCIPLES) return tn_fail(e, TN_FORMAT, "%s: %zu principles; at most %d", path, n, MAX_PRINCIPLES);
    c->principle = tn_calloc(n, sizeof *c->principle);
    if (!c->principle) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(a, i);
        const char *id = json_string_value(json_object_get(o, "id"));
        char where[512];
        snprintf(where, sizeof where, "%s: principle %zu%s%.80s", path, i + 1, id ? ", " : "", id ? id : "");
        TN_TRY(read_principle(&c->principle[i], o, where, e));
        int twin = tn_constitution_find(c, c->principle[i].id);
        if (twin >= 0) return tn_fail(e, TN_FORMAT, "%s: principle %d has this id already", where, twin + 1);
        c->n_principle++;
    }
    for (int u = 0; u < TN_PRINCIPLE_USES; u++) {
        int of_use = 0, can = 0;
        for (int i = 0; i < c->n_principle; i++) {
            const tn_principle *p = &c->principle[i];
            bool any = p->weight > 0;
            const char *kind;
            json_t *v;
            json_object_foreach((json_t *)p->weights, kind, v) any = any || json_number_value(v) > 0;
            of_use += p->use[u];
            can += p->use[u] && p->enabled && any;
        }
        if (of_use && !can) return tn_fail(e, TN_FORMAT, "%s: no principle for %s is enabled with a weight above 0", path, use_name[u]);
    }
    return TN_OK;
}

/* ---- few-shots and labels ---- */

/* Messages that alternate, from the user's; `last` ends them. */
static tn_status conversation(const json_t *o, const char *last, const json_t **out, const char *where, tn_err *e) {
    json_t *a;
    TN_TRY(tn_json_need(o, "conversation", JSON_ARRAY, &a, where, e));
    size_t n = json_array_size(a);
    for (size_t i = 0; i < n; i++) {
        const char *role, *content;
        TN_TRY(tn_json_need_str(json_array_get(a, i), "role", &role, where, e));
        TN_TRY(text(json_array_get(a, i), "content", true, &content, where, e));
        if (strcmp(role, i % 2 ? "assistant" : "user"))
            return tn_fail(e, TN_FORMAT, "%s: message %zu of \"conversation\" is to be the %s's", where, i + 1, i % 2 ? "assistant" : "user");
    }
    if (n % 2 != (strcmp(last, "user") == 0))
        return tn_fail(e, TN_FORMAT, "%s: \"conversation\" is to end with the %s's message", where, last);
    *out = a;
    return TN_OK;
}

static tn_status read_few_shot(const tn_constitution *c, tn_few_shot *f, const json_t *o, const char *where, tn_err *e) {
    static const char *const revise_keys[] = {"id", "kind", "principle", "conversation", "critique", "revision", NULL};
    static const char *const compare_keys[] = {"id", "kind", "principle", "conversation", "option_a", "option_b", "reasoning", "answer", NULL};
    const char *kind, *principle, *answer;
    if (!json_is_object(o)) return tn_fail(e, TN_FORMAT, "%s: a few-shot is to be an object", where);
    TN_TRY(text(o, "id", true, &f->id, where, e));
    TN_TRY(text(o, "kind", true, &kind, where, e));
    f->use = !strcmp(kind, use_name[TN_COMPARE]);
    if (f->use == TN_CRITIQUE_REVISE && strcmp(kind, use_name[TN_CRITIQUE_REVISE]))
        return tn_fail(e, TN_FORMAT, "%s: \"kind\" is critique_revise or compare, not %s", where, kind);
    TN_TRY(only(o, f->use == TN_COMPARE ? compare_keys : revise_keys, where, e));
    TN_TRY(text(o, "principle", true, &principle, where, e));
    f->principle = tn_constitution_find(c, principle);
    if (f->principle < 0) return tn_fail(e, TN_FORMAT, "%s: there is no principle \"%s\"", where, principle);
    if (!c->principle[f->principle].use[f->use])
        return tn_fail(e, TN_FORMAT, "%s: principle \"%s\" is not one for %s", where, principle, kind);
    TN_TRY(conversation(o, f->use == TN_COMPARE ? "user" : "assistant", &f->conversation, where, e));
    if (f->use == TN_CRITIQUE_REVISE) {
        TN_TRY(text(o, "critique", true, &f->critique, where, e));
        return text(o, "revision", true, &f->revision, where, e);
    }
    TN_TRY(text(o, "option_a", true, &f->option[0], where, e));
    TN_TRY(text(o, "option_b", true, &f->option[1], where, e));
    TN_TRY(text(o, "reasoning", false, &f->reasoning, where, e));
    TN_TRY(text(o, "answer", true, &answer, where, e));
    f->answer = !strcmp(answer, "b");
    return f->answer || !strcmp(answer, "a") ? TN_OK : tn_fail(e, TN_FORMAT, "%s: \"answer\" is a or b, not %s", where, answer);
}

static tn_status read_few_shots(tn_constitution *c, const json_t *a, const char *path, tn_err *e) {
    size_t n = json_array_size(a);
    if (!a) return TN_OK;
    if (!json_is_array(a)) return tn_fail(e, TN_FORMAT, "%s: \"few_shots\" is to be a list", path);
    if (n > MAX_FEW_SHOTS) return tn_fail(e, TN_FORMAT, "%s: %zu few-shots; at most %d", path, n, MAX_FEW_SHOTS);
    c->few_shot = tn_calloc(n + 1, sizeof *c->few_shot);
    if (!c->few_shot) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char where[512];
        snprintf(where, sizeof where, "%s: few-shot %zu", path, i + 1);
        TN_TRY(read_few_shot(c, &c->few_shot[i], json_array_get(a, i), where, e));
        for (int k = 0; k < c->n_few_shot; k++)
            if (!strcmp(c->few_shot[k].id, c->few_shot[i].id))
                return tn_fail(e, TN_FORMAT, "%s: few-shot %d has the id %.80s already", where, k + 1, c->few_shot[i].id);
        c->n_few_shot++;
    }
    return TN_OK;
}

static tn_status read_labels(tn_constitution *c, json_t *doc, const char *path, tn_err *e) {
    static const char *const keys[] = {"critique_request", "critique", "revision_request", "revision", "principle", "options",
                                       "option_a", "option_b", "answer", "open", "close", "user", "assistant", NULL};
    json_t *l = json_object_get(doc, "labels"), *v;
    const char *k;
    if (!l && json_object_set_new(doc, "labels", l = json_object())) return tn_fail(e, TN_NOMEM, "out of memory");
    if (!json_is_object(l)) return tn_fail(e, TN_FORMAT, "%s: \"labels\" is to be an object of texts", path);
    TN_TRY(only(l, keys, path, e));
    json_object_foreach(l, k, v) {
        const char *s;
        TN_TRY(text(l, k, true, &s, path, e));
    }
    c->labels = l;
    const char *a = tn_constitution_label(c, "option_a", "(A)"), *b = tn_constitution_label(c, "option_b", "(B)");
    if (!strcmp(a, b)) return tn_fail(e, TN_FORMAT, "%s: labels option_a and option_b are both \"%s\"", path, a);
    return TN_OK;
}

const char *tn_constitution_label(const tn_constitution *c, const char *name, const char *def) {
    const char *s = json_string_value(json_object_get(c->labels, name));
    return s ? s : def;
}

/* ---- the file ---- */

static tn_status read_doc(tn_constitution *c, const char *path, tn_err *e) {
    static const char *const keys[] = {"constitution", "principles", "few_shots", "labels", NULL}, *const about[] = {"name", "version", "locale", NULL};
    const json_t *head = json_object_get(c->doc, "constitution");
    if (!json_is_object(c->doc)) return tn_fail(e, TN_FORMAT, "%s: a constitution is a JSON object with \"principles\"", path);
    TN_TRY(only(c->doc, keys, path, e));
    if (head && !json_is_object(head)) return tn_fail(e, TN_FORMAT, "%s: \"constitution\" is to be an object of name, version and locale", path);
    const char **to[] = {&c->name, &c->version, &c->locale};
    if (head) TN_TRY(only(head, about, path, e));
    for (int i = 0; i < 3; i++) {
        *to[i] = "";
        if (head) TN_TRY(tn_json_str(head, about[i], "", to[i], path, e));
    }
    TN_TRY(read_labels(c, c->doc, path, e));
    TN_TRY(read_principles(c, json_object_get(c->doc, "principles"), path, e));
    return read_few_shots(c, json_object_get(c->doc, "few_shots"), path, e);
}

/* Lines of JSONL as one document. */
static tn_status join_lines(json_t **doc, const char *path, tn_err *e) {
    tn_lines *in = NULL;
    json_t *row = NULL, *all = json_array(), *v;
    const char *k;
    tn_status st = tn_lines_open(&in, path, MAX_FILE, e);
    *doc = json_pack("{s:O}", "principles", all);
    if (st == TN_OK && !*doc) st = tn_fail(e, TN_NOMEM, "out of memory");
    while (st == TN_OK && (st = tn_jsonl_next(in, path, &row, e)) == TN_OK && row) {
        if (json_object_get(row, "id")) json_array_append(all, row);
        else json_object_foreach(row, k, v) {
            if (st == TN_OK && json_object_get(*doc, k))
                st = tn_fail(e, TN_FORMAT, "%s:%ld: \"%s\" a second time; a line without \"id\" holds constitution, few_shots or labels",
                             path, tn_lines_number(in), k);
            else if (st == TN_OK) json_object_set(*doc, k, v);
        }
        json_decref(row);
    }
    tn_lines_close(in);
    json_decref(all);
    return st;
}

static tn_status load(tn_constitution *c, const char *path, tn_err *e) {
    size_t n = strlen(path);
    tn_str bytes = TN_STR_INIT;
    tn_status st = tn_read_file(path, &bytes, MAX_FILE, e);
    if (st == TN_OK) c->hash = tn_hash64(bytes.s, bytes.len, 0);
    if (st == TN_OK && n > 6 && !strcmp(path + n - 6, ".jsonl")) st = join_lines(&c->doc, path, e);
    else if (st == TN_OK) st = tn_json_parse(bytes.s, bytes.len, path, &c->doc, e);
    tn_str_free(&bytes);
    return st == TN_OK ? read_doc(c, path, e) : st;
}

tn_status tn_constitution_load(tn_constitution **out, const char *path, tn_err *e) {
    tn_constitution *c = tn_calloc(1, sizeof *c);
    *out = NULL;
    if (!c) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_status st = load(c, path, e);
    if (st == TN_OK) *out = c;
    else tn_constitution_free(c);
    return st;
}

void tn_constitution_free(tn_constitution *c) {
    if (!c) return;
    tn_free(c->principle);
    tn_free(c->few_shot);
    json_decref(c->doc);
    tn_free(c);
}

/* ---- use ---- */

int tn_constitution_find(const tn_constitution *c, const char *id) {
    for (int i = 0; i < c->n_principle; i++)
        if (!strcmp(c->principle[i].id, id)) return i;
    return -1;
}

static bool applies(const tn_principle *p, const char *kind) {
    size_t i;
    json_t *v;
    if (!p->applies_to) return true;
    json_array_foreach((json_t *)p->applies_to, i, v)
        if (kind && !strcmp(json_string_value(v), kind)) return true;
    return false;
}

double tn_principle_weight(const tn_principle *p, tn_principle_use use, const char *kind) {
    if (!p->enabled || !p->use[use] || !applies(p, kind)) return 0;
    const json_t *own = kind ? json_object_get(p->weights, kind) : NULL;
    return own ? json_number_value(own) : p->weight;
}

tn_status tn_constitution_draw(const tn_constitution *c, tn_principle_use use, const char *kind, uint64_t seed, uint64_t index,
                               int *principle, tn_err *e) {
    double sum = 0, at = 0;
    for (int i = 0; i < c->n_principle; i++) sum += tn_principle_weight(&c->principle[i], use, kind);
    if (!(sum > 0))
        return tn_fail(e, TN_ARG, "no enabled principle for %s applies to prompts of kind \"%s\"; add one, or \"applies_to\" of one",
                       use_name[use], kind ? kind : "(none)");
    tn_rng r = tn_rng_stream(seed, TN_RNG_PRINCIPLE, index);
    double u = tn_rng_unit(&r) * sum;
    for (int i = 0; i < c->n_principle; i++) {
        double w = tn_principle_weight(&c->principle[i], use, kind);
        if (w > 0) *principle = i; /* the last one takes what rounding leaves */
        if (u < (at += w)) break;
    }
    return TN_OK;
}
