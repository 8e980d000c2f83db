/* Whole runs: the binary from its start, and TRL on the same rows in the same order.
 *
 * Speed is tokens per second (rollout methods: steps per second) from the end of one step to the end of the
 * next, the first step left out; tokens are counted as TRL does, without padding, a shared prompt once for each
 * response. Launch: from the start of the process to the start of training. Memory: the largest resident set less
 * clean file-mapped pages, looked at from outside, the same for both. */
#include "bench.h"
#include "base/os.h"
#include <stdlib.h>
#include <string.h>

#define ARGS 64

typedef struct method {
    const char *name, *rows, *batch;
    bool rollouts, reward_model;
    int steps; /* of the small model, the first of which does not count; TRL's pace decides. The large one: half, 3 at least */
    const char *const *options; /* of tenet, beyond those of every run */
} method;

static const char *const sft_options[] = {NULL};
static const char *const dpo_options[] = {"--beta", "0.1", NULL};
static const char *const rl_options[] = {"--num-generations", "8", "--max-completion-length", "64", "--beta", "0.05", NULL};
static const char *const rloo_options[] = {"--num-generations", "8", "--max-completion-length", "64", NULL};
static const char *const ppo_options[] = {"--rollouts", "16", "--minibatch-size", "16", "--num-ppo-epochs", "4",
                                          "--response-length", "64", "--missing-eos-penalty", "1", NULL};
static const method methods[] = {{"sft", "chats", "8", false, false, 6, sft_options},
                                 {"dpo", "pairs", "4", false, false, 6, dpo_options},
                                 {"reward", "pairs", "4", false, false, 16, sft_options},
                                 {"grpo", "prompts", "16", true, true, 4, rl_options},
                                 {"rloo", "prompts", "16", true, true, 4, rloo_options},
                                 {"ppo", "prompts", "16", true, true, 4, ppo_options}};

typedef struct run {
    bench *b;
    const method *m;
    const bench_size *size;
    tn_str model, reward, rows, out, log, mark;
    int steps;
    bench_child child;
    double seconds[BENCH_SAMPLES], tokens[BENCH_SAMPLES]; /* of each step */
    int n;
    double launch, plan; /* plan: bytes that the run announced; NAN */
} run;

/* ---- what a run of tenet leaves ---- */

/* Numbers `key` of the lines of a JSONL file. */
static int read_numbers(const char *path, const char *key, double *v) {
    tn_lines *in = NULL;
    json_t *row;
    int n = 0;
    if (tn_lines_open(&in, path, 1 << 20, NULL) != TN_OK) return 0;
    while (tn_jsonl_next(in, path, &row, NULL) == TN_OK && row) {
        json_t *x = json_object_get(row, key);
        if (json_is_number(x) && n < BENCH_SAMPLES) v[n++] = json_number_value(x);
        json_decref(row);
    }
    tn_lines_close(in);
    return n;
}

/* "... = 4423 MB" of the line that begins with "memory:". */
static double announced(const char *log) {
    tn_str s = TN_STR_INIT;
    double mb = NAN;
    if (tn_read_file(log, &s, 1 << 22, NULL) == TN_OK) {
        const char *p = strstr(s.s, "memory:"), *end = p ? strchr(p, '\n') : NULL;
        for (const char *q = p; q && q < end; q = strstr(q + 1, " = "))
            if (strncmp(q, " = ", 3) == 0) mb = strtod(q + 3, NULL);
    }
    tn_str_free(&s);
    return mb * 1e6;
}

