/* Options: command line, recipes, synonyms, errors, help, record. */
#include "cmd/verbs.h"
#include "conf/conf.h"
#include "fuzz/mutate.h"
#include "test.h"
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct demo {
    const char *model, *loss;
    int64_t steps, seed;
    double rate, beta;
    bool packing, shuffle, dry_run;
    tn_opt_list data;
} demo;

static const tn_opt_row demo_a[] = {
    {"model", TN_OPT_STRING, offsetof(demo, model), NULL, NULL, 0, 0, "model_name_or_path", "DIR",
     "Model folder."},
    {"data", TN_OPT_LIST, offsetof(demo, data), NULL, NULL, 0, 0, "dataset_name dataset-path",
     "FILE", "Rows."},
    {"max-steps", TN_OPT_INT, offsetof(demo, steps), "100", NULL, 1, 1e18, NULL, NULL, "Steps."},
    {"learning-rate", TN_OPT_REAL, offsetof(demo, rate), "2e-5", NULL, 0, 1, "lr", NULL, "Rate."},
    {"seed", TN_OPT_INT, offsetof(demo, seed), NULL, NULL, 0, 0, NULL, NULL, "Seed."},
    TN_OPT_LAST};
static const tn_opt_row demo_b[] = {
    {"loss-type", TN_OPT_CHOICE, offsetof(demo, loss), "sigmoid", "sigmoid|hinge|ipo|exo_pair", 0,
     0, NULL, NULL, "Loss."},
    {"beta", TN_OPT_REAL, offsetof(demo, beta), "0.1", NULL, 0, 0, NULL, NULL, "Beta."},
    {"packing", TN_OPT_BOOL, offsetof(demo, packing), NULL, NULL, 0, 0, NULL, NULL, "Pack."},
    {"shuffle", TN_OPT_BOOL, offsetof(demo, shuffle), "true", NULL, 0, 0, NULL, NULL, "Shuffle."},
    {"dry-run", TN_OPT_BOOL, offsetof(demo, dry_run), NULL, NULL, 0, 0, NULL, NULL, "Stop early."},
    {"seed", TN_OPT_INT, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, NULL,
     "Shared with the first table."},
    TN_OPT_LAST};
static const tn_opt_row *const demo_tables[] = {demo_a, demo_b, NULL};
static const tn_verb demo_verb = {.name = "demo",
                                  .stage = "Train",
                                  .summary = "A verb for tests.",
                                  .details = "Details.\n",
                                  .tables = demo_tables};
static const tn_verb pos_verb = {.name = "pos",
                                 .stage = "Use",
                                 .summary = "Positional.",
                                 .positional = "SET [ACTION]",
                                 .tables = demo_tables};

static tn_status parse_line(const tn_verb *v, const char *line, tn_opts **o, tn_err *e) {
    static char buf[2048];
    char *argv[64];
    int argc = 0;
    bool help;
    snprintf(buf, sizeof buf, "%s", line);
    for (char *s = strtok(buf, " "); s; s = strtok(NULL, " ")) argv[argc++] = s;
    tn_status st = tn_opts_parse(v, argc, argv, o, &help, e);
    if (st == TN_OK && help) return tn_fail(e, TN_STATE, "help asked for");
    return st;
}

static tn_status parse_only(const tn_verb *v, const char *line, tn_err *e) {
    tn_opts *o = NULL;
    tn_status st = parse_line(v, line, &o, e);
    tn_opts_free(o);
    return st;
}

static const char *recipe(const char *text) {
    static char path[600];
    snprintf(path, sizeof path, "%s/recipe.yaml", tn_test_dir());
    tn_write_file(path, text, strlen(text), NULL);
    return path;
}

