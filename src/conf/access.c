/* Reading options: structs by offset, single values by name, the record. */
#include "base/log.h"
#include "conf/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A name that no table has is a mistake in the program: said on stderr, answered as "unset". */
static const opt_value *value_of(const tn_opts *o, const char *name, tn_opt_type type) {
    static const opt_value none = {.i = INT64_MIN, .r = NAN};
    const opt_value *v = tn_conf_find(o, name, strlen(name));
    bool text = type == TN_OPT_STRING && v && v->row->type == TN_OPT_CHOICE;
    if (v && (v->row->type == type || type == TN_OPT_END || text)) return v;
    tn_log_msg(TN_LOG_ERROR, "internal error: 'tenet %s' has no option '%s' of this type",
               o->verb->name, name);
    return &none;
}

const char *tn_opts_str(const tn_opts *o, const char *name) {
    return value_of(o, name, TN_OPT_STRING)->s;
}
int64_t tn_opts_int(const tn_opts *o, const char *name) { return value_of(o, name, TN_OPT_INT)->i; }
double tn_opts_real(const tn_opts *o, const char *name) {
    return value_of(o, name, TN_OPT_REAL)->r;
}
bool tn_opts_bool(const tn_opts *o, const char *name) { return value_of(o, name, TN_OPT_BOOL)->b; }
tn_opt_list tn_opts_list(const tn_opts *o, const char *name) {
    return value_of(o, name, TN_OPT_LIST)->list;
}
bool tn_opts_given(const tn_opts *o, const char *name) {
    return value_of(o, name, TN_OPT_END)->given;
}
bool tn_opts_has(const tn_opts *o, const char *name) {
    return tn_conf_find(o, name, strlen(name)) != NULL;
}
int tn_opts_npos(const tn_opts *o) { return o->npos; }
const char *tn_opts_pos(const tn_opts *o, int i) {
    return i >= 0 && i < o->npos ? o->pos[i] : NULL;
}

void tn_opts_bind(const tn_opts *o, const tn_opt_row *rows, void *dst) {
    for (const tn_opt_row *r = rows; r->type != TN_OPT_END; r++) {
        if (r->offset == TN_OPT_NOFIELD) continue;
        const opt_value *v = value_of(o, r->name, r->type);
        void *field = (char *)dst + r->offset;
        switch (r->type) {
        case TN_OPT_INT: memcpy(field, &v->i, sizeof v->i); break;
        case TN_OPT_REAL: memcpy(field, &v->r, sizeof v->r); break;
        case TN_OPT_BOOL: memcpy(field, &v->b, sizeof v->b); break;
        case TN_OPT_LIST: memcpy(field, &v->list, sizeof v->list); break;
        default: memcpy(field, &v->s, sizeof v->s); break;
        }
    }
}

static json_t *list_record(const tn_opt_list *l) {
    json_t *a = json_array();
    for (int i = 0; a && i < l->n; i++)
        if (json_array_append_new(a, json_string(l->v[i])) < 0) {
            json_decref(a);
            return NULL;
        }
    return a;
}

json_t *tn_opts_record(const tn_opts *o) {
    json_t *rec = json_object();
    for (int i = 0; rec && i < o->n; i++) {
        const opt_value *v = &o->v[i];
        json_t *x = NULL;
        if (!strcmp(v->row->name, "config")) continue; /* its contents are in the other rows */
        if (v->set) switch (v->row->type) {
            case TN_OPT_INT: x = json_integer(v->i); break;
            case TN_OPT_REAL: x = json_real(v->r); break;
            case TN_OPT_BOOL: x = json_boolean(v->b); break;
            case TN_OPT_LIST: x = list_record(&v->list); break;
            default: x = json_string(v->s); break;
        }
        bool lost = v->set && !x;
        if (json_object_set_new(rec, v->row->name, x ? x : json_null()) < 0 || lost) {
            json_decref(rec);
            return NULL;
        }
    }
    return rec;
}

tn_status tn_opts_size(const char *name, const char *text, size_t *bytes, tn_err *e) {
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"KB", 1e3},    {"MB", 1e6},       {"GB", 1e9},           {"TB", 1e12}, {"", 1},
                 {"KiB", 1024.}, {"MiB", 1048576.}, {"GiB", 1073741824.}};
    char *end;
    double v = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (end != text && !strcasecmp(end, units[i].unit) && v * units[i].bytes >= 1 &&
            v * units[i].bytes < 1e15) {
            *bytes = (size_t)(v * units[i].bytes);
            return TN_OK;
        }
    return tn_fail(e, TN_ARG,
                   "--%s \"%s\": a number with KB, MB, GB or KiB, MiB, GiB is expected, like 5GB", name,
                   text);
}
