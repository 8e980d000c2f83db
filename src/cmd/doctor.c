/* tenet doctor: what this machine has, what will run on it and how fast, and what fits. */
#include "base/machine.h"
#include "base/os.h"
#include "cmd/verbs.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/features.h"
#include "ops/rate.h"
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zlib.h>

typedef struct doctor_options {
    int64_t threads;
    const char *folder;
    bool json, measure;
} doctor_options;

#define AT(field) offsetof(doctor_options, field)
static const tn_opt_row rows[] = {
    {"json", TN_OPT_BOOL, AT(json), "false", NULL, 0, 0, NULL, NULL,
     "One JSON object (bytes, seconds, operations per second) and not a page."},
    {"measure", TN_OPT_BOOL, AT(measure), "true", NULL, 0, 0, NULL, NULL,
     "Measure matrix products, memory and disk, which takes a few seconds."},
    {"folder", TN_OPT_STRING, AT(folder), ".", NULL, 0, 0, NULL, "DIR",
     "Where the disk is measured; a small file is written and removed."},
    {"threads", TN_OPT_INT, AT(threads), "0", NULL, 0, 1024, NULL, "N",
     "Threads; 0 uses every CPU."},
    TN_OPT_LAST};

/* The page as it is printed, and the same facts as JSON. */
typedef struct page {
    doctor_options o;
    tn_machine m;
    tn_features can;
    json_t *root, *section, *advice;
    double fsync;
    size_t disk_free;
} page;

static void heading(page *p, const char *key, const char *title) {
    p->section = json_object();
    json_object_set_new(p->root, key, p->section);
    if (!p->o.json) printf("\n%s\n", title);
}

/* A fact: in the page `label` and the text, in JSON key and value (a reference is taken over). */
__attribute__((format(printf, 5, 6))) static void fact(page *p, const char *key, json_t *value,
                                                       const char *label, const char *fmt, ...) {
    va_list ap;
    json_object_set_new(p->section, key, value);
    if (p->o.json || !label) return;
    printf("  %-16s", label);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout); /* measuring takes a while */
}

__attribute__((format(printf, 2, 3))) static void advise(page *p, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(p->advice, json_string(text));
}

static json_t *whole(size_t n) { return json_integer((json_int_t)n); }
static double GB(size_t n) { return 1e-9 * (double)n; }

/* ---- sections ---- */

static void show_machine(page *p) {
    const tn_machine *m = &p->m;
    heading(p, "machine", "Machine");
    fact(p, "system", json_string(m->system), "system", "%s, Linux %s%s", m->system, m->kernel,
         m->container ? ", in a container" : "");
    fact(p, "kernel", json_string(m->kernel), NULL, " ");
    fact(p, "container", json_boolean(m->container), NULL, " ");
    fact(p, "cpu", json_string(m->cpu), "CPU", "%s", *m->cpu ? m->cpu : "unknown");
    char cores[64] = "", packages[32] = "";
    if (m->sockets > 1) snprintf(packages, sizeof packages, " in %d packages", m->sockets);
    if (m->cores) snprintf(cores, sizeof cores, " on %d cores%s", m->cores, packages);
    fact(p, "cpus", json_integer(m->cpus), "CPUs", "%d%s, %d for this process", m->cpus, cores,
         m->cpus_here);
    fact(p, "cores", json_integer(m->cores), NULL, " ");
    fact(p, "cpus_here", json_integer(m->cpus_here), NULL, " ");
    fact(p, "caches", json_pack("{s:I,s:I,s:I}", "l1d", (json_int_t)m->l1d, "l2", (json_int_t)m->l2,
                                "l3", (json_int_t)m->l3),
         "caches", "L1 %zu KiB, L2 %zu KiB, L3 %.1f MiB", m->l1d >> 10, m->l2 >> 10,
         (double)m->l3 / (1 << 20));
    fact(p, "memory", whole(m->memory), "memory", "%.1f GB, %.1f GB free", GB(m->memory),
         GB(m->memory_free));
    fact(p, "memory_free", whole(m->memory_free), NULL, " ");
    fact(p, "huge_pages", json_string(m->huge), "huge pages", "transparent: %s; %ld reserved",
         *m->huge ? m->huge : "unknown", m->huge_reserved);
    char limit[64] = "none", cpus[32] = "";
    if (m->cpu_limit) snprintf(cpus, sizeof cpus, "time of %.2g CPUs", m->cpu_limit);
    if (m->cpu_limit) snprintf(limit, sizeof limit, "%s", cpus);
    if (m->memory_limit)
        snprintf(limit, sizeof limit, "%.1f GB of memory%s%s", GB(m->memory_limit),
                 *cpus ? ", " : "", cpus);
    fact(p, "limits",
         json_pack("{s:I,s:f}", "memory", (json_int_t)m->memory_limit, "cpus", m->cpu_limit),
         "limits", "%s", limit);
    if (m->cpu_limit && m->cpu_limit < m->cpus_here)
        advise(p,
               "the control group grants the time of %.2g CPUs, fewer than the %d that are seen: "
               "--threads %d avoids waiting",
               m->cpu_limit, m->cpus_here, m->cpu_limit < 1 ? 1 : (int)m->cpu_limit);
    if (!strcmp(m->huge, "never"))
        advise(p, "huge pages are off, which slows large models down: as root, echo madvise "
                  ">/sys/kernel/mm/transparent_hugepage/enabled");
}