TEST(conf_defaults_and_bind) {
    tn_opts *o = NULL;
    demo d;
    CHECK_OK(parse_line(&demo_verb, "", &o, e));
    tn_opts_bind(o, demo_a, &d);
    tn_opts_bind(o, demo_b, &d);
    CHECK(!d.model && !strcmp(d.loss, "sigmoid") && d.steps == 100 && d.seed == INT64_MIN);
    CHECK(d.rate == 2e-5 && d.beta == 0.1 && !d.packing && d.shuffle && d.data.n == 0);
    CHECK(!tn_opts_given(o, "max-steps") && tn_opts_int(o, "max_steps") == 100);
    tn_opts_free(o);
}

TEST(conf_command_line) {
    tn_opts *o = NULL;
    demo d;
    CHECK_OK(parse_line(
        &demo_verb,
        "--model_name_or_path m --data a.jsonl b.jsonl --lr=1e-3 --max_steps 1e3 --packing "
        "--dataset-name c --no-shuffle --loss_type EXO-PAIR --beta -0.5 --dry_run false --seed -7",
        &o, e));
    tn_opts_bind(o, demo_a, &d);
    tn_opts_bind(o, demo_b, &d);
    CHECK(!strcmp(d.model, "m") && !strcmp(d.loss, "exo_pair") && d.steps == 1000 &&
          d.rate == 1e-3 && d.seed == -7);
    CHECK(d.packing && !d.shuffle && !d.dry_run && d.beta == -0.5);
    CHECK(d.data.n == 3 && !strcmp(d.data.v[0], "a.jsonl") && !strcmp(d.data.v[2], "c"));
    CHECK(tn_opts_given(o, "dry-run") && tn_opts_given(o, "data") && !tn_opts_given(o, "config"));
    tn_opts_free(o);
    CHECK_OK(
        parse_line(&demo_verb, "--packing no --shuffle=true --max-steps 5 --max-steps 6", &o, e));
    CHECK(!tn_opts_bool(o, "packing") && tn_opts_bool(o, "shuffle") &&
          tn_opts_int(o, "max-steps") == 6);
    tn_opts_free(o);
}

TEST(conf_errors_name_what_is_near) {
    CHECK_FAIL(parse_only(&demo_verb, "--lerning-rate 1", e), TN_ARG,
               "did you mean '--learning-rate'?");
    CHECK_FAIL(parse_only(&demo_verb, "--lerning_rate=1", e), TN_ARG,
               "did you mean '--learning-rate'?");
    CHECK_FAIL(parse_only(&demo_verb, "--zzzzzz 1", e), TN_ARG,
               "unknown option '--zzzzzz' on the command line ('tenet demo --help'");
    CHECK_FAIL(parse_only(&demo_verb, "--loss-type sigmod", e), TN_ARG, "did you mean 'sigmoid'?");
    CHECK_FAIL(parse_only(&demo_verb, "--loss-type 7", e), TN_ARG, "sigmoid|hinge|ipo|exo_pair");
    CHECK_FAIL(parse_only(&demo_verb, "--max-steps 0", e), TN_ARG, "at least 1, found 0");
    CHECK_FAIL(parse_only(&demo_verb, "--max-steps 1.5", e), TN_ARG, "a whole number, found '1.5'");
    CHECK_FAIL(parse_only(&demo_verb, "--max-steps 10x", e), TN_ARG, "found '10x'");
    CHECK_FAIL(parse_only(&demo_verb, "--max-steps 99999999999999999999", e), TN_ARG,
               "found '99999999999999999999'");
    CHECK_FAIL(parse_only(&demo_verb, "--lr 2", e), TN_ARG, "from 0 to 1, found 2");
    CHECK_FAIL(parse_only(&demo_verb, "--lr nan", e), TN_ARG, "found 'NaN'");
    CHECK_FAIL(parse_only(&demo_verb, "--packing=maybe", e), TN_ARG,
               "true or false, found 'maybe'");
    CHECK_FAIL(parse_only(&demo_verb, "--model", e), TN_ARG, "--model needs a value");
    CHECK_FAIL(parse_only(&demo_verb, "--model --lr 1", e), TN_ARG, "--model needs a value");
    CHECK_FAIL(parse_only(&demo_verb, "--data", e), TN_ARG, "at least one value");
    CHECK_FAIL(parse_only(&demo_verb, "-x", e), TN_ARG, "two dashes");
    CHECK_FAIL(parse_only(&demo_verb, "--no-model x", e), TN_ARG, "unknown option '--no-model'");
    CHECK_FAIL(parse_only(&demo_verb, "stray", e), TN_ARG, "unexpected argument 'stray'");
    CHECK_FAIL(parse_only(&demo_verb, "--model m --help --zzz", e), TN_STATE, "help");
    CHECK_FAIL(parse_only(&demo_verb, "--", e), TN_OK, "");
    CHECK_FAIL(parse_only(&demo_verb, "-- --model", e), TN_ARG, "unexpected argument '--model'");
}

