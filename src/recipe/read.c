/* A recipe's file: its keys, its stages, what they make. */
#include "recipe/internal.h"
#include <stdio.h>
#include <string.h>

static const char *const top_keys[] = {"name", "about", "vars", "options", "stages"};
static const char *const stage_keys[] = {"name", "about", "makes", "prints", "when"};
enum { TOP_KEYS = 5, STAGE_KEYS = 5, VERBS = 128 };

static bool is_one_of(const char *key, const char *const *names, int n) {
    while (n--)
        if (!strcmp(key, names[n])) return true;
    return false;
}

/* An optional text; "" when it is not there. */
static tn_status text_of(recipe_reader *x, const json_t *in, const char *key, const char **out, tn_err *e) {
    const json_t *v = json_object_get(in, key);
    *out = "";
    return v ? tn_recipe_expand(x, (recipe_place){in, key, 0}, v, out, e) : TN_OK;
}

static tn_status name_of(recipe_reader *x, const json_t *in, recipe_place self, const char *what, const char **name, tn_err *e) {
    TN_TRY(text_of(x, in, "name", name, e));
    if (!**name) return tn_recipe_fail(x, self, e, "%s needs a name", what);
    for (const char *s = *name; *s; s++) {
        bool word = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        if (!word && (s == *name || !strchr("-_.", *s)))
            return tn_recipe_fail(x, (recipe_place){in, "name", 0}, e, "'%.60s' cannot be a name: letters, digits, and - _ . after the first",
                                  *name);
    }
    if (strlen(*name) > 64) return tn_recipe_fail(x, (recipe_place){in, "name", 0}, e, "a name has at most 64 bytes");
    return TN_OK;
}

/* ---- what a stage makes ---- */

const char *tn_recipe_below(const tn_recipe *r, const char *path) {
    size_t n = strlen(r->out);
    if (strncmp(path, r->out, n) != 0 || (path[n] && path[n] != '/')) return NULL;
    path += n;
    return path + strspn(path, "/");
}

bool tn_recipe_within(const char *path, const char *product) {
    size_t n = strlen(product);
    return !strncmp(path, product, n) && (!path[n] || path[n] == '/');
}

static bool ends_in(const char *s, size_t n, const char *tail) {
    size_t m = strlen(tail);
    return n >= m && !memcmp(s + n - m, tail, m);
}

/* A path that stays below OUT, and is no name that runs (run.json, ...) or commits (NAME.tmp) use. */
static bool good_product(const char *s) {
    static const char *const taken[] = {"run.json", "timing.jsonl", "logs"};
    size_t first = strcspn(s, "/");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strlen(taken[i]) == first && !memcmp(s, taken[i], first)) return false;
    for (;;) {
        size_t n = strcspn(s, "/");
        if (n == 0 || s[0] == '.' || ends_in(s, n, ".tmp") || ends_in(s, n, ".old") || ends_in(s, n, ".part")) return false;
        if (!s[n]) return true;
        s += n + 1;
    }
}

static tn_status add_product(recipe_reader *x, tn_stage *s, recipe_place at, const char *product, tn_err *e) {
    if (!good_product(product))
        return tn_recipe_fail(x, at, e,
                              "'%.100s' is no product: a path below ${out}, without '..', not run.json, timing.jsonl or logs, no part "
                              "beginning with '.' or ending in .tmp, .old or .part",
                              product);
    for (const tn_stage *t = x->r->stage; t <= s && !x->skipped; t++)
        for (int i = 0; i < t->n_makes; i++)
            if (tn_recipe_within(product, t->makes[i]) || tn_recipe_within(t->makes[i], product))
                return tn_recipe_fail(x, at, e, "'%.100s' is made by stage '%s' already", product, t->name);
    if (++x->n_makes > TN_RECIPE_MAKES) return tn_recipe_fail(x, at, e, "more than %d products", TN_RECIPE_MAKES);
    s->makes[s->n_makes++] = product;
    return TN_OK;
}

static tn_status read_makes(recipe_reader *x, tn_stage *s, const json_t *in, tn_err *e) {
    const json_t *v = json_object_get(in, "makes"), *item;
    const char *text;
    size_t i, n = json_is_array(v) ? json_array_size(v) : 1;
    s->makes = tn_arena_zalloc(x->r->arena, n + 1, sizeof *s->makes);
    if (!s->makes) return tn_fail(e, TN_NOMEM, "%s: out of memory", x->r->path);
    json_array_foreach(v, i, item) {
        recipe_place at = {v, NULL, i};
        TN_TRY(tn_recipe_expand(x, at, item, &text, e));
        TN_TRY(add_product(x, s, at, text, e));
    }
    if (v && !json_is_array(v) && !json_is_null(v)) {
        TN_TRY(text_of(x, in, "makes", &text, e));
        TN_TRY(add_product(x, s, (recipe_place){in, "makes", 0}, text, e));
    }
    TN_TRY(text_of(x, in, "prints", &text, e));
    if (!*text) return TN_OK;
    s->prints = text;
    return add_product(x, s, (recipe_place){in, "prints", 0}, text, e);
}

