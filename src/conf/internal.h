/* Inside of tn_opts, shared by the files of src/conf. */
#ifndef TN_CONF_INTERNAL_H
#define TN_CONF_INTERNAL_H
#include "conf/conf.h"

typedef struct opt_value {
    const tn_opt_row *row;
    bool set, given;     /* has a value (by default or by the user); by the user */
    int64_t i;
    double r;
    bool b;
    const char *s;
    tn_opt_list list;
} opt_value;

struct tn_opts {
    const tn_verb *verb;
    tn_arena *arena;     /* every string and list */
    opt_value *v;        /* one for each distinct name of the verb's tables */
    int n;
    const char **pos;
    int npos;
    const char **ignored; /* names as the user wrote them */
    int n_ignored;
};

/* Options of a verb in the order of its tables, each name once, --config last; NULL after them. */
const tn_opt_row *tn_conf_row(const tn_verb *v, int i);
/* All of them at once: into out[], which has room for tn_conf_most_rows; how many. */
int tn_conf_most_rows(const tn_verb *v);
int tn_conf_rows(const tn_verb *v, const tn_opt_row **out);
/* Is `name` (n bytes) the option's name or a synonym of it? '-' and '_' are the same. */
bool tn_conf_called(const tn_opt_row *r, const char *name, size_t n);
/* Next of the names that `sep` separates, from *s on; NULL at the end. */
const char *tn_conf_word(const char **s, char sep, size_t *n);
/* What people read of an option: "--x N", and its text with choices, default and synonyms. */
void tn_conf_row_head(const tn_opt_row *r, tn_str *out);
void tn_conf_row_text(const tn_opt_row *r, tn_str *out);
/* The value that a name or synonym of n bytes stands for, or NULL. */
opt_value *tn_conf_find(const tn_opts *o, const char *name, size_t n);
/* NULL when not ignored; *takes_value: the option is followed by one. */
const char *tn_conf_ignored(const char *name, size_t n, bool *takes_value);
/* Appends `name` to o->ignored unless it is there. */
tn_status tn_conf_note_ignored(tn_opts *o, const char *name, tn_err *e);

/* `where` names the source for messages: "the command line", "recipe.yaml", "the default". */
tn_status tn_conf_set_text(tn_opts *o, opt_value *v, const char *text, const char *where,
                           tn_err *e);
tn_status tn_conf_set_json(tn_opts *o, opt_value *v, const json_t *x, const char *where, tn_err *e);
tn_status tn_conf_set_list(tn_opts *o, opt_value *v, const char *const *items, int n, bool append,
                           tn_err *e);
/* -1: neither a yes nor a no. */
int tn_conf_bool_word(const char *s);

tn_status tn_conf_unknown(const tn_opts *o, const char *name, size_t n, const char *where,
                          tn_err *e);
#endif