TEST(conf_positional) {
    tn_opts *o = NULL;
    CHECK_OK(parse_line(&pos_verb, "judge --model m now", &o, e));
    CHECK(tn_opts_npos(o) == 2 && !strcmp(tn_opts_pos(o, 0), "judge") &&
          !strcmp(tn_opts_pos(o, 1), "now"));
    CHECK(!tn_opts_pos(o, 2) && !tn_opts_pos(o, -1));
    tn_opts_free(o);
    CHECK_FAIL(parse_only(&pos_verb, "--lr 1", e), TN_ARG,
               "missing argument: tenet pos SET [ACTION]");
    CHECK_FAIL(parse_only(&pos_verb, "a b c", e), TN_ARG, "unexpected argument 'c'");
    /* an ignored option takes one value, not the arguments after it */
    CHECK_OK(parse_line(&pos_verb, "--report_to none judge --bf16 --fp16 true now", &o, e));
    CHECK(tn_opts_npos(o) == 2 && !strcmp(tn_opts_pos(o, 0), "judge") &&
          !strcmp(tn_opts_pos(o, 1), "now"));
    tn_opts_free(o);
}

TEST(conf_ignored_options) {
    CHECK_OK(parse_only(&demo_verb,
                        "--bf16 --torch_compile true --report_to wandb tensorboard "
                        "--dataloader_num_workers=4 --no-tf32 --model m --attn_implementation sdpa",
                        e));
    CHECK_FAIL(parse_only(&demo_verb, "--bf17", e), TN_ARG, "unknown option '--bf17'");
}

TEST(conf_recipe) {
    tn_opts *o = NULL;
    demo d;
    char line[1200];
    snprintf(line, sizeof line, "--data z --config %s --max-steps 9",
             recipe("# a recipe\nmodel_name_or_path: 'm 1'\ndata: [a, b]\nmax-steps: "
                    "7\nlearning_rate: 1e-4\npacking: yes\n"
                    "shuffle: false\nbf16: true\nseed: 12\nbeta: 1\nloss-type:\n  - ipo\n"));
    CHECK_OK(parse_line(&demo_verb, line, &o, e));
    if (!o) return;
    tn_opts_bind(o, demo_a, &d);
    tn_opts_bind(o, demo_b, &d);
    CHECK(!strcmp(d.model, "m 1") && d.steps == 9 && d.rate == 1e-4 && d.packing && !d.shuffle &&
          d.seed == 12);
    CHECK(d.data.n == 1 && !strcmp(d.data.v[0], "z") && d.beta == 1 && !strcmp(d.loss, "ipo"));
    CHECK(tn_opts_given(o, "learning-rate"));

    /* the record gives the same options back */
    json_t *rec = tn_opts_record(o);
    tn_opts *again = NULL;
    CHECK_OK(tn_opts_from_json(&demo_verb, rec, "tenet.json", &again, e));
    json_t *rec2 = again ? tn_opts_record(again) : NULL;
    CHECK(json_equal(rec, rec2));
    CHECK(json_is_null(json_object_get(rec, "dry-run")) &&
          json_integer_value(json_object_get(rec, "max-steps")) == 9);
    json_decref(rec);
    json_decref(rec2);
    tn_opts_free(o);
    tn_opts_free(again);
}