/* ---- stages ---- */

/* Does it run? */
static tn_status read_when(recipe_reader *x, const json_t *in, bool *yes, tn_err *e) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    const json_t *v = json_object_get(in, "when");
    const char *text = "true";
    if (json_is_boolean(v)) text = json_is_true(v) ? "true" : "false";
    else if (v) TN_TRY(text_of(x, in, "when", &text, e));
    for (int i = 0; i < 8; i++)
        if (!strcmp(text, words[i])) {
            *yes = i & 1;
            return TN_OK;
        }
    return tn_recipe_fail(x, (recipe_place){in, "when", 0}, e, "'%.60s' is neither true nor false", text);
}

/* The verb that a key names in its first word. */
static tn_status find_verb(const recipe_reader *x, recipe_place at, const tn_verb **verb, tn_err *e) {
    const char *names[VERBS + STAGE_KEYS];
    char word[64], near[160];
    size_t n = 0;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(at.key, " "), at.key);
    for (const tn_verb *const *v = x->verbs; *v && n < VERBS; v++) {
        names[n++] = (*v)->name;
        if (!strcmp(word, "run")) return tn_recipe_fail(x, at, e, "a recipe cannot run another recipe");
        if (strcmp(word, (*v)->name) != 0) continue;
        *verb = *v;
        return TN_OK;
    }
    for (int i = 0; i < STAGE_KEYS; i++) names[n++] = stage_keys[i];
    tn_recipe_near(word, names, n, near, sizeof near);
    return tn_recipe_fail(x, at, e, "a stage has no key or verb '%s'%s (keys: name, about, makes, prints, when; 'tenet --help' lists the verbs)",
                          word, near);
}

/* The one key that is a verb's. */
static tn_status find_call(recipe_reader *x, tn_stage *s, const json_t *in, recipe_place self, const char **call, tn_err *e) {
    const char *key;
    json_t *v;
    *call = NULL;
    json_object_foreach((json_t *)(uintptr_t)in, key, v) {
        recipe_place at = {in, key, 0};
        const tn_verb *verb;
        if (is_one_of(key, stage_keys, STAGE_KEYS)) continue;
        TN_TRY(find_verb(x, at, &verb, e));
        if (*call) return tn_recipe_fail(x, at, e, "a stage is one command, and '%.60s' stands here already; make another stage", *call);
        *call = key;
        s->verb = verb;
    }
    return *call ? TN_OK : tn_recipe_fail(x, self, e, "stage '%s' has no verb, like 'sft: {model: DIR, ...}'", s->name);
}

static tn_status read_stage(recipe_reader *x, recipe_place self, json_t *in, tn_err *e) {
    tn_stage *s = &x->r->stage[x->r->n];
    const char *call;
    bool runs = true;
    *s = (tn_stage){0};
    if (!json_is_object(in)) return tn_recipe_fail(x, self, e, "a stage is 'name: value' lines");
    TN_TRY(name_of(x, in, self, "a stage", &s->name, e));
    for (int i = 0; i < x->r->n; i++)
        if (!strcmp(x->r->stage[i].name, s->name)) return tn_recipe_fail(x, (recipe_place){in, "name", 0}, e, "a second stage '%s'", s->name);
    TN_TRY(text_of(x, in, "about", &s->about, e));
    TN_TRY(read_when(x, in, &runs, e));
    x->skipped = !runs;
    TN_TRY(find_call(x, s, in, self, &call, e));
    TN_TRY(read_makes(x, s, in, e));
    TN_TRY(tn_recipe_read_command(x, s, (recipe_place){in, call, 0}, call, json_object_get(in, call), e));
    x->r->n += runs;
    return TN_OK;
}

