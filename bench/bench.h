/* Measurements: every number beside the machine's own ceiling, and beside other programs' (peers).
 *
 * A case has sides: tenet, a bound, peers. Each repeat takes one sample of every side, one after
 * the other, so that other work on the machine slows them alike; ratios are of one repeat, and what
 * is printed is the median of the repeats with the least and the largest.
 *
 *   main.c        options, the parts in their order          ceilings.c  matrix peak, read bandwidth
 *   products.c    part gemm                                  step.c      part step
 *   operations.c  part ops                                   decode.c    part decode
 *   runs.c        parts launch, sft, dpo, reward, grpo, rloo, ppo: whole runs of the binary
 *   inputs.c      models of random weights, rows             child.c     programs run beside this one
 *   results.c     JSON, Markdown                             plot.c      SVG
 *   peers.py      PyTorch, transformers, TRL: answers requests, one JSON object a line */
#ifndef TN_BENCH_H
#define TN_BENCH_H
#include "base/json.h"
#include "model/model.h"
#include <math.h>

typedef struct bench_options {
    const char *parts, *sizes;      /* lists with blanks */
    const char *data, *model, *gguf; /* of the user; NULL: the built-in world's rows and tokenizer */
    const char *peers, *peers_ppo;  /* python interpreters; NULL: none */
    const char *work, *out;         /* folder of inputs and runs; path of the results without ending */
    const char *tenet, *script;     /* the binary, peers.py */
    const char *kernels, *only;     /* only: cases whose name contains it */
    const char *command;            /* as typed, for the record */
    int threads, repeats;
    bool quick;
} bench_options;

typedef struct bench_worker bench_worker;
typedef struct bench {
    bench_options o;
    tn_backend *bf16, *f32;
    json_t *results;       /* root of the results' file */
    const char *part;      /* at work */
    bench_worker *worker;  /* peers.py; NULL: none */
} bench;

/* ---- results.c ---- */
#define BENCH_SIDES 6
#define BENCH_SAMPLES 32
typedef double bench_fn(void *ctx); /* one sample; NAN: not to be had */
typedef struct bench_side {
    const char *name;
    bench_fn *fn;
    void *ctx;
    int n;
    double v[BENCH_SAMPLES];
} bench_side;
typedef struct bench_case {
    char name[80], note[240];
    const char *unit;
    bool low;  /* the lower the better */
    bool plot; /* has a place in the picture */
    int n_side;
    bench_side side[BENCH_SIDES];
} bench_case;
bench_case bench_begin(const char *unit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void bench_add(bench_case *c, const char *name, bench_fn *fn, void *ctx);
void bench_put(bench_case *c, const char *side, double sample); /* a sample taken otherwise */
/* Samples all sides in turns, `repeats` times, after one round that is not kept. False when --only
 * leaves the case out. */
bool bench_wanted(const bench *b, const bench_case *c);
void bench_measure(bench *b, bench_case *c, int repeats, bool warm);
/* Prints the case and adds it to the results of the part. */
void bench_end(bench *b, const bench_case *c);
/* A message under the part's table: what was left out and why. */
void bench_note(bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

typedef struct bench_range { double median, least, most; int n; } bench_range;
bench_range bench_range_of(const json_t *samples);
bool bench_is_bound(const char *side); /* "bound", "bound: ..."; what is told is the share reached */
/* How many times better the first side is than the other: of each repeat where both have as many. */
bench_range bench_ratio(const json_t *a, const json_t *b, bool low);
tn_status bench_load(bench *b, tn_err *e);   /* earlier results: parts that are not run stay */
void bench_part_begin(bench *b, const char *part);
tn_status bench_save(bench *b, tn_err *e);   /* OUT.json, OUT.md, OUT.svg */
void bench_plot(const json_t *parts, tn_str *svg);

/* ---- ceilings.c: samples of about 20 ms ---- */
double bench_peak(tn_backend *b);                /* FLOP/s of the backend's multiply-add from registers */
double bench_read(tn_backend *b, size_t bytes);  /* bytes/s of reading a buffer of that size again and again */
/* Calls fn until 20 ms are over; seconds of one call. */
double bench_seconds(void (*fn)(void *), void *ctx);

/* ---- inputs.c ---- */
typedef struct bench_size {
    const char *name;
    int hidden, layers, heads, kv_heads, ffn, vocab;
} bench_size;
/* The i-th of --sizes; NULL past the last. */
const bench_size *bench_size_at(const bench *b, int i);
/* Folder with a model of that size and random weights, and the tokenizer of --model; made when it is
 * not there. reward: with a score head. */
tn_status bench_model(bench *b, const bench_size *s, bool reward, tn_str *dir, tn_err *e);
/* Files of rows, made of --data: "pairs" {"prompt","chosen","rejected"}, "chats" {"messages"}, "prompts"
 * {"prompt"}. */
tn_status bench_rows(bench *b, const char *kind, tn_str *path, tn_err *e);
#define BENCH_MAX_LENGTH 512

/* ---- child.c ---- */
typedef struct bench_child {
    const char *const *argv;
    const char *log;           /* stdout and stderr go there */
    const char *mark;          /* a file; `marked` is when it first was there */
    int status;                /* exit status; 128 + signal */
    double seconds, marked;    /* since the start; NAN */
    double peak;               /* bytes resident, less clean file-mapped pages, looked at every 5 ms */
} bench_child;
tn_status bench_run_child(bench_child *c, tn_err *e);
/* Seconds from the start of a program to its first byte on standard output. */
double bench_first_byte(const char *const *argv);
tn_status bench_worker_open(bench_worker **w, const bench_options *o, tn_err *e);
void bench_worker_close(bench_worker *w);
/* Sends the request (reference taken over) and waits. NULL without a worker or when it failed: the reason
 * is noted once. */
json_t *bench_ask(bench *b, json_t *request);
double bench_ask_number(bench *b, json_t *request); /* member "value"; NAN */

/* ---- parts ---- */
tn_status bench_products(bench *b, tn_err *e);
tn_status bench_operations(bench *b, tn_err *e);
tn_status bench_steps(bench *b, tn_err *e);
tn_status bench_decode(bench *b, tn_err *e);
tn_status bench_launch(bench *b, tn_err *e);
tn_status bench_runs(bench *b, tn_err *e); /* the method is b->part */
#endif
