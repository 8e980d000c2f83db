/* Inside of recipes: what the files that read one share. */
#ifndef TN_RECIPE_INTERNAL_H
#define TN_RECIPE_INTERNAL_H
#include "recipe/recipe.h"
#include <stdarg.h>

typedef struct recipe_reader {
    tn_recipe *r;
    const tn_verb *const *verbs;
    json_t *root, *marks;
    json_t *options;   /* of all stages, or NULL */
    json_t *used;      /* those that a stage took */
    int n_makes;       /* of all stages */
    bool skipped;      /* the stage at hand does not run: its paths are not looked at */
} recipe_reader;

/* A place in the file: entry `key` of a map or item i of a sequence (key NULL). */
typedef struct recipe_place {
    const json_t *in;
    const char *key;
    size_t i;
} recipe_place;

/* "FILE:LINE:COLUMN" */
void tn_recipe_where(const recipe_reader *x, recipe_place at, char *out, size_t cap);
tn_status tn_recipe_fail(const recipe_reader *x, recipe_place at, tn_err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "; did you mean 'NEAR'?" or nothing. */
void tn_recipe_near(const char *what, const char *const *names, size_t n, char *out, size_t cap);

/* vars of the file, then --set. */
tn_status tn_recipe_read_vars(recipe_reader *x, json_t *vars, tn_opt_list set, tn_err *e);
/* Text with its variables in place, in the arena. */
tn_status tn_recipe_expand(recipe_reader *x, recipe_place at, const json_t *text, const char **out, tn_err *e);

/* The command of s from `call` ("VERB [ARGUMENT]...") and its options; s->verb is set, and so is s->makes. */
tn_status tn_recipe_read_command(recipe_reader *x, tn_stage *s, recipe_place at, const char *call, json_t *options, tn_err *e);
/* Every one of `options` was of use to some stage. */
tn_status tn_recipe_check_options(recipe_reader *x, tn_err *e);

/* What follows "OUT/" in `path`, "" for OUT itself; NULL: it is elsewhere. */
const char *tn_recipe_below(const tn_recipe *r, const char *path);
/* Is `path` the product or something in it? Both below OUT. */
bool tn_recipe_within(const char *path, const char *product);
#endif
