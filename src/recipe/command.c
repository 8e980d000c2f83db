/* A stage's command: options as the verb's table understands them, written back as words; and the paths among them. */
#include "recipe/internal.h"
#include "base/proc.h"
#include <stdio.h>
#include <string.h>

enum { NAMES = 2048 };

typedef struct builder {
    recipe_reader *x;
    tn_stage *s;
    const char **word, **read;
    size_t n_word, cap_word, n_read, cap_read;
} builder;

static tn_status no_memory(const builder *b, tn_err *e) { return tn_fail(e, TN_NOMEM, "%s: out of memory", b->x->r->path); }

static tn_status keep(builder *b, const char ***v, size_t *n, size_t *cap, const char *text, tn_err *e) {
    const char *copy = tn_arena_strdup(b->x->r->arena, text);
    if (!copy || !tn_grow_((void **)v, cap, *n + 1, sizeof **v)) return no_memory(b, e);
    (*v)[(*n)++] = copy;
    return TN_OK;
}

static tn_status add_word(builder *b, const char *text, tn_err *e) { return keep(b, &b->word, &b->n_word, &b->cap_word, text, e); }

static tn_status add_read(builder *b, const char *path, tn_err *e) {
    for (size_t i = 0; i < b->n_read; i++)
        if (!strcmp(b->read[i], path)) return TN_OK;
    return keep(b, &b->read, &b->n_read, &b->cap_read, path, e);
}

/* ---- paths ---- */

typedef struct path_kind {
    bool path, only; /* may a value be a path; can it be nothing else */
    bool named;      /* NAME=PATH */
} path_kind;

/* Metavariables say what a value is (conf/complete.c): FILE, DIR, SOURCE, NAME=DIR, NAME|FILE, [DIR]... */
static path_kind kind_of(const char *metavar, size_t n) {
    path_kind k = {.only = true};
    const char *eq = memchr(metavar, '=', n), *end = metavar + n;
    k.named = eq != NULL;
    for (const char *s = eq ? eq + 1 : metavar; s < end;) {
        s += strspn(s, "[");
        size_t len = strcspn(s, "|]. ");
        if (s + len > end) len = (size_t)(end - s);
        bool path = (len == 3 && !memcmp(s, "DIR", 3)) || (len == 4 && !memcmp(s, "FILE", 4)) || (len == 6 && !memcmp(s, "SOURCE", 6));
        k.path |= path;
        k.only &= path;
        s += len;
        s += strspn(s, "|]. ");
    }
    return k;
}

/* A path below OUT: the stage's own, or made by one before it. */
static tn_status check_below(builder *b, recipe_place at, const char *path, const char *rest, tn_err *e) {
    const tn_recipe *r = b->x->r;
    const char *names[NAMES];
    char near[160];
    size_t n = 0;
    if (strstr(rest, "..")) return tn_recipe_fail(b->x, at, e, "'%.200s' leaves ${out} or might", path);
    for (int k = 0; k < b->s->n_makes; k++)
        if (tn_recipe_within(rest, b->s->makes[k])) return TN_OK;
    for (const tn_stage *t = r->stage; t < r->stage + r->n; t++)
        for (int k = 0; k < t->n_makes; k++) {
            if (n < NAMES) names[n++] = t->makes[k];
            if (tn_recipe_within(rest, t->makes[k])) return add_read(b, path, e);
        }
    tn_recipe_near(rest, names, n, near, sizeof near);
    return tn_recipe_fail(b->x, at, e, "nothing makes ${out}/%.200s: it is in no 'makes' of this stage or of one before it%s", rest, near);
}

