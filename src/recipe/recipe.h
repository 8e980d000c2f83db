/* Recipes of stages: a whole pipeline in one file, run by `tenet run`. A room of its own, between the option tables (conf/),
 * which say what a stage may be told, and the verbs, which it gets as a list and starts as processes.
 *
 *   name: constitutional            # plain words; they name the run in run.json
 *   about: one line
 *   vars: {seed: 1, base: null}     # ${seed} in any text below; null: has to be --set. ${out} is --out; $$ is a dollar sign
 *   options: {seed: "${seed}"}      # of every stage whose verb has them, unless the stage says otherwise
 *   stages:
 *     - name: demonstrations        # letters, digits, - _ .; its log is logs/demonstrations.log
 *       about: one line
 *       world sft: {mix: helpful, out: "${out}/sft.jsonl"}    # VERB [ARGUMENT]...: options by their names
 *       makes: sft.jsonl            # files and folders below ${out}, one or a list
 *       prints: table.txt           # what the verb writes to its standard output, also as a file
 *       when: ${people}             # true or false
 *
 * Everything is checked before anything runs: names (with the nearest match), types and ranges by the verb's option table,
 * and every path: what is below ${out} must be made by the stage or by one before it, the rest must be there. Hence a stage's
 * inputs are known, and it writes nothing elsewhere.
 *
 * What is complete is not run again. OUT/run.json keeps of every stage its command, checksums of what it reads and of what it
 * made, durable before it starts and when it has ended (contents, not times: copies and touched files are the same, and verbs
 * hash their models anyway). Another command or other inputs: what the stage made is removed and made anew, and so is
 * whatever reads something that came out differently. Begun and not ended: a verb that can goes on (its own checkpoints, journals,
 * stores of replies), another one begins anew. A product that was changed since by somebody else is never overwritten: an error. */
#ifndef TN_RECIPE_H
#define TN_RECIPE_H
#include "conf/conf.h"

enum { TN_RECIPE_STAGES = 1000, TN_RECIPE_MAKES = 4096 }; /* most, of all stages together */

typedef struct tn_stage {
    const char *name, *about; /* about: "" when not said */
    const tn_verb *verb;
    char **argv; /* verb, arguments, options; ends in NULL */
    int argc;
    const char **reads; /* paths whose contents it depends on */
    int n_reads;
    const char **makes; /* below OUT; `prints` is one of them */
    int n_makes;
    const char *prints; /* or NULL */
} tn_stage;

typedef struct tn_recipe {
    const char *path, *name, *about, *out;
    json_t *vars; /* name -> text */
    tn_stage *stage; /* without those whose `when` is false */
    int n;
    tn_arena *arena; /* of all the texts */
} tn_recipe;

/* set: NAME=VALUE. out: without a slash at its end. All errors name file, line and column. */
tn_status tn_recipe_load(tn_recipe **r, const char *path, const tn_verb *const *verbs, const char *out, tn_opt_list set, tn_err *e);
tn_status tn_recipe_parse(tn_recipe **r, const char *text, size_t n, const char *path, const tn_verb *const *verbs, const char *out,
                          tn_opt_list set, tn_err *e);
void tn_recipe_free(tn_recipe *r); /* NULL is fine */
/* The number of a stage; TN_ARG with the nearest name. */
tn_status tn_recipe_find(const tn_recipe *r, const char *stage, int *i, tn_err *e);
/* The command as a shell would take it. */
void tn_stage_command(const tn_stage *s, tn_str *out);

typedef enum tn_stage_state {
    TN_STAGE_NEW,     /* nothing is there, or what it made is gone */
    TN_STAGE_STALE,   /* its command or its inputs have changed */
    TN_STAGE_BEGUN,   /* interrupted */
    TN_STAGE_DONE,
    TN_STAGE_CHANGED, /* complete, but somebody has changed what it made */
    TN_STAGE_FOREIGN  /* something that no stage of this folder's runs made is where its products go */
} tn_stage_state;
extern const char *const tn_stage_state_text[];

/* OUT/run.json: {"recipe", "vars", "stages": [{"name", "state": "begun" | "done", "version", "command", "reads", "makes"}]}, the same
 * bytes wherever OUT is, whatever interrupted the run. */
typedef struct tn_run_state tn_run_state;
tn_status tn_run_state_open(tn_run_state **s, const tn_recipe *r, tn_err *e);
void tn_run_state_free(tn_run_state *s);
/* why (cleared first): what has changed. */
tn_status tn_run_state_of(tn_run_state *s, int stage, tn_stage_state *state, tn_str *why, tn_err *e);
/* It has started and not ended: what it makes is nothing whole. */
bool tn_run_state_begun(const tn_run_state *s, int stage);
/* Durable: a stage in `state` starts (what it made is removed, unless it goes on); it has left what it makes. */
tn_status tn_run_state_begin(tn_run_state *s, int stage, tn_stage_state state, tn_err *e);
tn_status tn_run_state_done(tn_run_state *s, int stage, tn_err *e);

typedef struct tn_recipe_how {
    const char *program;     /* NULL: this one */
    int from, until;         /* stages [from, until]; what those before `from` make is taken as it is */
} tn_recipe_how;
/* OUT is locked meanwhile. A stage's output goes to the terminal and to OUT/logs/STAGE.log, its seconds to OUT/timing.jsonl.
 * TN_INTERRUPTED after a signal, which the stage was given, too. */
tn_status tn_recipe_run(const tn_recipe *r, const tn_recipe_how *how, tn_err *e);
#endif
