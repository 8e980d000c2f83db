/* Options of a verb from defaults, a recipe and the command line, in this order. */
#include "base/log.h"
#include "conf/internal.h"
#include <math.h>
#include <string.h>

static const char *const COMMAND_LINE = "on the command line";

/* ---- names ---- */

opt_value *tn_conf_find(const tn_opts *o, const char *name, size_t n) {
    for (int i = 0; i < o->n; i++)
        if (tn_conf_called(o->v[i].row, name, n)) return &o->v[i];
    return NULL;
}

tn_status tn_conf_unknown(const tn_opts *o, const char *name, size_t n, const char *where,
                          tn_err *e) {
    const char *names[512];
    char text[64];
    size_t k = 0;
    for (int i = 0; i < o->n && k < 512; i++) names[k++] = o->v[i].row->name;
    const char *near, *dashes = n > 2 && !memcmp(name, "--", 2) ? "--" : "";
    size_t skip = strlen(dashes);
    snprintf(text, sizeof text, "%.*s", (int)(n - skip), name + skip);
    near = tn_nearest(text, names, k);
    return tn_fail(e, TN_ARG,
                   "unknown option '%s%s' %s%s%s%s%s ('tenet %s --help' lists the options)", dashes,
                   text, where, near ? "; did you mean '" : "", near ? dashes : "",
                   near ? near : "", near ? "'?" : "", o->verb->name);
}

/* ---- life ---- */

static tn_status add_row(tn_opts *o, const tn_opt_row *r, tn_err *e) {
    opt_value *v = &o->v[o->n++];
    *v = (opt_value){.row = r, .i = INT64_MIN, .r = NAN};
    if (!r->def || (r->type == TN_OPT_LIST && !*r->def)) return TN_OK;
    return tn_conf_set_text(o, v, r->def, "the default", e) == TN_OK
               ? TN_OK
               : tn_err_context(e, TN_BUG, "option table");
}

static tn_status opts_new(const tn_verb *verb, tn_opts **out, tn_err *e) {
    tn_opts *o = tn_calloc(1, sizeof *o);
    const tn_opt_row **rows = NULL;
    size_t most = (size_t)tn_conf_most_rows(verb);
    *out = NULL;
    if (o) o->arena = tn_arena_new(1 << 14);
    if (o && o->arena) o->v = tn_arena_zalloc(o->arena, most, sizeof *o->v);
    if (o && o->v) rows = tn_arena_zalloc(o->arena, most, sizeof *rows);
    tn_status st = rows ? TN_OK : tn_fail(e, TN_NOMEM, "no memory for options");
    if (st == TN_OK) o->verb = verb;
    for (int i = 0, n = rows ? tn_conf_rows(verb, rows) : 0; st == TN_OK && i < n; i++) st = add_row(o, rows[i], e);
    if (st == TN_OK) *out = o;
    else tn_opts_free(o);
    return st;
}

void tn_opts_free(tn_opts *o) {
    if (!o) return;
    tn_arena_free(o->arena);
    tn_free(o);
}

static void tell_ignored(const tn_opts *o) {
    tn_str names = TN_STR_INIT;
    if (!o->n_ignored) return;
    for (int i = 0; i < o->n_ignored; i++) {
        size_t n = strlen(o->ignored[i]);
        tn_str_addf(&names, "%s%.*s", i ? ", " : "", (int)(n - (o->ignored[i][n - 1] == '=')),
                    o->ignored[i]);
    }
    tn_info("without meaning here, ignored: %s", names.s);
    tn_str_free(&names);
}

/* ---- recipes ---- */

static tn_status apply_json(tn_opts *o, const json_t *obj, const char *where, tn_err *e) {
    const char *key;
    json_t *x;
    bool value;
    if (!json_is_object(obj))
        return tn_fail(e, TN_FORMAT, "%s: expected 'name: value' lines at the top", where);
    json_object_foreach((json_t *)(uintptr_t)obj, key, x) {
        size_t n = strlen(key);
        opt_value *v = tn_conf_find(o, key, n);
        if (v && !strcmp(v->row->name, "config"))
            return tn_fail(e, TN_ARG, "%s: a recipe cannot name another recipe ('config')", where);
        const char *skip = v ? NULL : tn_conf_ignored(key, n, &value);
        if (skip) {
            TN_TRY(tn_conf_note_ignored(o, skip, e));
            continue;
        }
        if (!v) {
            char in[300];
            snprintf(in, sizeof in, "in %s", where);
            return tn_conf_unknown(o, key, n, in, e);
        }
        TN_TRY(tn_conf_set_json(o, v, x, where, e));
        if (!json_is_null(x)) v->given = true;
    }
    return TN_OK;
}

