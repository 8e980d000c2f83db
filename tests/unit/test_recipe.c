/* Recipes: what is read, what is refused and where, commands, and what run.json says is to be done. */
#include "cmd/verbs.h"
#include "fuzz/mutate.h"
#include "recipe/recipe.h"
#include "test.h"

static const char good[] = "name: demo\n"
                           "about: a demonstration\n"
                           "vars:\n"
                           "  seed: 3\n"
                           "  rate: 1e-3\n"
                           "  people: false\n"
                           "  base: models/world\n"
                           "options:\n"
                           "  seed: ${seed}\n"
                           "  dtype: float32\n"
                           "stages:\n"
                           "  - name: rows\n"
                           "    about: rows of $$5 for ${seed}\n"
                           "    world sft: {count: 8, out: \"${out}/rows.jsonl\"}\n"
                           "    makes: rows.jsonl\n"
                           "  - name: people\n"
                           "    when: ${people}\n"
                           "    world sft: {out: \"${out}/rows.jsonl\"}\n"
                           "    makes: rows.jsonl\n"
                           "  - name: model\n"
                           "    sft:\n"
                           "      model_name_or_path: ${base}\n"
                           "      data: [\"${out}/rows.jsonl\"]\n"
                           "      output_dir: ${out}/deep/model\n"
                           "      lr: ${rate}\n"
                           "      seed: 4\n"
                           "      bf16: true\n"
                           "      save_steps: ~\n"
                           "      share-prompts: false\n"
                           "    makes: [deep/model]\n"
                           "    prints: deep/said.txt\n";

static tn_status parse_n(tn_recipe **r, const char *text, size_t n, tn_opt_list set, tn_err *e) {
    return tn_recipe_parse(r, text, n, "r.yaml", tn_verbs, "O/", set, e);
}

static tn_status refuse(const char *text, tn_err *e) {
    tn_recipe *r;
    tn_status st = parse_n(&r, text, strlen(text), (tn_opt_list){0}, e);
    tn_recipe_free(r);
    return st;
}

static tn_status refuse_set(const char *set, tn_err *e) {
    tn_recipe *r;
    tn_status st = parse_n(&r, good, sizeof good - 1, (tn_opt_list){&set, 1}, e);
    tn_recipe_free(r);
    return st;
}