static tn_status from_recipe(const char *text, tn_err *e) {
    char line[700];
    snprintf(line, sizeof line, "--config %s", recipe(text));
    return parse_only(&demo_verb, line, e);
}

TEST(conf_recipe_errors) {
    CHECK_FAIL(from_recipe("modle: x\n", e), TN_ARG, "did you mean 'model'?");
    CHECK_FAIL(from_recipe("model: x\nmodel: y\n", e), TN_FORMAT,
               "recipe.yaml:2: 'model' is written twice");
    CHECK_FAIL(from_recipe("model: &a x\n", e), TN_FORMAT, "recipe.yaml:1:8: anchors");
    CHECK_FAIL(from_recipe("data: [*a]\n", e), TN_FORMAT, "aliases");
    CHECK_FAIL(from_recipe("model: !python/object x\n", e), TN_FORMAT, "tags");
    CHECK_FAIL(from_recipe("model: a\n---\nmodel: b\n", e), TN_FORMAT, "second document");
    CHECK_FAIL(from_recipe("model: [a, b\n", e), TN_FORMAT, "not valid YAML");
    CHECK_FAIL(from_recipe("model: {a: b}\n", e), TN_ARG,
               "model must be a string, found an object");
    CHECK_FAIL(from_recipe("model: 1.50\n", e), TN_ARG, "put it in quotes");
    CHECK_FAIL(from_recipe("max-steps: 1.5\n", e), TN_ARG, "must be a whole number");
    CHECK_FAIL(from_recipe("max-steps: '0'\n", e), TN_ARG, "at least 1");
    CHECK_FAIL(from_recipe("- a\n", e), TN_FORMAT, "expected 'name: value'");
    CHECK_FAIL(from_recipe("config: other.yaml\n", e), TN_ARG, "another recipe");
    CHECK_FAIL(from_recipe("model: \"a\\0b\"\n", e), TN_ARG, "must be a string");
    CHECK_FAIL(from_recipe("? [a]\n: b\n", e), TN_FORMAT, "plain text");
    CHECK_FAIL(from_recipe("model: \xff\xfe\n", e), TN_FORMAT, "recipe.yaml");
    CHECK_OK(from_recipe("", e));
    CHECK_OK(from_recipe("# nothing\n", e));
    CHECK_OK(from_recipe("model: ~\nseed:\n", e));
    CHECK_OK(from_recipe("model: 7\n", e));
    CHECK_FAIL(parse_only(&demo_verb, "--config /nonexistent/r.yaml", e), TN_IO,
               "/nonexistent/r.yaml");
}

TEST(conf_yaml_values) {
    json_t *root = NULL, *want = NULL;
    CHECK_OK(tn_yaml_load(recipe("a: 1\nb: -2.5e3\nc: .5\nd: '1'\ne: 1e\nf: 0x10\ng: true\nh: "
                                 "~\ni: [x, [y], {z: 1}]\nj: |\n  two\n"
                                 "  lines\nk: 123456789012345678901\nl: 1e999\nm: 1_000\nn: +3\no: "
                                 "2026-01-01\np: [~]\n"),
                          &root, e));
    static const char text[] =
        "{\"a\":1,\"b\":-2500.0,\"c\":0.5,\"d\":\"1\",\"e\":\"1e\",\"f\":\"0x10\",\"g\":true,\"h\":"
        "null,"
        "\"i\":[\"x\",[\"y\"],{\"z\":1}],\"j\":\"two\\nlines\\n\",\"k\":123456789012345678901.0,"
        "\"l\":\"1e999\",\"m\":\"1_000\",\"n\":3,\"o\":\"2026-01-01\",\"p\":[null]}";
    CHECK_OK(tn_json_parse(text, sizeof text - 1, "want", &want, e));
    CHECK(json_equal(root, want));
    json_decref(root);
    json_decref(want);
    /* deep nesting is an error, not a stack overflow */
    tn_str deep = TN_STR_INIT;
    for (int i = 0; i < 100000; i++) tn_str_addc(&deep, '[');
    CHECK_FAIL(tn_yaml_load(recipe(deep.s), &root, e), TN_FORMAT, "recipe.yaml");
    tn_str_free(&deep);
}