static void show_instructions(page *p) {
#ifdef __x86_64__
    const char *yes[2] = {"no", "yes"};
    bool tiles = tn_machine_has(&p->m, "amx_tile") && tn_machine_has(&p->m, "amx_bf16");
    heading(p, "instructions", "Instructions");
    fact(p, "avx2", json_boolean(p->can.avx2), "AVX2, FMA, F16C", "%s", yes[p->can.avx2]);
    fact(p, "avx512", json_boolean(p->can.avx512), "AVX-512", "%s (F, BW, DQ, VL)",
         yes[p->can.avx512]);
    fact(p, "avx512bf16", json_boolean(p->can.avx512bf16), "AVX512_BF16", "%s",
         yes[p->can.avx512bf16]);
    fact(p, "amx", json_boolean(p->can.amx), "AMX, bf16 tiles", "%s",
         p->can.amx ? "yes, permitted by the kernel"
         : tiles    ? "in the CPU, but not permitted by the kernel"
                    : "no");
    if (tiles && !p->can.amx)
        advise(p, "the CPU has AMX tiles and the kernel does not permit them (Linux 5.16 and newer "
                  "do; a hypervisor or a sandbox may be in the way)");
    if (!p->can.avx2) advise(p, "without AVX2 the portable kernels run, many times slower");
#endif
}

/* Kernels, profile and, when measured, speed for one dtype of matrix operands; *bytes per weight of
 * the packed form. */
static tn_status show_dtype(page *p, tn_dtype dtype, const char *name, double *bytes, tn_err *e) {
    tn_backend *b;
    enum { WIDTH = 1024 };
    TN_TRY(tn_backend_open(&b, "cpu", dtype, NULL, (int)p->o.threads, e));
    int threads = tn_pool_threads(b->pool);
    double rate = 0;
    *bytes = (double)b->op->weight_bytes(b, WIDTH, WIDTH) / (WIDTH * WIDTH);
    if (p->o.measure) { /* few rows first: a slow machine shall not take long */
        rate = tn_rate_shape(b, WIDTH, WIDTH, 32, 0.01);
        if (rate > 2e10) rate = tn_rate_shape(b, WIDTH, WIDTH, WIDTH, 1);
    }
    json_t *j = json_pack("{s:s,s:s,s:i}", "kernels", b->kernels, "profile", b->profile, "threads",
                          threads);
    if (p->o.measure) json_object_set_new(j, "flops", json_real(rate));
    char speed[64] = "";
    if (rate > 0)
        snprintf(speed, sizeof speed, ", %.0f GFLOP/s with %d thread%s", rate * 1e-9, threads,
                 threads == 1 ? "" : "s");
    fact(p, name, j, name, "%s kernels, numeric profile %s%s", b->kernels, b->profile, speed);
    tn_backend_free(b);
    return TN_OK;
}

