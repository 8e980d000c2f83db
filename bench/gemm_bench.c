/* Speed of the matrix products, beside the machine's own ceilings measured in the same run.
 *
 *   gemm_bench [--dtype f32|bf16] [--kernels NAME] [--threads N] [--op fwd|dx|dw|head|head-bwd|pack]
 *              [--m M,M,...] [--shape KxN,KxN,...] [--runs R] [--cpu-time] [--quick]
 *
 * One line a case: operation, shape, median, best and worst GFLOP/s of R runs of at least 20 ms each,
 * and the packed weight's bytes over the median time (the bound of small M). --cpu-time counts the
 * process's processor seconds over the threads in place of the clock, for busy machines; --quick leaves
 * the ceilings out.                                                                          */
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "ops/cpu/gemm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct options {
    const char *dtype, *kernels, *op, *m, *shape;
    int threads, runs;
    bool cpu_time, quick;
} options;
static options opt = {.m = "1,4,16,64,256,1024",
                      .shape = "128x384,128x688,344x128,128x329,288x768,576x576,576x1536,1536x576,2048x2048,576x49152",
                      .runs = 7};

static double clock_now(int threads) {
    if (!opt.cpu_time) return tn_now();
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + (double)t.tv_nsec * 1e-9) / threads;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct spread { double best, median, worst; } spread; /* seconds of one call */

static spread measure(void (*fn)(void *), void *ctx, int threads) {
    double seconds[64];
    int calls = 1;
    fn(ctx);
    for (int r = 0; r < opt.runs; r++) {
        for (;;) {
            double t0 = clock_now(threads);
            for (int i = 0; i < calls; i++) fn(ctx);
            double t = clock_now(threads) - t0;
            seconds[r] = t / calls;
            if (t >= 0.02) break;
            calls = t > 0.002 ? (int)(calls * 0.025 / t) + 1 : calls * 8;
        }
    }
    qsort(seconds, (size_t)opt.runs, sizeof *seconds, by_value);
    return (spread){seconds[0], seconds[opt.runs / 2], seconds[opt.runs - 1]};
}

typedef struct product_case {
    tn_backend *b;
    const char *op;
    int m, k, n; /* y [m,n] = x [m,k] W^T */
    float *x, *y, *dw;
    tn_weight w;
    int32_t *target;
    double *out, *lse;
} product_case;

static void call(void *ctx) {
    product_case *c = ctx;
    tn_backend *b = c->b;
    tn_head h = {.rows = c->m, .x = c->x, .w = &c->w, .inv_temp = 1, .target = c->target, .logp = c->out, .lse = c->lse};
    tn_head_bwd g = {.rows = c->m, .x = c->x, .w = &c->w, .inv_temp = 1, .target = c->target, .lse = c->lse,
                     .d_logp = c->out, .dx = c->y, .dw = c->dw};
    if (!strcmp(c->op, "fwd")) tn_cpu_gemm(b, TN_SET, c->y, c->n, c->x, c->k, &c->w, NULL, c->m);
    else if (!strcmp(c->op, "dx")) tn_cpu_gemm_dx(b, TN_SET, c->x, c->k, c->y, c->n, &c->w, c->m);
    else if (!strcmp(c->op, "dw")) tn_cpu_gemm_dw(b, c->dw, c->y, c->n, c->x, c->k, c->m, c->n, c->k);
    else if (!strcmp(c->op, "head")) tn_cpu_head(b, &h);
    else if (!strcmp(c->op, "head-bwd")) tn_cpu_head_bwd(b, &g);
    else tn_cpu_weight_pack(b, &c->w);
}

static float *filled(size_t n) {
    float *p = tn_big_alloc(n * sizeof *p);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)(tn_unit_of(tn_mix(i)) - 0.5);
    return p;
}

