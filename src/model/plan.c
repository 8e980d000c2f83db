/* The memory plan: what a run will take, by owner, from descriptors and settings alone. */
#include "model/plan.h"
#include "base/os.h"
#include <stdio.h>
#include <string.h>

void tn_plan_add(tn_plan *p, const char *owner, const char *part, size_t bytes) {
    p->total += bytes;
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->row[i].owner, owner) == 0 && strcmp(p->row[i].part, part) == 0) {
            p->row[i].bytes += bytes;
            return;
        }
    if (p->n == TN_PLAN_MAX) { /* the last line takes the rest */
        p->row[TN_PLAN_MAX - 1].bytes += bytes;
        return;
    }
    snprintf(p->row[p->n].owner, sizeof p->row[p->n].owner, "%s", owner);
    snprintf(p->row[p->n].part, sizeof p->row[p->n].part, "%s", part);
    p->row[p->n++].bytes = bytes;
}

static size_t packed_of(const tn_backend *be, int out, int in, bool train) {
    return be->op->weight_bytes(be, out, in) + (train ? be->op->weight_t_bytes(be, out, in) : 0);
}

static size_t packed_bytes(const tn_desc *d, const tn_backend *be, bool train, bool score) {
    int q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    size_t layer =
        packed_of(be, q + 2 * kv, d->hidden, train) + packed_of(be, d->hidden, q, train) +
        packed_of(be, 2 * d->ffn, d->hidden, train) + packed_of(be, d->hidden, d->ffn, train);
    return layer * (size_t)d->layers + (score ? 0 : packed_of(be, d->vocab, d->hidden, train));
}

void tn_plan_model(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be,
                   bool train, bool score, bool view) {
    size_t head = score ? (size_t)d->hidden + 1 : 0;
    size_t n = (view ? 0 : tn_desc_params(d)) + (score && d->num_labels == 0 ? head : 0);
    tn_plan_add(p, owner, "weights", n * be->elem);
    if (!view) tn_plan_add(p, owner, "packed weights", packed_bytes(d, be, train, score));
    if (!train) return;
    tn_plan_add(p, owner, "gradients", n * be->elem);
    tn_plan_add(p, owner, "moments", 2 * n * be->elem);
}

void tn_plan_run(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be, int max_tok,
                 int max_rows, int max_pos, bool keep) {
    tn_plan_add(p, owner, "activations",
                tn_plan_run_bytes(d, be, max_tok, max_rows, max_pos, keep));
}

void tn_plan_kv(tn_plan *p, const char *owner, const tn_desc *d, const tn_backend *be, int pages) {
    size_t block = be->op->kv_block_bytes(be, d->kv_heads, d->head_dim);
    tn_plan_add(p, owner, "keys and values", block * (size_t)pages * (size_t)d->layers);
}

void tn_plan_print(const tn_plan *p, tn_str *out) {
    for (int i = 0; i < p->n; i++)
        tn_str_addf(out, "  %-20s %-18s %10.1f MB\n", p->row[i].owner, p->row[i].part,
                    (double)p->row[i].bytes / 1e6);
    tn_str_addf(out, "  %-20s %-18s %10.1f MB\n", "all", "", (double)p->total / 1e6);
}

/* A number of bytes from one line of a file of the kernel; 0 when it is absent or "max". */
static size_t kernel_number(const char *path, const char *key, size_t unit) {
    tn_str s = TN_STR_INIT;
    size_t got = 0;
    if (tn_read_file(path, &s, 1 << 16, NULL) == TN_OK) {
        const char *at = *key ? strstr(s.s, key) : s.s;
        unsigned long long v = 0;
        if (at && sscanf(at + strlen(key), " %llu", &v) == 1) got = (size_t)v * unit;
    }
    tn_str_free(&s);
    return got;
}

size_t tn_plan_available(void) {
    size_t machine = kernel_number("/proc/meminfo", "MemAvailable:", 1024);
    size_t limit = kernel_number("/sys/fs/cgroup/memory.max", "", 1);
    size_t used = kernel_number("/sys/fs/cgroup/memory.current", "", 1);
    if (!limit) return machine;
    size_t group = limit > used ? limit - used : 1;
    return machine && machine < group ? machine : group;
}

tn_status tn_plan_check(const tn_plan *p, size_t available, tn_err *e) {
    if (!available || p->total <= available) return TN_OK;
    int big = 0;
    for (int i = 1; i < p->n; i++)
        if (p->row[i].bytes > p->row[big].bytes) big = i;
    return tn_fail(
        e, TN_NOMEM,
        "this run needs %.1f GB of memory and the machine has %.1f GB free; the largest "
        "part is %s of %s (%.1f GB). Take smaller micro-batches, a shorter --max-length or a "
        "smaller model",
        (double)p->total / 1e9, (double)available / 1e9, p->row[big].part, p->row[big].owner,
        (double)p->row[big].bytes / 1e9);
}