static tn_status show_bandwidth(page *p, tn_err *e) {
    tn_pool *pool;
    size_t bytes = (size_t)256 << 20;
    if (bytes < 4 * p->m.l3) bytes = 4 * p->m.l3; /* the caches do not count */
    if (bytes > p->m.memory_free / 4) bytes = p->m.memory_free / 4;
    TN_TRY(tn_pool_new(&pool, (int)p->o.threads, e));
    double rate = tn_rate_read(pool, bytes, 0.5);
    fact(p, "memory_read", json_real(rate), "memory", "%.1f GB/s read", rate * 1e-9);
    tn_pool_free(pool);
    return TN_OK;
}

typedef struct probe {
    double fsync, rate; /* seconds of a small durable write; bytes per second of large ones */
} probe;

/* Small writes, each brought to the disk, then large ones; about a second. */
static tn_status write_probe(const char *path, char *buf, size_t n, probe *r, tn_err *e) {
    tn_out *o;
    TN_TRY(tn_out_open(&o, path, false, e));
    tn_status st = TN_OK;
    double start = tn_now(), t = start;
    int small = 0, large = 0;
    for (; st == TN_OK && small < 20 && t - start < 0.5; small++, t = tn_now())
        if ((st = tn_out_write(o, buf, 4096, e)) == TN_OK) st = tn_out_flush(o, true, e);
    r->fsync = (t - start) / small;
    for (start = t; st == TN_OK && large < 16 && t - start < 0.7; large++, t = tn_now())
        if ((st = tn_out_write(o, buf, n, e)) == TN_OK) st = tn_out_flush(o, true, e);
    r->rate = t > start ? (double)n * large / (t - start) : 0;
    return tn_out_close(o, st, false, e);
}

static tn_status show_disk(page *p, tn_err *e) {
    enum { LARGE = 8 << 20 };
    tn_str path = TN_STR_INIT;
    tn_err why = {0};
    probe r = {0};
    char name[64], *buf = tn_calloc(LARGE, 1);
    if (!buf) return tn_fail(e, TN_NOMEM, "no memory to measure the disk");
    snprintf(name, sizeof name, ".tenet-doctor-%ld", (long)getpid());
    tn_path_join(&path, p->o.folder, name);
    p->disk_free = tn_disk_free(p->o.folder);
    tn_status st = write_probe(path.s, buf, LARGE, &r, &why);
    tn_remove_tree(path.s, NULL);
    p->fsync = r.fsync;
    json_t *j = json_pack("{s:s,s:I,s:f,s:f}", "folder", p->o.folder, "free",
                          (json_int_t)p->disk_free, "fsync_seconds", r.fsync, "write", r.rate);
    if (st == TN_OK)
        fact(p, "disk", j, "disk",
             "%.1f ms to write and fsync 4 KiB, %.0f MB/s, %.1f GB free in %s", r.fsync * 1e3,
             r.rate * 1e-6, GB(p->disk_free), p->o.folder);
    else
        fact(p, "disk", j, "disk", "%s", why.msg);
    if (st != TN_OK) advise(p, "nothing can be written here: %s", why.msg);
    else if (r.fsync > 0.1)
        advise(p, "a durable write takes %.0f ms: take larger --save-steps", r.fsync * 1e3);
    tn_free(buf);
    tn_str_free(&path);
    return TN_OK;
}

/* Bytes per parameter: master, packed (twice when there is a backward), gradient, two moments. */
static void show_fits(page *p, double packed) {
    double use = 4 + packed, train = 4 + 2 * packed + 4 + 8, room = 0.8 * (double)p->m.memory_free;
    const struct {
        const char *key, *label;
        double bytes;
    } work[] = {{"inference", "generate, score", use},
                {"sft", "sft, reward", train},
                {"dpo", "dpo", train + use},          /* a frozen reference */
                {"ppo", "ppo", 2 * train + 2 * use}}; /* policy, critic; reference, reward */
    char title[160];
    snprintf(title, sizeof title,
             "What fits in %.1f GB (all weights trained; a fifth left for activations and caches)",
             GB(p->m.memory_free));
    heading(p, "fits", title);
    for (size_t i = 0; i < sizeof work / sizeof *work; i++) {
        double n = room / work[i].bytes;
        fact(p, work[i].key,
             json_pack("{s:f,s:f}", "parameters", n, "bytes_per_parameter", work[i].bytes),
             work[i].label, "%.*f %s parameters, %.0f bytes each", n < 1e10 ? 1 : 0,
             n * (n < 1e9 ? 1e-6 : 1e-9), n < 1e9 ? "million" : "billion", work[i].bytes);
    }
    if (room < 1e9) advise(p, "less than a gigabyte of memory is free");
}