/* A value on its way to the command: paths are checked, those that come with the program found, inputs noted. */
static tn_status add_value(builder *b, recipe_place at, const char *metavar, size_t n, const char *before, const char *text, tn_err *e) {
    path_kind k = kind_of(metavar, n);
    const char *eq = strchr(text, '='), *path = text, *rest;
    tn_str found = TN_STR_INIT, word = TN_STR_INIT;
    tn_status st = TN_OK;
    if (eq && (k.named || tn_recipe_below(b->x->r, eq + 1))) path = eq + 1;
    tn_str_addz(&found, path);
    if (b->x->skipped) st = TN_OK;
    else if ((rest = tn_recipe_below(b->x->r, path))) st = check_below(b, at, path, rest, e);
    else if (k.path && strcmp(path, "-") != 0) {
        tn_shipped_path(path, &found);
        if (tn_exists(found.s)) st = add_read(b, found.s, e);
        else if (k.only)
            st = tn_recipe_fail(b->x, at, e, "'%.200s' is not there; inputs must be, and what a stage makes goes below ${out}", path);
    }
    tn_str_addz(&word, before);
    tn_str_add(&word, text, (size_t)(path - text));
    tn_str_addz(&word, found.s);
    if (st == TN_OK) st = found.oom || word.oom ? no_memory(b, e) : add_word(b, word.s, e);
    tn_str_free(&found);
    tn_str_free(&word);
    return st;
}

/* ---- options ---- */

/* A JSON value with its variables in place. */
static tn_status expand(builder *b, recipe_place at, json_t *v, json_t **out, tn_err *e) {
    const char *text;
    json_t *item;
    size_t i;
    *out = NULL;
    if (json_is_string(v)) {
        TN_TRY(tn_recipe_expand(b->x, at, v, &text, e));
        *out = json_string(text);
    } else if (json_is_array(v)) {
        json_t *list = *out = json_array();
        json_array_foreach(v, i, item) {
            json_t *one;
            TN_TRY(expand(b, (recipe_place){v, NULL, i}, item, &one, e));
            if (json_array_append_new(list, one) < 0) return no_memory(b, e);
        }
    } else *out = json_incref(v);
    return *out ? TN_OK : no_memory(b, e);
}

/* --NAME and a value as text; --NAME=VALUE when it looks like an option. */
static tn_status add_text(builder *b, recipe_place at, const tn_opt_row *row, const char *value, tn_err *e) {
    const char *metavar = row->metavar ? row->metavar : "";
    char flag[140];
    bool dashes = value[0] == '-' && value[1] == '-';
    snprintf(flag, sizeof flag, "--%.128s%s", row->name, dashes ? "=" : "");
    if (!dashes) TN_TRY(add_word(b, flag, e));
    return add_value(b, at, metavar, strlen(metavar), dashes ? flag : "", value, e);
}

static tn_status add_list(builder *b, recipe_place at, const tn_opt_row *row, tn_opt_list list, tn_err *e) {
    const char *metavar = row->metavar ? row->metavar : "";
    for (int i = 0; i < list.n; i++) {
        bool dashes = list.v[i][0] == '-' && list.v[i][1] == '-', again = i && !(list.v[i - 1][0] == '-' && list.v[i - 1][1] == '-');
        if (dashes || !again) TN_TRY(add_text(b, at, row, list.v[i], e));
        else TN_TRY(add_value(b, at, metavar, strlen(metavar), "", list.v[i], e));
    }
    return TN_OK;
}

/* As the verb has read it. */
static tn_status add_read_option(builder *b, recipe_place at, const tn_opt_row *row, const tn_opts *o, tn_err *e) {
    char flag[140];
    tn_str t = TN_STR_INIT;
    if (row->type == TN_OPT_BOOL) {
        snprintf(flag, sizeof flag, "--%s%.128s", tn_opts_bool(o, row->name) ? "" : "no-", row->name);
        return add_word(b, flag, e);
    }
    if (row->type == TN_OPT_LIST) return add_list(b, at, row, tn_opts_list(o, row->name), e);
    if (row->type == TN_OPT_INT) tn_str_addf(&t, "%lld", (long long)tn_opts_int(o, row->name));
    else if (row->type == TN_OPT_REAL) tn_str_add_f64(&t, tn_opts_real(o, row->name));
    else tn_str_addz(&t, tn_opts_str(o, row->name));
    tn_status st = t.oom ? no_memory(b, e) : add_text(b, at, row, t.s, e);
    tn_str_free(&t);
    return st;
}