static tn_status read_stages(recipe_reader *x, tn_err *e) {
    json_t *list = json_object_get(x->root, "stages"), *in;
    recipe_place at = {x->root, "stages", 0};
    size_t i, n = json_array_size(list);
    if (!n) return tn_recipe_fail(x, at, e, "stages is a list of at least one stage");
    if (n > TN_RECIPE_STAGES) return tn_recipe_fail(x, at, e, "more than %d stages", TN_RECIPE_STAGES);
    x->r->stage = tn_arena_zalloc(x->r->arena, n, sizeof *x->r->stage);
    if (!x->r->stage) return tn_fail(e, TN_NOMEM, "%s: out of memory", x->r->path);
    json_array_foreach(list, i, in) TN_TRY(read_stage(x, (recipe_place){list, NULL, i}, in, e));
    if (!x->r->n) return tn_recipe_fail(x, at, e, "no stage is to run: every 'when' is false");
    return tn_recipe_check_options(x, e);
}

/* ---- the file ---- */

static tn_status read_root(recipe_reader *x, tn_opt_list set, tn_err *e) {
    const char *key;
    char near[160];
    json_t *v;
    if (!json_is_object(x->root)) return tn_recipe_fail(x, (recipe_place){0}, e, "a recipe is 'name: value' lines: name, about, vars, options, stages");
    json_object_foreach(x->root, key, v) {
        if (is_one_of(key, top_keys, TOP_KEYS)) continue;
        tn_recipe_near(key, top_keys, TOP_KEYS, near, sizeof near);
        return tn_recipe_fail(x, (recipe_place){x->root, key, 0}, e, "a recipe has no key '%.60s'%s (name, about, vars, options, stages)", key, near);
    }
    TN_TRY(tn_recipe_read_vars(x, json_object_get(x->root, "vars"), set, e));
    TN_TRY(name_of(x, x->root, (recipe_place){0}, "a recipe", &x->r->name, e));
    TN_TRY(text_of(x, x->root, "about", &x->r->about, e));
    x->options = json_object_get(x->root, "options");
    if (x->options && !json_is_object(x->options))
        return tn_recipe_fail(x, (recipe_place){x->root, "options", 0}, e, "options are 'name: value' lines");
    return read_stages(x, e);
}

/* Names that a recipe borrows live in its arena. */
static tn_status new_recipe(tn_recipe **out, const char *path, const char *folder, tn_err *e) {
    tn_recipe *r = *out = tn_calloc(1, sizeof *r);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    if (n == 0) return tn_fail(e, TN_ARG, "--out is empty; say where the run goes");
    if (r) r->arena = tn_arena_new(1 << 14);
    if (r && r->arena) {
        r->path = tn_arena_strdup(r->arena, path);
        r->out = tn_arena_memdup0(r->arena, folder, n);
        r->vars = json_object();
    }
    return r && r->path && r->out && r->vars ? TN_OK : tn_fail(e, TN_NOMEM, "%s: out of memory", path);
}

tn_status tn_recipe_parse(tn_recipe **r, const char *text, size_t n, const char *path, const tn_verb *const *verbs, const char *out,
                          tn_opt_list set, tn_err *e) {
    recipe_reader x = {.verbs = verbs};
    tn_status st = new_recipe(r, path, out, e);
    x.r = *r;
    if (st == TN_OK) st = tn_yaml_parse_marked(text, n, path, &x.root, &x.marks, e);
    if (st == TN_OK) st = (x.used = json_object()) ? read_root(&x, set, e) : tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    json_decref(x.root);
    json_decref(x.marks);
    json_decref(x.used);
    if (st == TN_OK) return TN_OK;
    tn_recipe_free(*r);
    *r = NULL;
    return st;
}

tn_status tn_recipe_load(tn_recipe **r, const char *path, const tn_verb *const *verbs, const char *out, tn_opt_list set, tn_err *e) {
    tn_str text = TN_STR_INIT;
    *r = NULL;
    tn_status st = tn_read_file(path, &text, 16 << 20, e);
    if (st == TN_OK) st = tn_recipe_parse(r, text.s, text.len, path, verbs, out, set, e);
    tn_str_free(&text);
    return st;
}

void tn_recipe_free(tn_recipe *r) {
    if (!r) return;
    json_decref(r->vars);
    tn_arena_free(r->arena);
    tn_free(r);
}

tn_status tn_recipe_find(const tn_recipe *r, const char *stage, int *i, tn_err *e) {
    const char *names[TN_RECIPE_STAGES];
    char near[160];
    for (*i = 0; *i < r->n; ++*i) {
        names[*i] = r->stage[*i].name;
        if (!strcmp(names[*i], stage)) return TN_OK;
    }
    tn_recipe_near(stage, names, (size_t)r->n, near, sizeof near);
    return tn_fail(e, TN_ARG, "%s has no stage '%s'%s ('tenet run %s --list' lists them)", r->path, stage, near, r->path);
}