static void show_libraries(page *p) {
    const struct {
        const char *name, *version;
    } lib[] = {{"jansson", jansson_version_str()},
               {"utf8proc", utf8proc_version()},
               {"libyaml", yaml_get_version_string()},
               {"zlib", zlibVersion()}};
    heading(p, "libraries", "Libraries");
    for (size_t i = 0; i < sizeof lib / sizeof *lib; i++)
        fact(p, lib[i].name, json_string(lib[i].version), lib[i].name, "%s", lib[i].version);
}

static void show_optional(page *p) {
    const struct {
        const char *key, *label, *program, *package;
    } more[] = {{"mpi", "MPI", "mpirun", "openmpi-bin and libopenmpi-dev"},
                {"cuda", "CUDA", "nvcc", "nvidia-cuda-toolkit"}};
    tn_str path = TN_STR_INIT;
    heading(p, "optional", "Not used by this version");
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        bool found = tn_find_program(more[i].program, &path);
        fact(p, more[i].key, found ? json_string(path.s) : json_null(), more[i].label, "%s%s%s",
             found ? path.s : more[i].program, found ? "" : " is not there; Debian has it in ",
             found ? "" : more[i].package);
    }
    fact(p, "gpu", json_boolean(tn_exists("/dev/nvidia0")), "GPU", "%s",
         tn_exists("/dev/nvidia0") ? "an NVIDIA device" : "no NVIDIA device");
    tn_str_free(&path);
}

static void show_advice(page *p) {
    size_t i;
    json_t *one;
    if (p->o.json || !json_array_size(p->advice)) return;
    printf("\nAdvice\n");
    json_array_foreach(p->advice, i, one) printf("  - %s\n", json_string_value(one));
}

static tn_status show(page *p, tn_err *e) {
    double f32, bf16;
    TN_TRY(tn_machine_read(&p->m, "", e));
    p->can = tn_cpu_features();
    if (!p->o.json) printf("tenet %s\n", TN_VERSION);
    json_object_set_new(p->root, "version", json_string(TN_VERSION));
    show_machine(p);
    show_instructions(p);
    heading(p, "work", p->o.measure ? "What runs, and how fast" : "What runs");
    TN_TRY(show_dtype(p, TN_F32, "float32", &f32, e));
    TN_TRY(show_dtype(p, TN_BF16, "bfloat16", &bf16, e));
    if (p->o.measure) {
        TN_TRY(show_bandwidth(p, e));
        TN_TRY(show_disk(p, e));
    }
    show_fits(p, bf16);
    show_libraries(p);
    show_optional(p);
    show_advice(p);
    json_object_set(p->root, "advice", p->advice);
    if (!p->o.json) return TN_OK;
    char *text = json_dumps(p->root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    if (!text) return tn_fail(e, TN_NOMEM, "no memory for the report");
    puts(text);
    free(text);
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    page p = {.root = json_object(), .advice = json_array(), .m.flags = TN_STR_INIT};
    tn_opts_bind(opts, rows, &p.o);
    tn_status st = p.root && p.advice ? show(&p, e) : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(p.root);
    json_decref(p.advice);
    tn_machine_free(&p.m);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_doctor = {
    .name = "doctor",
    .stage = "Set-up",
    .summary = "what this machine has, what runs on it and how fast, what fits",
    .details =
        "CPU, instructions, memory and limits; the kernels and the numeric profile that runs "
        "will have; speed of matrix\n"
        "products (our own, at their best), memory and disk, measured in a few seconds; the "
        "largest models that can be\n"
        "trained here; libraries; advice where something is in the way.\n\n"
        "  tenet doctor\n"
        "  tenet doctor --json --no-measure",
    .tables = tables,
    .run = run};