static tn_status add_option(builder *b, recipe_place at, json_t *value, tn_err *e) {
    const tn_opt_row *row = tn_verb_option(b->s->verb, at.key, strlen(at.key));
    char where[300];
    json_t *v, *one;
    tn_opts *o = NULL;
    if (json_is_null(value)) return row ? TN_OK : tn_recipe_fail(b->x, at, e, "'tenet %s' has no option '%.60s'", b->s->verb->name, at.key);
    tn_recipe_where(b->x, at, where, sizeof where);
    tn_status st = expand(b, at, value, &v, e);
    one = json_object();
    if (st == TN_OK && (!one || json_object_set(one, at.key, v) < 0)) st = no_memory(b, e);
    if (st == TN_OK) st = tn_opts_from_json(b->s->verb, one, where, &o, e);
    if (st == TN_OK && row) st = add_read_option(b, at, row, o, e); /* without a row: TRL's, of no meaning here */
    tn_opts_free(o);
    json_decref(v);
    json_decref(one);
    return st;
}

/* Does the stage itself say something of the option, under any of its names? */
static bool gives(const tn_verb *v, json_t *options, const tn_opt_row *row) {
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value)
        if (tn_verb_option(v, key, strlen(key)) == row) return true;
    return false;
}

static tn_status add_options(builder *b, json_t *own, tn_err *e) {
    const tn_verb *verb = b->s->verb;
    const char *key;
    json_t *value;
    json_object_foreach(own, key, value) {
        const tn_opt_row *row = tn_verb_option(verb, key, strlen(key));
        const char *other;
        json_t *v;
        json_object_foreach(own, other, v)
            if (row && other != key && tn_verb_option(verb, other, strlen(other)) == row)
                return tn_recipe_fail(b->x, (recipe_place){own, other, 0}, e, "'%.60s' and '%.60s' are one option, given twice", key, other);
        TN_TRY(add_option(b, (recipe_place){own, key, 0}, value, e));
    }
    json_object_foreach(b->x->options, key, value) {
        const tn_opt_row *row = tn_verb_option(verb, key, strlen(key));
        if (!row) continue;
        if (json_object_set_new(b->x->used, key, json_true()) < 0) return no_memory(b, e);
        if (!gives(verb, own, row)) TN_TRY(add_option(b, (recipe_place){b->x->options, key, 0}, value, e));
    }
    /* a fresh folder has no checkpoint: then this says nothing */
    const tn_opt_row *resume = tn_verb_option(verb, "resume-from-checkpoint", 22);
    if (!resume || verb->goes_on || gives(verb, own, resume)) return TN_OK;
    TN_TRY(add_word(b, "--resume-from-checkpoint", e));
    return add_word(b, "latest", e);
}

/* ---- the whole ---- */

/* Is `word` in "a|b|c"? */
static tn_status check_first(builder *b, recipe_place at, const char *word, tn_err *e) {
    const char *s = b->s->verb->words;
    char list[512], near[160];
    const char *names[64];
    size_t n = 0;
    if (!s) return TN_OK;
    snprintf(list, sizeof list, "%s", s);
    for (char *p = list; *p && n < 64;) {
        names[n++] = p;
        p += strcspn(p, "|");
        if (*p) *p++ = 0;
        if (!strcmp(names[n - 1], word)) return TN_OK;
    }
    tn_recipe_near(word, names, n, near, sizeof near);
    return tn_recipe_fail(b->x, at, e, "'tenet %s' knows no '%.60s'%s", b->s->verb->name, word, near);
}