tn_status tn_opts_from_json(const tn_verb *verb, const json_t *obj, const char *where,
                            tn_opts **out, tn_err *e) {
    tn_opts *o;
    *out = NULL;
    TN_TRY(opts_new(verb, &o, e));
    tn_status st = apply_json(o, obj, where, e);
    if (st != TN_OK) {
        tn_opts_free(o);
        return st;
    }
    tell_ignored(o);
    *out = o;
    return TN_OK;
}

static tn_status apply_recipe(tn_opts *o, const char *path, tn_err *e) {
    json_t *root;
    TN_TRY(tn_yaml_load(path, &root, e));
    tn_status st = json_is_null(root) ? TN_OK : apply_json(o, root, path, e);
    json_decref(root);
    return st;
}

/* ---- command line ---- */

typedef struct cursor {
    int argc, i;
    char **argv;
} cursor;

static bool is_flag(const char *s) { return s[0] == '-' && s[1] == '-'; }

static const char *next_value(cursor *c) {
    if (c->i + 1 >= c->argc || is_flag(c->argv[c->i + 1])) return NULL;
    return c->argv[++c->i];
}

/* Values of an ignored option: skipped. A verb with positional arguments loses only one. */
static void skip_values(const tn_opts *o, cursor *c, bool takes_value) {
    if (!takes_value) {
        if (c->i + 1 < c->argc && tn_conf_bool_word(c->argv[c->i + 1]) >= 0) c->i++;
        return;
    }
    do if (!next_value(c)) return;
    while (!o->verb->positional);
}

static tn_status parse_list(tn_opts *o, opt_value *v, cursor *c, const char *inline_value,
                            tn_err *e) {
    bool append = v->given; /* the command line's first mention replaces defaults and recipe */
    v->given = true;
    if (inline_value) return tn_conf_set_list(o, v, &inline_value, 1, append, e);
    int first = c->i + 1;
    while (next_value(c)) {}
    if (c->i < first) return tn_fail(e, TN_ARG, "--%s needs at least one value", v->row->name);
    return tn_conf_set_list(o, v, (const char *const *)c->argv + first, c->i - first + 1, append,
                            e);
}

static tn_status parse_bool(opt_value *v, cursor *c, const char *inline_value, bool negated,
                            tn_err *e) {
    int b = 1;
    if (inline_value) {
        b = tn_conf_bool_word(inline_value);
        if (b < 0)
            return tn_fail(e, TN_ARG, "--%s must be true or false, found '%s'", v->row->name,
                           inline_value);
    } else if (!negated && c->i + 1 < c->argc && tn_conf_bool_word(c->argv[c->i + 1]) >= 0) {
        b = tn_conf_bool_word(c->argv[++c->i]);
    }
    v->b = negated ? !b : b;
    v->set = v->given = true;
    return TN_OK;
}

static tn_status parse_flag(tn_opts *o, cursor *c, tn_err *e) {
    const char *name = c->argv[c->i] + 2, *eq = strchr(name, '='),
               *inline_value = eq ? eq + 1 : NULL;
    size_t n = eq ? (size_t)(eq - name) : strlen(name);
    bool negated = false, value;
    opt_value *v = tn_conf_find(o, name, n);
    if (!v && n > 3 && (!memcmp(name, "no-", 3) || !memcmp(name, "no_", 3))) {
        v = tn_conf_find(o, name + 3, n - 3);
        if (v && v->row->type != TN_OPT_BOOL) v = NULL;
        negated = v != NULL;
    }
    if (!v) {
        const char *skip = tn_conf_ignored(name, n, &value);
        if (!skip && n > 3 && !memcmp(name, "no", 2))
            skip = tn_conf_ignored(name + 3, n - 3, &value);
        if (!skip) return tn_conf_unknown(o, c->argv[c->i], n + 2, COMMAND_LINE, e);
        if (!inline_value) skip_values(o, c, value);
        return tn_conf_note_ignored(o, skip, e);
    }
    if (v->row->type == TN_OPT_LIST) return parse_list(o, v, c, inline_value, e);
    if (v->row->type == TN_OPT_BOOL) return parse_bool(v, c, inline_value, negated, e);
    const char *text = inline_value ? inline_value : next_value(c);
    if (!text)
        return tn_fail(e, TN_ARG, "--%s needs a value%s%s", v->row->name,
                       v->row->metavar ? ": --" : "", v->row->metavar ? v->row->name : "");
    v->given = true;
    return tn_conf_set_text(o, v, text, COMMAND_LINE, e);
}

