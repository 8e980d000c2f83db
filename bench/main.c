/* bench: measures the parts that are asked for and writes OUT.json, OUT.md and OUT.svg. `make bench` and
 * `make bench-peers` call it; `build/bench/bench --help` lists the options. */
#include "bench.h"
#include "base/log.h"
#include "base/os.h"
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "bench [--option value]...\n"
    "  --parts \"...\"    gemm ops step decode launch sft dpo reward grpo rloo ppo (all)\n"
    "  --sizes \"...\"    20M 135M tiny (20M 135M)\n"
    "  --data FILE      comparisons, JSONL or .jsonl.gz; without it rows of the built-in world\n"
    "  --model DIR      tokenizer and template of the rows; without it the built-in world's\n"
    "  --peers PYTHON   an interpreter with torch, transformers and trl\n"
    "  --peers-ppo PY   one with trl 0.19.1\n"
    "  --gguf FILE      a 135M model for llama.cpp\n"
    "  --repeats N      samples of every side (5)\n"
    "  --only TEXT      cases whose name contains it\n"
    "  --kernels NAME   of the cpu backend; --threads N\n"
    "  --work DIR       where models and runs go (build/bench/work); --out PATH (bench/results/results)\n"
    "  --quick          two repeats of few cases: does it work?\n";

static const struct part {
    const char *name;
    tn_status (*run)(bench *, tn_err *);
} parts[] = {{"gemm", bench_products}, {"ops", bench_operations}, {"step", bench_steps}, {"decode", bench_decode},
             {"launch", bench_launch}, {"sft", bench_runs},       {"dpo", bench_runs},   {"reward", bench_runs},
             {"grpo", bench_runs},     {"rloo", bench_runs},      {"ppo", bench_runs}};
#define PARTS (sizeof parts / sizeof *parts)

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
    return false;
}

static tn_status read_options(int argc, char **argv, bench_options *o, tn_err *e) {
    const struct { const char *name; const char **to; } text[] = {
        {"--parts", &o->parts}, {"--sizes", &o->sizes}, {"--data", &o->data}, {"--model", &o->model},
        {"--peers", &o->peers}, {"--peers-ppo", &o->peers_ppo}, {"--gguf", &o->gguf}, {"--only", &o->only},
        {"--kernels", &o->kernels}, {"--work", &o->work}, {"--out", &o->out}};
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : NULL;
        size_t k = 0;
        if (strcmp(argv[i], "--quick") == 0) {
            o->quick = true;
            continue;
        }
        while (k < sizeof text / sizeof *text && strcmp(argv[i], text[k].name) != 0) k++;
        if (!v) return tn_fail(e, TN_ARG, "%s: no such option, or its value is missing\n%s", argv[i], help);
        if (k < sizeof text / sizeof *text) *text[k].to = *v ? v : NULL;
        else if (strcmp(argv[i], "--repeats") == 0) o->repeats = (int)strtol(v, NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0) o->threads = (int)strtol(v, NULL, 10);
        else return tn_fail(e, TN_ARG, "%s: no such option\n%s", argv[i], help);
        i++;
    }
    if (o->quick) o->repeats = 2;
    if (o->repeats < 1 || o->repeats > BENCH_SAMPLES)
        return tn_fail(e, TN_ARG, "--repeats %d: expected 1 to %d", o->repeats, BENCH_SAMPLES);
    for (const char *p = o->parts; *p;) {
        char word[24];
        size_t n = strcspn(p, " "), k = 0;
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        while (k < PARTS && strcmp(parts[k].name, word) != 0) k++;
        if (n && k == PARTS) return tn_fail(e, TN_ARG, "--parts: no part '%s'\n%s", word, help);
        p += n + strspn(p + n, " ");
    }
    return TN_OK;
}

/* As it was typed, but for folders of one machine. */
static void record_command(int argc, char **argv, tn_str *s) {
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *slash = a[0] == '/' ? strrchr(a, '/') + 1 : a;
        tn_str_addf(s, strchr(a, ' ') ? "%s\"%s\"" : "%s%s", i ? " " : "", slash);
    }
}

static tn_status run(bench *b, tn_err *e) {
    tn_str dir = TN_STR_INIT;
    const bench_options *o = &b->o;
    TN_TRY(tn_mkdirs(o->work, e));
    const char *slash = strrchr(o->out, '/');
    if (slash) tn_str_add(&dir, o->out, (size_t)(slash - o->out));
    tn_status st = slash ? tn_mkdirs(dir.s, e) : TN_OK;
    tn_str_free(&dir);
    TN_TRY(st);
    TN_TRY(tn_backend_open(&b->bf16, "cpu", TN_BF16, o->kernels, o->threads, e));
    TN_TRY(tn_backend_open(&b->f32, "cpu", TN_F32, NULL, o->threads, e));
    TN_TRY(bench_load(b, e));
    if (o->peers) TN_TRY(bench_worker_open(&b->worker, o, e));
    printf("%s and %s kernels, %d threads; peaks %.0f (f32) and %.0f GFLOP/s (bf16), reading 512 MB %.1f GB/s\n",
           b->f32->kernels, b->bf16->kernels, tn_pool_threads(b->bf16->pool), bench_peak(b->f32) * 1e-9,
           bench_peak(b->bf16) * 1e-9, bench_read(b->f32, (size_t)512 << 20) * 1e-9);
    for (size_t i = 0; i < PARTS; i++) {
        if (!has_word(o->parts, parts[i].name)) continue;
        double t0 = tn_now();
        bench_part_begin(b, parts[i].name);
        TN_TRY(parts[i].run(b, e));
        printf("  (%.0f s)\n", tn_now() - t0);
        TN_TRY(bench_save(b, e));
    }
    printf("\nwritten: %s.json, .md, .svg\n", o->out);
    return TN_OK;
}

int main(int argc, char **argv) {
    tn_err e = {0};
    tn_str command = TN_STR_INIT;
    bench b = {.o = {.parts = "gemm ops step decode launch sft dpo reward grpo rloo ppo", .sizes = "20M 135M",
                     .work = "build/bench/work", .out = "bench/results/results", .tenet = "build/tenet",
                     .script = "bench/peers.py", .repeats = 5}};
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (getenv("TENET_BIN")) b.o.tenet = getenv("TENET_BIN");
    record_command(argc, argv, &command);
    b.o.command = command.s;
    tn_log_set_level(TN_LOG_WARN);
    tn_status st = read_options(argc, argv, &b.o, &e);
    if (st == TN_OK) st = run(&b, &e);
    if (st != TN_OK) tn_log_error(&e);
    bench_worker_close(b.worker);
    json_decref(b.results);
    tn_backend_free(b.bf16);
    tn_backend_free(b.f32);
    tn_str_free(&command);
    return st == TN_OK ? 0 : st == TN_ARG ? 2 : 1;
}