TEST(conf_recipe_survives_mutation) {
    static const char good[] =
        "model: 'm 1' # a comment\ndata: [a, \"b\\n\"]\nmax-steps: 7\nlearning_rate: 1e-4\n"
        "packing: yes\nloss-type:\n  - ipo\nbeta: >\n  1\nseed: {}\n";
    tn_str m = TN_STR_INIT;
    for (uint64_t i = 0; i < tn_fuzz_rounds(2000); i++) {
        tn_err e = {0};
        tn_opts *opts = NULL;
        json_t *root = NULL;
        tn_mutate(&m, good, sizeof good - 1, "&x [*x, {a: b}]\n---\n? - !t |", 29, i);
        tn_status st = tn_yaml_parse(m.s, m.len, "mutated.yaml", &root, &e);
        CHECK((st == TN_OK) == (root != NULL) && (st == TN_OK || strstr(e.msg, "mutated.yaml")));
        if (root && tn_opts_from_json(&demo_verb, root, "mutated.yaml", &opts, &e) == TN_OK) {
            json_t *rec = tn_opts_record(opts);
            CHECK(json_object_size(rec) > 5);
            json_decref(rec);
        }
        tn_opts_free(opts);
        json_decref(root);
    }
    tn_str_free(&m);
}

TEST(conf_help) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    tn_help_verb(&demo_verb, f);
    tn_help_all(tn_verbs, f);
    fclose(f);
    CHECK(strstr(text, "Usage: tenet demo [--option value]...") != NULL);
    CHECK(strstr(text, "--learning-rate X") != NULL &&
          strstr(text, "(default 2e-5) Also: lr.") != NULL);
    CHECK(strstr(text, "--no-shuffle") != NULL &&
          strstr(text, "One of sigmoid, hinge, ipo, exo_pair.") != NULL);
    CHECK(strstr(text, "--data FILE ...") != NULL && strstr(text, "--config FILE") != NULL);
    char *seed = strstr(text, "--seed N");
    CHECK(seed && !strstr(seed + 1, "Shared with the first table"));
    free(text);
}

/* Every verb of the binary: defaults fit their own types and ranges, names are kebab-case, no
 * name or synonym means two things. */
TEST(conf_tables_of_all_verbs) {
    for (const tn_verb *const *v = tn_verbs; *v; v++) {
        tn_opts *o = NULL;
        json_t *nothing = json_object();
        CHECK_OK(tn_opts_from_json(*v, nothing, "nothing", &o, e));
        json_decref(nothing);
        tn_opts_free(o);
        CHECK_MSG((*v)->run && (*v)->summary && (*v)->stage, "%s", (*v)->name);
        CHECK_MSG(strlen((*v)->name) < 16, "%s: longer than the column of --help", (*v)->name);
        for (const tn_opt_row *const *t = (*v)->tables; t && *t; t++)
            for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++) {
                CHECK_MSG(!strpbrk(r->name, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ "),
                          "%s --%s: not kebab-case", (*v)->name, r->name);
                CHECK_MSG(r->help && strlen(r->help) > 3, "%s --%s: no help", (*v)->name, r->name);
                CHECK_MSG(r->type != TN_OPT_CHOICE || r->choices, "%s --%s: no choices", (*v)->name,
                          r->name);
                for (const tn_opt_row *const *u = (*v)->tables; *u; u++)
                    for (const tn_opt_row *q = *u; q->type != TN_OPT_END; q++) {
                        if (!q->synonyms || !strcmp(q->name, r->name)) continue;
                        char list[600], name[100];
                        snprintf(list, sizeof list, " %s ", q->synonyms);
                        snprintf(name, sizeof name, " %s ", r->name);
                        for (char *s = list; *s; s++) if (*s == '_') *s = '-';
                        CHECK_MSG(!strstr(list, name), "%s: %s is an option and a synonym of %s",
                                  (*v)->name, r->name, q->name);
                    }
            }
    }
}