/* `good` with its first `from` as `to`. */
static const char *with(const char *from, const char *to) {
    static char text[4096];
    const char *at = strstr(good, from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    return text;
}

static void check_command(const tn_stage *s, const char *want) {
    tn_str t = TN_STR_INIT;
    tn_stage_command(s, &t);
    CHECK_MSG(!strcmp(t.s, want), "%s", t.s);
    tn_str_free(&t);
}

TEST(recipe_commands) {
    tn_recipe *r = NULL;
    const char *const values[] = {"people=yes", "rate=0.25", "seed=it's"};
    CHECK_OK(parse_n(&r, good, sizeof good - 1, (tn_opt_list){0}, e));
    if (!r) return;
    CHECK(r->n == 2 && !strcmp(r->name, "demo") && !strcmp(r->about, "a demonstration") && !strcmp(r->out, "O"));
    CHECK(!strcmp(r->stage[0].about, "rows of $5 for 3"));
    check_command(&r->stage[0], "tenet world sft --count 8 --out O/rows.jsonl --seed 3");
    check_command(&r->stage[1], "tenet sft --model models/world --data O/rows.jsonl --output-dir O/deep/model --learning-rate 0.001 --seed 4 "
                                "--no-share-prompts --dtype float32 --resume-from-checkpoint latest");
    CHECK(r->stage[0].n_reads == 0 && r->stage[0].n_makes == 1);
    CHECK(r->stage[1].n_reads == 2 && !strcmp(r->stage[1].reads[0], "models/world") && !strcmp(r->stage[1].reads[1], "O/rows.jsonl"));
    CHECK(r->stage[1].n_makes == 2 && !strcmp(r->stage[1].prints, "deep/said.txt"));
    CHECK(r->stage[1].verb == tn_verb_find("sft") && !r->stage[1].argv[r->stage[1].argc]);
    tn_recipe_free(r);
    /* --set: --seed must be a number, and is not */
    CHECK_FAIL(parse_n(&r, good, sizeof good - 1, (tn_opt_list){values, 3}, e), TN_ARG, "--seed must be a whole number, found 'it's' (r.yaml:9:3)");
    /* with people there are two stages that make rows.jsonl */
    CHECK_FAIL(parse_n(&r, good, sizeof good - 1, (tn_opt_list){values, 2}, e), TN_ARG, "r.yaml:19:5: 'rows.jsonl' is made by stage 'rows' already");
    int i;
    CHECK_OK(parse_n(&r, good, sizeof good - 1, (tn_opt_list){values + 1, 1}, e));
    CHECK_OK(tn_recipe_find(r, "model", &i, e));
    CHECK(i == 1);
    CHECK_FAIL(tn_recipe_find(r, "modle", &i, e), TN_ARG, "did you mean 'model'?");
    tn_recipe_free(r);
}

TEST(recipe_quotes) {
    static const char text[] = "name: q\nvars: {w: 'it''s', dash: --x}\nstages:\n  - name: a\n    report: {title: \"a ${w} $${w}\", out: \"${out}/a b.html\"}\n"
                               "    makes: a b.html\n  - name: b\n    select: {data: [\"${out}/a b.html\"], where: [\"${dash}=1\", k=2, k=3], out: "
                               "\"${out}/b\"}\n    makes: b\n";
    tn_recipe *r = NULL;
    CHECK_OK(parse_n(&r, text, sizeof text - 1, (tn_opt_list){0}, e));
    if (!r) return;
    check_command(&r->stage[0], "tenet report --title 'a it'\\''s ${w}' --out 'O/a b.html'");
    check_command(&r->stage[1], "tenet select --data 'O/a b.html' --where=--x=1 --where k=2 k=3 --out O/b");
    tn_opts *o = NULL;
    bool help;
    CHECK_OK(tn_opts_parse(r->stage[1].verb, r->stage[1].argc - 1, r->stage[1].argv + 1, &o, &help, e));
    tn_opt_list where = tn_opts_list(o, "where");
    CHECK(where.n == 3 && !strcmp(where.v[0], "--x=1") && !strcmp(where.v[2], "k=3"));
    tn_opts_free(o);
    tn_recipe_free(r);
}

TEST(recipe_errors_have_places) {
    CHECK_FAIL(refuse(with("about:", "abuot:"), e), TN_ARG, "r.yaml:2:1: a recipe has no key 'abuot'; did you mean 'about'?");
    CHECK_FAIL(refuse(with("    about:", "    abuot:"), e), TN_ARG, "r.yaml:13:5: a stage has no key or verb 'abuot'; did you mean 'about'?");
    CHECK_FAIL(refuse(with("    sft:", "    sftt:"), e), TN_ARG, "r.yaml:21:5: a stage has no key or verb 'sftt'; did you mean 'sft'?");
    CHECK_FAIL(refuse(with("world sft", "world sftt"), e), TN_ARG, "r.yaml:14:5: 'tenet world' knows no 'sftt'; did you mean 'sft'?");
    CHECK_FAIL(refuse(with("world sft", "world"), e), TN_ARG, "r.yaml:14:5: missing argument: tenet world SET");
    CHECK_FAIL(refuse(with("world sft", "world sft sft"), e), TN_ARG, "r.yaml:14:5: unexpected argument 'sft'");
    CHECK_FAIL(refuse(with("world sft", "world --seed"), e), TN_ARG, "options go below the verb");
    CHECK_FAIL(refuse(with("count: 8", "cuont: 8"), e), TN_ARG, "unknown option 'cuont' in r.yaml:14:17; did you mean 'count'?");
    CHECK_FAIL(refuse(with("count: 8", "cuont: ~"), e), TN_ARG, "r.yaml:14:17: 'tenet world' has no option 'cuont'");
    CHECK_FAIL(refuse(with("count: 8", "count: many"), e), TN_ARG, "--count must be a whole number, found 'many' (r.yaml:14:17)");
    CHECK_FAIL(refuse(with("count: 8", "count: [1, 2]"), e), TN_ARG, "r.yaml:14:17: count must be a whole number");
    CHECK_FAIL(refuse(with("count: 8", "count: {a: 1}"), e), TN_ARG, "r.yaml:14:17");
    CHECK_FAIL(refuse(with("count: 8", "config: x.yaml"), e), TN_ARG, "a recipe cannot name another recipe");
    CHECK_FAIL(refuse(with("lr: ${rate}", "lr: ${rat}"), e), TN_ARG, "r.yaml:25:7: no variable 'rat' among vars; did you mean 'rate'?");
    CHECK_FAIL(refuse(with("lr: ${rate}", "lr: ${rate"), e), TN_ARG, "r.yaml:25:7: '${rate' has no '}'");
    CHECK_FAIL(refuse(with("lr: ${rate}", "seed: 5"), e), TN_FORMAT, "r.yaml:26: 'seed' is written twice");
    CHECK_FAIL(refuse(with("bf16: true", "learning_rate: 1"), e), TN_ARG, "'lr' and 'learning_rate' are one option, given twice");
    CHECK_FAIL(refuse(with("dtype: float32", "dtpye: float32"), e), TN_ARG, "r.yaml:10:3: no stage's verb has an option 'dtpye'; did you mean 'dtype'?");
    CHECK_FAIL(refuse(with("base: models/world", "base: ~"), e), TN_ARG, "r.yaml:7:3: no value of 'base'; give --set base=VALUE");
    CHECK_FAIL(refuse(with("base: models/world", "base: ~\n  people2:"), e), TN_ARG, "no value of 'base', 'people2'; give --set base=VALUE people2=VALUE");
    CHECK_FAIL(refuse(with("base: models/world", "base: [a]"), e), TN_ARG, "r.yaml:7:3: a variable is a text");
    CHECK_FAIL(refuse(with("base: models/world", "out: a"), e), TN_ARG, "'out' cannot be a variable's name");
    CHECK_FAIL(refuse(with("base: models/world", "base: models/wordl"), e), TN_ARG, "r.yaml:22:7: 'models/wordl' is not there");
    CHECK_FAIL(refuse(with("data: [\"${out}/rows.jsonl\"]", "data: ${out}/row.jsonl"), e), TN_ARG,
               "r.yaml:23:7: nothing makes ${out}/row.jsonl: it is in no 'makes' of this stage or of one before it; did you mean 'rows.jsonl'?");
    CHECK_FAIL(refuse(with("data: [\"${out}/rows.jsonl\"]", "data: ${out}"), e), TN_ARG, "nothing makes ${out}/");
    CHECK_FAIL(refuse(with("data: [\"${out}/rows.jsonl\"]", "data: ${out}/rows.jsonl/../../x"), e), TN_ARG, "leaves ${out}");
    CHECK_FAIL(refuse(with("when: ${people}", "when: maybe"), e), TN_ARG, "r.yaml:17:5: 'maybe' is neither true nor false");
    CHECK_FAIL(refuse(with("name: people", "name: rows"), e), TN_ARG, "r.yaml:16:5: a second stage 'rows'");
    CHECK_FAIL(refuse(with("name: people", "name: a/b"), e), TN_ARG, "r.yaml:16:5: 'a/b' cannot be a name");
    CHECK_FAIL(refuse(with("  - name: people\n    when: ${people}\n", "  - when: ${people}\n"), e), TN_ARG, "r.yaml:16:5: a stage needs a name");
    CHECK_FAIL(refuse(with("    sft:", "    dpo: {}\n    sft:"), e), TN_ARG, "'dpo' stands here already");
    CHECK_FAIL(refuse(with("    sft:", "    run:"), e), TN_ARG, "cannot run another recipe");
    CHECK_FAIL(refuse("name: a\nstages:\n  - name: b\n    makes: c\n", e), TN_ARG, "r.yaml:3:5: stage 'b' has no verb");
    CHECK_FAIL(refuse("name: a\nstages:\n  - name: b\n    doctor: 3\n", e), TN_ARG, "r.yaml:4:5: the options of 'doctor'");
    CHECK_FAIL(refuse("name: a\nstages:\n  - text\n", e), TN_ARG, "r.yaml:3:5: a stage is 'name: value' lines");
    CHECK_FAIL(refuse("name: a\nstages: []\n", e), TN_ARG, "r.yaml:2:1: stages is a list");
    CHECK_FAIL(refuse("name: a\nstages:\n  - name: b\n    when: false\n    doctor:\n", e), TN_ARG, "no stage is to run");
    CHECK_FAIL(refuse("name: 3\nstages: []\n", e), TN_ARG, "r.yaml:1:1: a text is expected");
    CHECK_FAIL(refuse("[a]\n", e), TN_ARG, "r.yaml: a recipe is 'name: value' lines");
    CHECK_FAIL(refuse("", e), TN_ARG, "r.yaml: a recipe is");
    CHECK_FAIL(refuse_set("sede=2", e), TN_ARG, "has no variable 'sede'; did you mean 'seed'?");
    CHECK_FAIL(refuse_set("seed", e), TN_ARG, "NAME=VALUE is expected");
    CHECK_FAIL(refuse_set("base=\xff", e), TN_ARG, "not valid UTF-8");
}

TEST(recipe_products) {
    static const char *const bad[] = {"/abs", "../up", "a/../b", "a//b", "", "run.json", "logs/x", "timing.jsonl", ".lock", "a/.b", "x.tmp", "x.old/y",
                                      "x.part", "a/", "."};
    char to[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(to, sizeof to, "makes: [\"%s\"]", bad[i]);
        CHECK_FAIL(refuse(with("makes: rows.jsonl", to), e), TN_ARG, "is no product");
    }
    CHECK_FAIL(refuse(with("makes: rows.jsonl", "makes: [rows.jsonl, deep]"), e), TN_ARG, "'deep/model' is made by stage 'rows' already");
    CHECK_FAIL(refuse(with("makes: rows.jsonl", "makes: [rows.jsonl, rows.jsonl/x]"), e), TN_ARG, "is made by stage 'rows' already");
    CHECK_OK(refuse(with("makes: rows.jsonl", "makes: [rows.jsonl, rows.jsonl.gz]"), e));
}

TEST(recipe_hostile) {
    tn_str t = TN_STR_INIT;
    static const char nul[] = "name: a\nvars: {x: \"a\\0b\"}\nstages: []\n", nul_value[] = "name: a\nstages:\n  - name: a\n    report: {title: \"a\\0b\"}\n";
    CHECK_FAIL(refuse("name: a\nabout: &x b\nstages: *x\n", e), TN_FORMAT, "anchors");
    CHECK_FAIL(refuse("name: a\nname: b\n", e), TN_FORMAT, "written twice");
    CHECK_FAIL(refuse("name: \xff\xfe\n", e), TN_FORMAT, "r.yaml");
    CHECK_FAIL(refuse("name: a\n---\nname: b\n", e), TN_FORMAT, "second document");
    CHECK_FAIL(refuse(nul, e), TN_ARG, "NUL byte");
    CHECK_FAIL(refuse(nul_value, e), TN_ARG, "r.yaml:4:14: a NUL byte");
    tn_str_addz(&t, "name: a\nstages: ");
    for (int i = 0; i < 100000; i++) tn_str_addc(&t, '[');
    CHECK_FAIL(refuse(t.s, e), TN_FORMAT, "r.yaml");
    tn_str_clear(&t);
    tn_str_addz(&t, "name: a\nstages:\n");
    for (int i = 0; i <= TN_RECIPE_STAGES; i++) tn_str_addf(&t, "- {name: s%d, doctor: }\n", i);
    CHECK_FAIL(refuse(t.s, e), TN_ARG, "more than 1000 stages");
    tn_str_clear(&t);
    tn_str_addz(&t, "name: a\nstages:\n- name: a\n  doctor:\n  makes: [");
    for (int i = 0; i <= TN_RECIPE_MAKES; i++) tn_str_addf(&t, "p%d,", i);
    tn_str_addz(&t, "]\n");
    CHECK_FAIL(refuse(t.s, e), TN_ARG, "more than 4096 products");
    /* a small text that would be a terabyte */
    tn_str_clear(&t);
    tn_str_addz(&t, "name: a\nvars: {x: ");
    for (int i = 0; i < 1000000; i++) tn_str_addc(&t, 'x');
    tn_str_addz(&t, "}\nabout: ");
    for (int i = 0; i < 200000; i++) tn_str_addz(&t, "${x}");
    tn_str_addz(&t, "\nstages: []\n");
    CHECK_FAIL(refuse(t.s, e), TN_ARG, "longer than 1048576 bytes");
    tn_str_free(&t);
}

TEST(recipe_mutated) {
    tn_str m = TN_STR_INIT, other = TN_STR_INIT;
    CHECK_OK(tn_read_file("recipes/constitutional.yaml", &other, 0, e));
    for (uint64_t i = 0; i < tn_fuzz_rounds(3000); i++) {
        tn_recipe *r;
        tn_err e = {0};
        bool small = i % 8 != 0;
        tn_mutate(&m, small ? good : other.s, small ? sizeof good - 1 : other.len, small ? other.s : good, small ? other.len : sizeof good - 1, i);
        tn_status st = parse_n(&r, m.s, m.len, (tn_opt_list){0}, &e);
        CHECK((st == TN_OK) == (r != NULL) && (st == TN_OK || strstr(e.msg, "r.yaml") || strlen(e.msg) > 700));
        for (int k = 0; r && k < r->n; k++) CHECK(r->stage[k].verb && r->stage[k].argc > 0 && !r->stage[k].argv[r->stage[k].argc]);
        tn_recipe_free(r);
    }
    tn_str_free(&m);
    tn_str_free(&other);
}

/* ---- run.json ---- */

typedef struct folder {
    char dir[600], path[700], text[4096];
    tn_recipe *r;
    tn_run_state *s;
} folder;

static const char *at(folder *f, const char *name) {
    snprintf(f->path, sizeof f->path, "%s/%s", f->dir, name);
    return f->path;
}

static void put(folder *f, const char *name, const char *text) { CHECK_OK(tn_write_file(at(f, name), text, strlen(text), e)); }

/* A copy of rows, and a split of the copy. */
static void reopen(folder *f, const char *copy, const char *first) {
    tn_run_state_free(f->s);
    tn_recipe_free(f->r);
    f->s = NULL;
    snprintf(f->text, sizeof f->text,
             "name: two\nstages:\n  - name: %s\n    select: {data: %s/in.jsonl, first: %s, out: \"${out}/copy\"}\n    makes: copy\n"
             "  - name: cut\n    split: {data: \"${out}/copy\", train-out: \"${out}/cut/a\", held-out: \"${out}/cut/b\"}\n    makes: [cut/a, cut/b]\n",
             copy, f->dir, first);
    CHECK_OK(tn_recipe_parse(&f->r, f->text, strlen(f->text), "r.yaml", tn_verbs, at(f, "o"), (tn_opt_list){0}, e));
    if (f->r) CHECK_OK(tn_run_state_open(&f->s, f->r, e));
}

static void expect(folder *f, int stage, tn_stage_state want, const char *why, int line) {
    tn_stage_state is = TN_STAGE_NEW;
    tn_str t = TN_STR_INIT;
    CHECK_OK(tn_run_state_of(f->s, stage, &is, &t, e));
    CHECK_MSG(is == want && strstr(t.s, why), "line %d: %s (%s)", line, tn_stage_state_text[is], t.s);
    tn_str_free(&t);
}
#define EXPECT(stage, want, why) expect(&f, stage, want, why, __LINE__)

TEST(recipe_state) {
    folder f = {.s = NULL};
    snprintf(f.dir, sizeof f.dir, "%s", tn_test_dir());
    CHECK_OK(tn_mkdirs(at(&f, "o/cut"), e));
    put(&f, "in.jsonl", "{}\n");
    put(&f, "o/copy", "somebody's\n");
    reopen(&f, "copy", "1");
    EXPECT(0, TN_STAGE_FOREIGN, "copy");
    CHECK_OK(tn_remove_tree(at(&f, "o/copy"), e));
    reopen(&f, "copy", "1");
    EXPECT(0, TN_STAGE_NEW, "");
    CHECK_OK(tn_run_state_begin(f.s, 0, TN_STAGE_NEW, e));
    EXPECT(0, TN_STAGE_BEGUN, "");
    CHECK_FAIL(tn_run_state_done(f.s, 0, e), TN_STATE, "stage 'copy' has left no");
    put(&f, "o/copy", "{}\n");
    put(&f, "o/copy.part", "a beginning");
    reopen(&f, "copy", "1"); /* killed */
    EXPECT(0, TN_STAGE_BEGUN, "");
    CHECK_OK(tn_run_state_begin(f.s, 0, TN_STAGE_BEGUN, e)); /* select cannot go on: anew, but a journal stays */
    CHECK(!tn_exists(at(&f, "o/copy")) && tn_exists(at(&f, "o/copy.part")));
    put(&f, "o/copy", "{}\n");
    CHECK_OK(tn_run_state_done(f.s, 0, e));
    CHECK_OK(tn_run_state_begin(f.s, 1, TN_STAGE_NEW, e));
    put(&f, "o/cut/a", "1");
    put(&f, "o/cut/b", "2");
    CHECK_OK(tn_run_state_done(f.s, 1, e));
    tn_str first = TN_STR_INIT, again = TN_STR_INIT;
    CHECK_OK(tn_read_file(at(&f, "o/run.json"), &first, 0, e));
    CHECK(strstr(first.s, "${out}/copy") && !strstr(first.s, "/o/copy"));
    reopen(&f, "copy", "1");
    EXPECT(0, TN_STAGE_DONE, "");
    EXPECT(1, TN_STAGE_DONE, "");
    put(&f, "in.jsonl", "{}\n"); /* the same contents */
    reopen(&f, "copy", "1");
    EXPECT(0, TN_STAGE_DONE, "");
    put(&f, "in.jsonl", "{ }\n");
    reopen(&f, "copy", "1");
    EXPECT(0, TN_STAGE_STALE, "in.jsonl is another");
    EXPECT(1, TN_STAGE_DONE, "");
    put(&f, "in.jsonl", "{}\n");
    reopen(&f, "copy", "2");
    EXPECT(0, TN_STAGE_STALE, "--first 2 was 1");
    put(&f, "o/copy", "edited");
    reopen(&f, "copy", "2"); /* what somebody has edited is not to be removed, whatever else has changed */
    EXPECT(0, TN_STAGE_CHANGED, "copy");
    EXPECT(1, TN_STAGE_STALE, "${out}/copy is another");
    reopen(&f, "other", "1");
    EXPECT(0, TN_STAGE_FOREIGN, "copy");
    put(&f, "o/copy", "{}\n");
    reopen(&f, "other", "1"); /* the stage has another name */
    EXPECT(0, TN_STAGE_STALE, "copy");
    CHECK_OK(tn_remove_tree(at(&f, "o/cut/b"), e));
    reopen(&f, "copy", "1");
    EXPECT(1, TN_STAGE_NEW, "cut/b is gone");
    CHECK_OK(tn_run_state_begin(f.s, 1, TN_STAGE_NEW, e));
    CHECK(!tn_exists(at(&f, "o/cut/a")));
    put(&f, "o/cut/a", "1");
    put(&f, "o/cut/b", "2");
    CHECK_OK(tn_run_state_done(f.s, 1, e));
    CHECK_OK(tn_read_file(at(&f, "o/run.json"), &again, 0, e));
    CHECK(first.len == again.len && !memcmp(first.s, again.s, first.len));
    put(&f, "o/run.json", "{\"recipe\": \"one\", \"stages\": []}");
    tn_run_state *s = NULL;
    CHECK_FAIL(tn_run_state_open(&s, f.r, e), TN_STATE, "holds a run of the recipe 'one', not of 'two'");
    tn_run_state_free(s);
    put(&f, "o/run.json", "{\"recipe\": \"two\", \"stages\": [{\"name\": \"copy\", \"state\": 3, \"makes\": []}, {\"name\": \"cut\", \"state\": \"done\"}]}");
    reopen(&f, "copy", "1"); /* nonsense is no record */
    EXPECT(0, TN_STAGE_FOREIGN, "copy");
    EXPECT(1, TN_STAGE_STALE, "its command is another");
    put(&f, "o/run.json", "{\"recipe\": \"two\", \"stages\": [3]}");
    CHECK_FAIL(tn_run_state_open(&s, f.r, e), TN_FORMAT, "run.json");
    tn_run_state_free(s);
    tn_run_state_free(f.s);
    tn_recipe_free(f.r);
    tn_str_free(&first);
    tn_str_free(&again);
}