static tn_status own_run(run *r, tn_err *e) {
    const bench *b = r->b;
    char steps[16], threads[16], length[16];
    snprintf(steps, sizeof steps, "%d", r->steps);
    snprintf(threads, sizeof threads, "%d", b->o.threads);
    snprintf(length, sizeof length, "%d", BENCH_MAX_LENGTH);
    const char *argv[ARGS] = {b->o.tenet, r->m->name, "--model", r->model.s, "--data", r->rows.s, "--output-dir", r->out.s,
                              "--overwrite", "--save-steps", "0", "--learning-rate", "1e-5", "--threads", threads,
                              "--train-sampling-strategy", "sequential", "--max-length", length};
    int n = 19;
    bool ppo = strcmp(r->m->name, "ppo") == 0;
    const char *count = ppo ? "--iterations" : "--max-steps";
    argv[n++] = count, argv[n++] = steps;
    if (!ppo) argv[n++] = "--per-device-train-batch-size", argv[n++] = r->m->batch;
    if (r->m->reward_model) argv[n++] = "--reward-model", argv[n++] = r->reward.s;
    for (const char *const *o = r->m->options; *o; o++) argv[n++] = *o;
    tn_path_join(&r->mark, r->out.s, "timing.jsonl");
    tn_path_join(&r->log, b->o.work, "tenet.log");
    TN_TRY(tn_remove_tree(r->out.s, e));
    r->child = (bench_child){.argv = argv, .log = r->log.s, .mark = r->mark.s};
    TN_TRY(bench_run_child(&r->child, e));
    if (r->child.status != 0)
        return tn_fail(e, TN_STATE, "tenet %s ended with status %d; see %s", r->m->name, r->child.status, r->log.s);
    r->launch = r->child.marked;
    r->plan = announced(r->log.s);
    r->n = read_numbers(r->mark.s, "step_seconds", r->seconds);
    tn_path_join(&r->mark, r->out.s, "metrics.jsonl");
    int k = read_numbers(r->mark.s, "num_tokens", r->tokens);
    if (k != r->n) return tn_fail(e, TN_FORMAT, "%s: %d entries for %d steps", r->mark.s, k, r->n);
    for (int i = k - 1; i > 0; i--) r->tokens[i] -= r->tokens[i - 1];
    return TN_OK;
}

/* ---- TRL ---- */

static int json_numbers(const json_t *a, double *v) {
    int n = 0;
    for (size_t i = 0; i < json_array_size(a) && n < BENCH_SAMPLES; i++) v[n++] = json_number_value(json_array_get(a, i));
    return n;
}

static tn_status trl_run(run *r, tn_err *e) {
    const bench *b = r->b;
    bool ppo = strcmp(r->m->name, "ppo") == 0;
    char steps[16], threads[16];
    snprintf(steps, sizeof steps, "%d", r->steps);
    snprintf(threads, sizeof threads, "%d", tn_pool_threads(b->bf16->pool));
    tn_str result = TN_STR_INIT;
    json_t *j = NULL;
    tn_path_join(&result, b->o.work, "trl.json");
    tn_path_join(&r->mark, b->o.work, "trl.began");
    tn_path_join(&r->log, b->o.work, "trl.log");
    const char *argv[] = {ppo ? b->o.peers_ppo : b->o.peers, b->o.script, "trl", threads, r->m->name, r->model.s, r->rows.s,
                          steps, r->reward.s, result.s, r->mark.s, NULL};
    tn_status st;
    TN_GO(tn_remove_tree(result.s, e), done);
    TN_GO(tn_remove_tree(r->mark.s, e), done);
    r->child = (bench_child){.argv = argv, .log = r->log.s, .mark = r->mark.s};
    TN_GO(bench_run_child(&r->child, e), done);
    if (r->child.status != 0)
        st = tn_fail(e, TN_STATE, "TRL's %s ended with status %d; see %s", r->m->name, r->child.status, r->log.s);
    if (st == TN_OK) TN_GO(tn_json_load(result.s, &j, e), done);
    r->launch = r->child.marked;
    r->n = json_numbers(json_object_get(j, "seconds"), r->seconds);
    if (json_numbers(json_object_get(j, "tokens"), r->tokens) != r->n)
        for (int i = 0; i < r->n; i++) r->tokens[i] = NAN;
done:
    json_decref(j);
    tn_str_free(&result);
    return st;
}

/* ---- cases ---- */

typedef struct cases { bench_case speed, memory, launch; } cases;

static void put_run(cases *c, const run *r, const char *side) {
    for (int i = 1; i < r->n; i++) bench_put(&c->speed, side, (r->m->rollouts ? 1 : r->tokens[i]) / r->seconds[i]);
    bench_put(&c->memory, side, r->child.peak * 1e-6);
    bench_put(&c->launch, side, r->launch);
}

/* TRL took as many tokens in every step as tenet: the same rows. */
static bool same_tokens(const run *r, const double *tokens, int n) {
    bool same = n == r->n;
    for (int i = 0; same && i < n; i++) same = tokens[i] == r->tokens[i];
    return same;
}