/* The words of "VERB [ARGUMENT]...", each with its variables in place. */
static tn_status add_call(builder *b, recipe_place at, const char *call, tn_err *e) {
    const char *metavar = b->s->verb->positional ? b->s->verb->positional : "", *text;
    TN_TRY(add_word(b, b->s->verb->name, e));
    call += strcspn(call, " ");
    for (int i = 0; *(call += strspn(call, " ")); i++) {
        size_t n = strcspn(call, " "), m = strcspn(metavar, " ");
        json_t *word = json_stringn(call, n);
        tn_status st = word ? tn_recipe_expand(b->x, at, word, &text, e) : no_memory(b, e);
        json_decref(word);
        TN_TRY(st);
        if (*text == '-' && text[1]) return tn_recipe_fail(b->x, at, e, "'%.60s': options go below the verb, as 'name: value'", text);
        if (i == 0) TN_TRY(check_first(b, at, text, e));
        TN_TRY(add_value(b, at, metavar, m, "", text, e));
        call += n;
        if (metavar[m]) metavar += m + 1;
    }
    return TN_OK;
}

/* The verb itself reads the command; what it has to say is of the call as a whole. */
static tn_status check_call(builder *b, recipe_place at, tn_err *e) {
    char where[300];
    tn_opts *o;
    bool help;
    tn_status st = tn_opts_parse(b->s->verb, b->s->argc - 1, b->s->argv + 1, &o, &help, e);
    tn_opts_free(o);
    tn_recipe_where(b->x, at, where, sizeof where);
    return st == TN_OK ? TN_OK : tn_err_context(e, st, "%s", where);
}

tn_status tn_recipe_read_command(recipe_reader *x, tn_stage *s, recipe_place at, const char *call, json_t *options, tn_err *e) {
    builder b = {.x = x, .s = s};
    tn_status st = json_is_object(options) || json_is_null(options)
                       ? add_call(&b, at, call, e)
                       : tn_recipe_fail(x, at, e, "the options of '%.60s' are 'name: value' lines below it", call);
    if (st == TN_OK) st = add_options(&b, options, e);
    s->argc = (int)b.n_word, s->n_reads = (int)b.n_read;
    s->argv = tn_arena_zalloc(x->r->arena, b.n_word + 1, sizeof *s->argv);
    s->reads = tn_arena_zalloc(x->r->arena, b.n_read + 1, sizeof *s->reads);
    if (st == TN_OK && (!s->argv || !s->reads)) st = no_memory(&b, e);
    if (st == TN_OK && b.n_word) memcpy(s->argv, b.word, b.n_word * sizeof *b.word);
    if (st == TN_OK && b.n_read) memcpy(s->reads, b.read, b.n_read * sizeof *b.read);
    tn_free(b.word);
    tn_free(b.read);
    return st == TN_OK ? check_call(&b, at, e) : st;
}

tn_status tn_recipe_check_options(recipe_reader *x, tn_err *e) {
    const char *names[NAMES], *key;
    char near[160];
    json_t *v;
    json_object_foreach(x->options, key, v) {
        size_t n = 0;
        if (json_object_get(x->used, key)) continue;
        for (int i = 0; i < x->r->n; i++)
            for (const tn_opt_row *const *t = x->r->stage[i].verb->tables; t && *t; t++)
                for (const tn_opt_row *row = *t; row->type != TN_OPT_END && n < NAMES; row++) names[n++] = row->name;
        tn_recipe_near(key, names, n, near, sizeof near);
        return tn_recipe_fail(x, (recipe_place){x->options, key, 0}, e, "no stage's verb has an option '%.60s'%s", key, near);
    }
    return TN_OK;
}

void tn_stage_command(const tn_stage *s, tn_str *out) {
    tn_str_addz(out, "tenet");
    for (int i = 0; i < s->argc; i++) {
        const char *w = s->argv[i];
        bool plain = *w && strspn(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+%@") == strlen(w);
        tn_str_addz(out, plain ? " " : " '");
        for (; *w; w++) /* 'it'\''s' */
            if (*w == '\'') tn_str_addz(out, "'\\''");
            else tn_str_addc(out, *w);
        if (!plain) tn_str_addc(out, '\'');
    }
}