/* How many positional arguments the verb takes; names in brackets are optional, "..." repeats. */
static void positional_limits(const char *s, int *least, int *most) {
    *least = *most = 0;
    while (s && *s) {
        size_t n = strcspn(s, " ");
        if (s[0] != '[') ++*least;
        ++*most;
        if (n >= 3 && (!strncmp(s + n - 3, "...", 3) || strstr(s, "...]") == s + n - 4))
            *most = 1 << 20;
        s += n;
        s += strspn(s, " ");
    }
}

static tn_status check_positional(const tn_opts *o, tn_err *e) {
    int least, most;
    positional_limits(o->verb->positional, &least, &most);
    if (o->npos > most) {
        if (!most)
            return tn_fail(
                e, TN_ARG,
                "unexpected argument '%s': 'tenet %s' takes options only, as --name value",
                o->pos[0], o->verb->name);
        return tn_fail(e, TN_ARG, "unexpected argument '%s' after %s", o->pos[most],
                       o->verb->positional);
    }
    if (o->npos < least)
        return tn_fail(e, TN_ARG, "missing argument: tenet %s %s", o->verb->name,
                       o->verb->positional);
    return TN_OK;
}

static tn_status parse_args(tn_opts *o, int argc, char **argv, bool *help, tn_err *e) {
    cursor c = {argc, 0, argv};
    for (; c.i < argc; c.i++) {
        const char *a = argv[c.i];
        if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
            *help = true;
            return TN_OK;
        }
        if (!strcmp(a, "--")) {
            while (++c.i < argc) o->pos[o->npos++] = argv[c.i];
            break;
        }
        if (is_flag(a)) TN_TRY(parse_flag(o, &c, e));
        else if (a[0] == '-' && a[1])
            return tn_fail(e, TN_ARG, "unknown option '%s': options start with two dashes", a);
        else o->pos[o->npos++] = a;
    }
    return TN_OK;
}

/* The recipe that a command line names, by a plain scan: its values must be in place before the
 * command line's, wherever --config stands. */
static const char *find_recipe(int argc, char **argv) {
    const char *path = NULL;
    for (int i = 0; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strcmp(argv[i], "--config") && i + 1 < argc) path = argv[++i];
        else if (!strncmp(argv[i], "--config=", 9)) path = argv[i] + 9;
    }
    return path;
}

/* "Given" in a list means "by the command line" while it is read, so that its first mention
 * replaces the recipe's list; afterwards both count. */
static tn_status parse_all(tn_opts *o, int argc, char **argv, bool *help, tn_err *e) {
    const char *recipe = find_recipe(argc, argv);
    bool *before = tn_arena_zalloc(o->arena, (size_t)o->n, sizeof *before);
    o->pos = tn_arena_zalloc(o->arena, (size_t)argc + 1, sizeof *o->pos);
    if (!before || !o->pos) return tn_fail(e, TN_NOMEM, "no memory for options");
    for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help")) *help = true;
    if (*help) return TN_OK;
    if (recipe) TN_TRY(apply_recipe(o, recipe, e));
    for (int i = 0; i < o->n; i++) {
        before[i] = o->v[i].given;
        o->v[i].given = false;
    }
    TN_TRY(parse_args(o, argc, argv, help, e));
    for (int i = 0; i < o->n; i++) o->v[i].given |= before[i];
    return *help ? TN_OK : check_positional(o, e);
}

tn_status tn_opts_parse(const tn_verb *verb, int argc, char **argv, tn_opts **out, bool *help,
                        tn_err *e) {
    tn_opts *o;
    *out = NULL;
    *help = false;
    TN_TRY(opts_new(verb, &o, e));
    tn_status st = parse_all(o, argc, argv, help, e);
    if (st != TN_OK || *help) {
        tn_opts_free(o);
        return st;
    }
    tell_ignored(o);
    *out = o;
    return TN_OK;
}
