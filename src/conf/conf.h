/* Verbs and their options: parsing of the command line and of YAML recipes, help, records.
 *
 *   tenet VERB [--option value]... [--config recipe.yaml] [--dry-run]
 *
 * The same name works on the command line, in YAML and in tenet.json. Unknown names are errors
 * that name the nearest match; so are values of the wrong type or out of range. The command
 * line wins over the recipe, the recipe over defaults.                                      */
#ifndef TN_CONF_H
#define TN_CONF_H
#include "base/json.h"
#include "base/option.h"

typedef struct tn_opts tn_opts;
typedef struct tn_verb {
    const char *name;      /* "dpo" */
    const char *stage; /* heading in `tenet --help`: "Train", "Use", "Measure", "World", "Files" */
    const char *summary;   /* one line */
    const char *details;   /* paragraphs and examples of `tenet VERB --help` */
    const char
        *positional; /* names of positional arguments, e.g. "SET", "[ACTION]"; NULL for none */
    const tn_opt_row *const *tables; /* NULL-terminated list of option tables */
    tn_status (*run)(const tn_opts *o, tn_err *e);
    const char *words; /* what the first positional argument can be, "a|b|c"; NULL: paths */
    bool goes_on; /* the same command, given again, goes on from what is there and ends in the same bytes */
} tn_verb;

/* The row of an option's name or synonym (n bytes; '-' and '_' are the same); NULL when the verb has none. */
const tn_opt_row *tn_verb_option(const tn_verb *v, const char *name, size_t n);

/* argv after the verb. --config FILE is handled here; `--help` sets *help and returns TN_OK. */
tn_status tn_opts_parse(const tn_verb *v, int argc, char **argv, tn_opts **out, bool *help,
                        tn_err *e);
/* From a JSON/YAML object of name: value (recipes of stages, embedders, resume). */
tn_status tn_opts_from_json(const tn_verb *v, const json_t *obj, const char *where, tn_opts **out,
                            tn_err *e);
void tn_opts_free(tn_opts *o);

/* Fills the struct that `rows` describe (offsets). Strings live as long as `o`. */
void tn_opts_bind(const tn_opts *o, const tn_opt_row *rows, void *dst);
/* Single values by name; asking for a name that no table of the verb has is a programming error. */
const char *tn_opts_str(const tn_opts *o, const char *name);
int64_t tn_opts_int(const tn_opts *o, const char *name);
double tn_opts_real(const tn_opts *o, const char *name);
bool tn_opts_bool(const tn_opts *o, const char *name);
tn_opt_list tn_opts_list(const tn_opts *o, const char *name);
/* Bytes in the text of option `name`: a number with KB, MB, GB (of 1000) or KiB, MiB, GiB. */
tn_status tn_opts_size(const char *name, const char *text, size_t *bytes, tn_err *e);
bool tn_opts_given(const tn_opts *o, const char *name); /* by the user, not by default */
bool tn_opts_has(const tn_opts *o, const char *name);   /* is it an option of the verb at all? */
int tn_opts_npos(const tn_opts *o);
const char *tn_opts_pos(const tn_opts *o, int i);
json_t *tn_opts_record(const tn_opts *o); /* every option with its value, new reference */

void tn_help_verb(const tn_verb *v, FILE *f);
void tn_help_all(const tn_verb *const *verbs, FILE *f);
/* The same as manual pages tenet-VERB(1) and tenet(1), in man(7) macros, ASCII. */
void tn_man_verb(const tn_verb *v, FILE *f);
void tn_man_all(const tn_verb *const *verbs, FILE *f);

/* What may stand in place of the last of the n words after "tenet" on a command line, for shells:
 * lines "candidate" or "candidate TAB description", then one line that says which paths may stand
 * there, too: ":none", ":files" or ":dirs". In NAME=VALUE only the part after '=' is meant. */
void tn_complete(const tn_verb *const *verbs, const char *const *words, int n, FILE *f);

/* TRL options without meaning here (bf16, torch_compile, report_to, ...): accepted,
 * and named once in a notice. */
extern const char *const tn_ignored_options[];

/* YAML (libyaml; scalars, sequences, maps; anchors refused) to JSON values. */
tn_status tn_yaml_parse(const char *text, size_t n, const char *where, json_t **root, tn_err *e);
tn_status tn_yaml_load(const char *path, json_t **root, tn_err *e);
/* The same, with where things stand (NULL: not wanted): *marks is a new object for tn_yaml_mark. */
tn_status tn_yaml_parse_marked(const char *text, size_t n, const char *where, json_t **root, json_t **marks, tn_err *e);
/* Line and column, from 1, of the entry `key` of map `in`, or of item i of sequence `in` (key NULL); false: not known. */
bool tn_yaml_mark(const json_t *marks, const json_t *in, const char *key, size_t i, long *line, long *column);
#endif