static void one_case(tn_backend *b, const char *op, int m, int k, int n) {
    bool head = !strncmp(op, "head", 4);
    size_t nw = (size_t)n * (size_t)k, nx = (size_t)m * (size_t)k, ny = (size_t)m * (size_t)(head ? k : n);
    product_case c = {.b = b, .op = op, .m = m, .k = k, .n = n};
    float *master = filled(nw);
    size_t bytes = tn_cpu_weight_bytes(b, n, k), bytes_t = tn_cpu_weight_t_bytes(b, n, k);
    bool grad = !strcmp(op, "dw") || !strcmp(op, "head-bwd"), back = strcmp(op, "fwd") && strcmp(op, "head");
    c.w = (tn_weight){.out = n, .in = k, .master = master, .packed = tn_big_alloc(bytes),
                      .packed_t = back ? tn_big_alloc(bytes_t) : NULL};
    tn_cpu_weight_pack(b, &c.w);
    c.x = filled(nx);
    c.y = filled(ny);
    c.dw = grad ? tn_big_alloc(nw * 4) : NULL;
    c.target = tn_calloc((size_t)m, sizeof *c.target);
    c.out = tn_calloc((size_t)m, sizeof *c.out);
    c.lse = tn_calloc((size_t)m, sizeof *c.lse);
    spread s = measure(call, &c, tn_pool_threads(b->pool));
    double flop = 2.0 * m * k * n * (strcmp(op, "head-bwd") ? 1 : 3);
    if (!strcmp(op, "pack")) flop = (double)nw * 4 * 2;
    printf("%-8s %5d %5dx%-6d %8.1f  %8.1f %8.1f   %6.1f GB/s\n", op, m, k, n, flop / s.median / 1e9, flop / s.best / 1e9,
           flop / s.worst / 1e9, (double)bytes / s.median / 1e9);
    fflush(stdout);
    tn_big_free(master, nw * 4);
    tn_big_free(c.w.packed, bytes);
    if (back) tn_big_free(c.w.packed_t, bytes_t);
    tn_big_free(c.x, nx * 4);
    tn_big_free(c.y, ny * 4);
    if (c.dw) tn_big_free(c.dw, nw * 4);
    tn_free(c.target);
    tn_free(c.out);
    tn_free(c.lse);
}

/* --- ceilings --- */

typedef struct ceiling {
    const tn_kernel *kern;
    tn_pool *pool;
    uint32_t *a, *b;
    uint64_t *mem;
    uint64_t sum[64];
    int units, repeat;
} ceiling;

static void tile_share(void *ctx, size_t begin, size_t end, int thread) {
    ceiling *c = ctx;
    const tn_kernel *g = c->kern;
    float out[TN_MR_MAX * TN_NR];
    if (g->begin) g->begin();
    tn_tile t = {.m = g->mr, .units = c->units, .a = c->a, .lda = tn_row_units(c->units), .step = 1, .b = c->b, .next = c->b,
                 .c = out, .ldc = TN_NR};
    for (int i = 0; i < c->repeat; i++) g->tile(&t);
    if (g->end) g->end();
}
static void tile_peak(void *ctx) {
    ceiling *c = ctx;
    tn_pool_run(c->pool, (size_t)tn_pool_threads(c->pool), 1, tile_share, c);
}

#define READ_WORDS ((size_t)64 << 20) /* 512 MiB */
static void read_share(void *ctx, size_t begin, size_t end, int thread) {
    ceiling *c = ctx;
    uint64_t s[8] = {0};
    for (size_t i = begin; i < end; i += 8)
        for (int j = 0; j < 8; j++) s[j] += c->mem[i + (size_t)j];
    c->sum[thread % 64] = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}
static void read_all(void *ctx) {
    ceiling *c = ctx;
    tn_pool_run(c->pool, READ_WORDS, 4096, read_share, c);
}

static void cpu_name(char *name, size_t n) {
    snprintf(name, n, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            snprintf(name, n, "%s", strchr(line, ':') + 2);
            name[strcspn(name, "\n")] = 0;
            break;
        }
    if (f) fclose(f);
}