static tn_status one(run *r, tn_err *e) {
    bench *b = r->b;
    double tokens[BENCH_SAMPLES];
    cases c = {bench_begin(r->m->rollouts ? "steps/s" : "tok/s", "%s speed", r->size->name),
               bench_begin("MB", "%s peak memory", r->size->name),
               bench_begin("s", "%s launch to first step", r->size->name)};
    c.speed.plot = c.memory.plot = c.launch.plot = true;
    c.memory.low = c.launch.low = true;
    if (!bench_wanted(b, &c.speed)) return TN_OK;
    bool ppo = strcmp(r->m->name, "ppo") == 0, peer = ppo ? b->o.peers_ppo != NULL : b->o.peers != NULL;
    if (b->o.peers && !peer) bench_note(b, "TRL 0.19.1, the last one with a PPO trainer, is not there (make bench-peers-ppo)");
    int turns = r->size->layers > 8 ? 1 : 2; /* runs of tenet around one of TRL */
    for (int turn = 0; turn < turns; turn++) {
        TN_TRY(own_run(r, e));
        put_run(&c, r, "tenet");
        if (!isnan(r->plan)) bench_put(&c.memory, "bound: the plan", r->plan * 1e-6);
        int n = r->n;
        memcpy(tokens, r->tokens, sizeof tokens);
        if (turn > 0 || !peer) continue;
        tn_err why = {0};
        if (trl_run(r, &why) != TN_OK) {
            bench_note(b, "%s: %s", r->size->name, why.msg);
            continue;
        }
        put_run(&c, r, "TRL");
        if (!r->m->rollouts)
            snprintf(c.speed.note, sizeof c.speed.note, "%s token counts in every step",
                     same_tokens(r, tokens, n) ? "equal" : "UNEQUAL");
    }
    bench_end(b, &c.speed);
    bench_end(b, &c.memory);
    bench_end(b, &c.launch);
    return TN_OK;
}

static bool has_verb(const bench *b, const char *verb) {
    const char *argv[] = {b->o.tenet, verb, "--help", NULL};
    bench_child c = {.argv = argv, .log = "/dev/null"};
    return bench_run_child(&c, NULL) == TN_OK && c.status == 0;
}

tn_status bench_runs(bench *b, tn_err *e) {
    const method *m = methods;
    while (m < methods + sizeof methods / sizeof *methods && strcmp(m->name, b->part) != 0) m++;
    if (!has_verb(b, m->name)) {
        bench_note(b, "this tenet has no verb %s", m->name);
        return TN_OK;
    }
    run r = {.b = b, .m = m};
    tn_str *all[] = {&r.model, &r.reward, &r.rows, &r.out, &r.log, &r.mark};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = (tn_str)TN_STR_INIT;
    tn_path_join(&r.out, b->o.work, "run");
    tn_status st = bench_rows(b, m->rows, &r.rows, e);
    for (int i = 0; st == TN_OK && (r.size = bench_size_at(b, i)); i++) {
        bool large = r.size->layers > 8;
        if (m->rollouts && large && strcmp(m->name, "grpo") != 0) continue; /* minutes of TRL for no more insight */
        r.steps = b->o.quick ? 2 : !large ? m->steps : m->steps > 6 ? m->steps / 2 : 3;
        TN_GO(bench_model(b, r.size, false, &r.model, e), done);
        if (m->reward_model) TN_GO(bench_model(b, r.size, true, &r.reward, e), done);
        st = one(&r, e);
    }
done:
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tn_str_free(all[i]);
    return st;
}

/* ---- part launch ---- */

static double first_token(void *ctx) {
    const char *const *argv = ctx;
    return bench_first_byte(argv);
}

tn_status bench_launch(bench *b, tn_err *e) {
    tn_str dir = TN_STR_INIT, prompt = TN_STR_INIT;
    const bench_size *s;
    tn_status st;
    tn_path_join(&prompt, b->o.work, "one.jsonl");
    TN_GO(tn_write_file(prompt.s, "{\"ids\": [1]}\n", 13, e), done);
    for (int i = 0; st == TN_OK && (s = bench_size_at(b, i)); i++) {
        TN_GO(bench_model(b, s, false, &dir, e), done);
        const char *argv[] = {b->o.tenet, "generate", "--model", dir.s, "--input", prompt.s, "--max-new-tokens", "1", NULL};
        bench_case c = bench_begin("s", "%s start to first token", s->name);
        c.low = true;
        if (!bench_wanted(b, &c)) continue;
        bench_add(&c, "tenet", first_token, argv);
        bench_measure(b, &c, b->o.repeats, true);
        bench_end(b, &c);
    }
done:
    tn_str_free(&dir);
    tn_str_free(&prompt);
    return st;
}
