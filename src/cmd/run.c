/* tenet run: a recipe of stages. */
#include "base/log.h"
#include "base/proc.h"
#include "cmd/verbs.h"
#include "recipe/recipe.h"
#include <stdio.h>

typedef struct run_options {
    const char *out, *from, *until;
    tn_opt_list set;
    bool list, dry_run;
} run_options;

#define AT(f) offsetof(run_options, f)
static const tn_opt_row rows[] = {
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, "output-dir", "DIR",
     "Folder of everything that the recipe makes; ${out} in the recipe. A run that was interrupted goes on in it."},
    {"set", TN_OPT_LIST, AT(set), NULL, NULL, 0, 0, NULL, "NAME=VALUE", "Other values of the recipe's variables."},
    {"until", TN_OPT_STRING, AT(until), NULL, NULL, 0, 0, NULL, "STAGE", "The last stage to run."},
    {"from", TN_OPT_STRING, AT(from), NULL, NULL, 0, 0, NULL, "STAGE",
     "The first stage to run. What the stages before it make is taken as it is, be it edited or made elsewhere."},
    {"list", TN_OPT_BOOL, AT(list), "false", NULL, 0, 0, NULL, NULL,
     "Only show the recipe: variables, stages, what they make, and with --out which of them are complete."},
    {"dry-run", TN_OPT_BOOL, AT(dry_run), "false", NULL, 0, 0, NULL, NULL, "Only check everything, and print the commands."},
    TN_OPT_LAST};

static void print_commands(const tn_recipe *r, const tn_recipe_how *how) {
    tn_str line = TN_STR_INIT;
    for (int i = how->from; i <= how->until; i++) {
        const tn_stage *s = &r->stage[i];
        tn_str_clear(&line);
        tn_stage_command(s, &line);
        printf("# [%d/%d] %s%s%s\n%s%s%s%s%s\n", i + 1, r->n, s->name, *s->about ? ": " : "", s->about, line.s, s->prints ? " > " : "",
               s->prints ? r->out : "", s->prints ? "/" : "", s->prints ? s->prints : "");
    }
    tn_str_free(&line);
}

static void print_stage(const tn_stage *s, int i, const char *state) {
    printf("%3d  %-22s %-20s %s\n", i + 1, s->name, state, s->about);
    char call[64];
    bool argument = s->argc > 1 && s->argv[1][0] != '-';
    snprintf(call, sizeof call, "%s%s%s", s->verb->name, argument ? " " : "", argument ? s->argv[1] : "");
    printf("     %-22s", call);
    for (int k = 0; k < s->n_makes; k++) printf("%s%s", k ? ", " : " makes ", s->makes[k]);
    printf("\n");
}

static tn_status print_list(const tn_recipe *r, bool with_state, tn_err *e) {
    tn_run_state *state = NULL;
    tn_stage_state is;
    tn_str why = TN_STR_INIT;
    const char *name;
    json_t *v;
    tn_status st = with_state ? tn_run_state_open(&state, r, e) : TN_OK;
    printf("%s%s%s\n\n", r->name, *r->about ? ": " : "", r->about);
    json_object_foreach(r->vars, name, v) printf("  --set %s=%s\n", name, json_is_string(v) ? json_string_value(v) : "(has to be given)");
    printf("\n");
    for (int i = 0; i < r->n && st == TN_OK; i++) {
        if (with_state) st = tn_run_state_of(state, i, &is, &why, e);
        if (st == TN_OK) print_stage(&r->stage[i], i, with_state ? tn_stage_state_text[is] : "");
    }
    tn_run_state_free(state);
    tn_str_free(&why);
    return st;
}

static tn_status work(const tn_recipe *r, const run_options *o, tn_err *e) {
    tn_recipe_how how = {.until = r->n - 1};
    if (o->from) TN_TRY(tn_recipe_find(r, o->from, &how.from, e));
    if (o->until) TN_TRY(tn_recipe_find(r, o->until, &how.until, e));
    if (how.from > how.until) return tn_fail(e, TN_ARG, "--from %s comes after --until %s", o->from, o->until);
    if (o->list) return print_list(r, o->out != NULL, e);
    if (o->dry_run) {
        print_commands(r, &how);
        return TN_OK;
    }
    if (!o->out) return tn_fail(e, TN_ARG, "--out is missing; say where the run goes, e.g. --out runs/%s", r->name);
    return tn_recipe_run(r, &how, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    run_options o = {0};
    tn_opts_bind(opts, rows, &o);
    tn_recipe *r = NULL;
    tn_str path = TN_STR_INIT;
    tn_shipped_path(tn_opts_pos(opts, 0), &path);
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_recipe_load(&r, path.s, tn_verbs, o.out ? o.out : "OUT", o.set, e);
    if (st == TN_OK) st = work(r, &o, e);
    tn_recipe_free(r);
    tn_str_free(&path);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_run = {
    .name = "run",
    .stage = "Pipelines",
    .summary = "a recipe: a whole pipeline of verbs, from one file",
    .details =
        "A recipe is YAML: variables, and stages with a verb, its options by their own names, and what the stage makes.\n"
        "\n"
        "  name: two-stages\n"
        "  vars: {seed: 1}\n"
        "  stages:\n"
        "    - name: rows\n"
        "      world sft: {seed: \"${seed}\", out: \"${out}/rows.jsonl\"}\n"
        "      makes: rows.jsonl\n"
        "    - name: sft\n"
        "      sft: {model: models/world, data: \"${out}/rows.jsonl\", output-dir: \"${out}/sft\"}\n"
        "      makes: sft\n"
        "\n"
        "docs/recipes.md has the whole format; recipes/constitutional.yaml is Constitutional AI from a base model to an\n"
        "evaluation.\n"
        "\n"
        "  tenet run recipes/constitutional.yaml --out cai              everything, or the rest of it\n"
        "  tenet run recipes/constitutional.yaml --out cai-2 --set seed=2 dtype=float32\n"
        "  tenet run recipes/constitutional.yaml --list                 its variables and stages\n"
        "  tenet run recipes/constitutional.yaml --dry-run              its commands, to be read or pasted\n"
        "  tenet run recipes/constitutional.yaml --out cai --until sl-cai\n"
        "\n"
        "The whole recipe is checked before anything runs: unknown names, values out of range, inputs that nothing makes.\n"
        "Stages run one after another, each as a process of its own; what they say is in OUT/logs/STAGE.log, too.\n"
        "\n"
        "The same command goes on after an interruption, by kill -9 or by Ctrl-C (which the stage is told; training saves a\n"
        "checkpoint): complete stages are not run again, a stage that was cut goes on where its verb can, and everything ends\n"
        "in the same bytes. A stage runs again when its options or the contents of its inputs have changed; what it had made is\n"
        "removed then. Products that somebody else has edited are never overwritten: --from NEXT takes them as they are.\n",
    .positional = "FILE",
    .tables = tables,
    .run = run};