static void machine_line(tn_backend *b) {
    const tn_kernel *g = tn_kernel_of(b);
    int threads = tn_pool_threads(b->pool);
    ceiling c = {.kern = g, .pool = b->pool, .units = 128, .repeat = 2000};
    c.a = (uint32_t *)filled((size_t)TN_MR_MAX * tn_row_units(c.units));
    c.b = (uint32_t *)filled((size_t)TN_NR * (size_t)c.units);
    memset(c.a, 0, (size_t)TN_MR_MAX * tn_row_units(c.units) * 4); /* zeros: no operand is special */
    double flop = 2.0 * g->mr * TN_NR * c.units * (g->form == TN_FORM_BF16 ? 2 : 1) * c.repeat * threads;
    spread peak = measure(tile_peak, &c, threads);
    c.mem = (uint64_t *)tn_big_alloc(READ_WORDS * 8);
    memset(c.mem, 1, READ_WORDS * 8);
    spread read = measure(read_all, &c, threads);
    char name[128], date[32];
    time_t now = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d", localtime(&now));
    cpu_name(name, sizeof name);
    printf("# %s, %d threads, %s %s (%s), %s, tile from L1 %.0f GFLOP/s, read %.1f GB/s%s\n", name, threads, opt.dtype,
           b->kernels, b->profile, date, flop / peak.best / 1e9, (double)READ_WORDS * 8 / read.best / 1e9,
           opt.cpu_time ? ", processor time" : "");
    printf("# op         M     K x N      median      best    worst   weight\n");
    tn_big_free(c.mem, READ_WORDS * 8);
    tn_big_free(c.a, (size_t)TN_MR_MAX * tn_row_units(c.units) * 4);
    tn_big_free(c.b, (size_t)TN_NR * (size_t)c.units * 4);
}

static int bench(const char *dtype, const char *op) {
    opt.dtype = dtype;
    tn_backend *b;
    tn_err e = {0};
    if (tn_backend_open(&b, "cpu", strcmp(dtype, "f32") ? TN_BF16 : TN_F32, opt.kernels, opt.threads, &e) != TN_OK) {
        fprintf(stderr, "gemm_bench: %s\n", e.msg);
        return 1;
    }
    if (!opt.quick) machine_line(b);
    char m[256], s[512], *mp, *sp;
    snprintf(s, sizeof s, "%s", opt.shape);
    for (char *shape = strtok_r(s, ",", &sp); shape; shape = strtok_r(NULL, ",", &sp)) {
        int k = 0, n = 0;
        if (sscanf(shape, "%dx%d", &k, &n) != 2 || k < 1 || n < 1) {
            fprintf(stderr, "gemm_bench: shape '%s': expected KxN\n", shape);
            return 1;
        }
        snprintf(m, sizeof m, "%s", opt.m);
        for (char *rows = strtok_r(m, ",", &mp); rows; rows = strtok_r(NULL, ",", &mp))
            if ((int)strtol(rows, NULL, 10) > 0) one_case(b, op, (int)strtol(rows, NULL, 10), k, n);
    }
    tn_backend_free(b);
    return 0;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(a, "--cpu-time")) opt.cpu_time = true;
        if (!strcmp(a, "--quick")) opt.quick = true;
        if (!strcmp(a, "--cpu-time") || !strcmp(a, "--quick")) continue;
        if (!strcmp(a, "--dtype")) opt.dtype = v;
        else if (!strcmp(a, "--kernels")) opt.kernels = v;
        else if (!strcmp(a, "--op")) opt.op = v;
        else if (!strcmp(a, "--m")) opt.m = v;
        else if (!strcmp(a, "--shape")) opt.shape = v;
        else if (!strcmp(a, "--threads")) opt.threads = (int)strtol(v, NULL, 10);
        else if (!strcmp(a, "--runs")) opt.runs = (int)strtol(v, NULL, 10) < 1 ? 1 : (int)strtol(v, NULL, 10) > 64 ? 64 : (int)strtol(v, NULL, 10);
        else {
            fprintf(stderr, "gemm_bench: unknown option %s (see the head of bench/gemm_bench.c)\n", a);
            return 2;
        }
        i++;
    }
    const char *dtypes[2] = {opt.dtype ? opt.dtype : "f32", opt.dtype ? NULL : "bf16"};
    int rc = 0;
    for (int i = 0; i < 2 && dtypes[i] && !rc; i++) rc = bench(dtypes[i], opt.op ? opt.op : "fwd");
    return rc;
}
