/* One row per option: the single place where an option's name, type, default, range, help
 * and synonyms stand. Command line, YAML recipes, --help, validation and the run's record
 * are all made from these rows (src/conf). Rows live beside the code that reads them.      */
#ifndef TN_BASE_OPTION_H
#define TN_BASE_OPTION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tn_opt_type {
    TN_OPT_END,    /* terminates a table */
    TN_OPT_STRING, /* const char *   (NULL when unset and no default) */
    TN_OPT_INT,    /* int64_t */
    TN_OPT_REAL,   /* double */
    TN_OPT_BOOL,   /* bool; on the command line `--x`, `--no-x`, `--x true` */
    TN_OPT_CHOICE, /* const char *, one of `choices` */
    TN_OPT_LIST    /* tn_opt_list; repeatable, or several values after one flag */
} tn_opt_type;

typedef struct tn_opt_list {
    const char *const *v;
    int n;
} tn_opt_list;

typedef struct tn_opt_row {
    const char *name;     /* kebab-case; snake_case is accepted everywhere */
    tn_opt_type type;
    size_t offset; /* of the field in the struct that tn_opts_bind fills; TN_OPT_NOFIELD if none */
    const char *def;      /* default as text; NULL: unset (INT: INT64_MIN, REAL: NaN) */
    const char *choices;  /* CHOICE: "a|b|c" */
    double min, max;      /* INT, REAL: inclusive; both 0 = no limit; max < min = no upper one */
    const char *synonyms; /* space-separated, TRL's long names among them; NULL for none */
    const char *metavar;  /* "DIR", "FILE", "N" ... for help */
    const char *help;     /* one or two sentences */
} tn_opt_row;

#define TN_OPT_NOFIELD ((size_t)-1)
#define TN_OPT_LAST {0}
#endif
