/* The memory plan: what a run will take, by owner, from descriptors and settings alone. */
#include "model/budget.h"
#include "base/os.h"
#include "model/live.h"
#include "model/params.h"
#include "ops/profile.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const char present[] = "rows and program", training[] = "training";

static size_t *row_of(tn_budget *p, const char *owner, const char *part) {
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->row[i].owner, owner) && !strcmp(p->row[i].part, part) && !strcmp(p->row[i].turn, p->turn)) return &p->row[i].bytes;
    if (p->n == TN_BUDGET_MAX) return &p->row[TN_BUDGET_MAX - 1].bytes; /* the last line takes the rest */
    snprintf(p->row[p->n].owner, sizeof p->row[p->n].owner, "%s", owner);
    snprintf(p->row[p->n].part, sizeof p->row[p->n].part, "%s", part);
    snprintf(p->row[p->n].turn, sizeof p->row[p->n].turn, "%s", p->turn);
    return &p->row[p->n++].bytes;
}

/* ---- turns ---- */

static size_t sum_of(const tn_budget *p, const char *turn) {
    size_t sum = 0;
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->row[i].turn, turn)) sum += p->row[i].bytes;
    return sum;
}

/* "" where nothing takes turns. */
static const char *largest_turn(const tn_budget *p) {
    const char *turn = "";
    size_t most = 0, sum;
    for (int i = 0; i < p->n; i++)
        if (*p->row[i].turn && (sum = sum_of(p, p->row[i].turn)) > most) most = sum, turn = p->row[i].turn;
    return turn;
}

static void add_up(tn_budget *p) {
    const char *turn = largest_turn(p);
    p->total = sum_of(p, "") + (*turn ? sum_of(p, turn) : 0);
}

void tn_budget_turn(tn_budget *p, const char *turn) { snprintf(p->turn, sizeof p->turn, "%s", turn && p->rests ? turn : ""); }

void tn_budget_add(tn_budget *p, const char *owner, const char *part, size_t bytes) {
    *row_of(p, owner, part) += bytes;
    add_up(p);
}

/* At least so much: of things that share the place. */
static void raise_row(tn_budget *p, const char *owner, const char *part, size_t bytes) {
    size_t *row = row_of(p, owner, part);
    if (bytes > *row) *row = bytes;
    add_up(p);
}

void tn_budget_present(tn_budget *p) {
    size_t now = tn_resident_memory(), big = tn_mem_live();
    tn_budget_add(p, present, "", now > big ? now - big : 0);
}

/* ---- models, runs, caches ---- */

static size_t packed_bytes(const tn_desc *d, const tn_backend *be, bool score) {
    int q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    size_t layer =
        be->op->weight_bytes(be, q + 2 * kv, d->hidden) + be->op->weight_bytes(be, d->hidden, q) +
        be->op->weight_bytes(be, 2 * d->ffn, d->hidden) + be->op->weight_bytes(be, d->hidden, d->ffn);
    return layer * (size_t)d->layers + (score ? 0 : be->op->weight_bytes(be, d->vocab, d->hidden));
}

/* Elements of the matrices that have packed forms. */
static size_t matrices(const tn_desc *d, bool score) {
    size_t q = (size_t)d->heads * (size_t)d->head_dim, kv = (size_t)d->kv_heads * (size_t)d->head_dim;
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn;
    size_t head = d->tied || score ? 0 : (size_t)d->vocab * D;
    return (size_t)d->layers * ((2 * q + 2 * kv) * D + 3 * D * F) + head;
}

/* Returns the elements. `dropped`: tn_model_drop_masters has been there. */
static size_t add_weights(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be,
                          bool score, bool dropped) {
    size_t head = score && d->num_labels == 0 ? (size_t)d->hidden + 1 : 0;
    size_t n = tn_desc_params(d) + head;
    size_t bytes = (n - (dropped ? matrices(d, score) : 0)) * be->elem;
    if (dropped && d->half_embed && be->elem == sizeof(float)) bytes -= (size_t)d->vocab * (size_t)d->hidden * 2;
    tn_budget_add(p, owner, "weights", bytes);
    tn_budget_add(p, owner, "packed weights", packed_bytes(d, be, score));
    return n;
}

/* What tn_model_park takes along, the embedding and the packed forms; the rest stays. */
static void add_parked(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be, bool score) {
    size_t embed = (size_t)d->vocab * (size_t)d->hidden, packed = packed_bytes(d, be, score), head = score && d->num_labels == 0 ? (size_t)d->hidden + 1 : 0;
    tn_budget_add(p, owner, "weights", (tn_desc_params(d) + head - matrices(d, score) - embed) * be->elem);
    embed *= d->half_embed && be->elem == sizeof(float) ? 2 : be->elem;
    tn_budget_turn(p, owner);
    raise_row(p, owner, "embedding, at most", embed); /* the pages of rows that are named */
    raise_row(p, owner, "packed weights", packed);
    tn_budget_turn(p, NULL);
    p->parked += embed + packed;
}

/* Gradients and moments of n elements, the first `table` of them an embedding that tokens alone reach (live.h). */
static void add_training(tn_budget *p, const char *owner, const tn_backend *be, size_t n, size_t table) {
    size_t ranks = p->ranks > 1 ? (size_t)p->ranks : 1, at_once = 1 + (size_t)p->spare, rest = n - table;
    size_t grad = table * be->elem, moment = tn_moment_bytes(p->moments, table, be->elem);
    if (p->live) {
        grad = tn_live_bytes(p->live, table, TN_MOMENTS_FULL, be->elem);
        moment = tn_live_bytes(p->live, table, p->moments, be->elem);
    }
    if (ranks > 1) /* checkpoints gather moments in gradients */
        rest = n, grad = 0;
    char part[40] = "gradients";
    if (p->spare) snprintf(part, sizeof part, "gradients, %d at once", 1 + p->spare);
    tn_budget_turn(p, training);
    tn_budget_add(p, owner, part, (rest * be->elem + (p->live ? grad : 0)) * at_once);
    if (table && !p->live) tn_budget_add(p, owner, "sampled rows, at most", grad * at_once);
    tn_budget_turn(p, NULL);
    tn_budget_add(p, owner, "moments", 2 * (tn_moment_bytes(p->moments, n - table, be->elem) + (p->live ? moment : 0)) / ranks);
    if (table && !p->live) tn_budget_add(p, owner, "sampled rows, at most", 2 * moment / ranks);
}

/* Elements of the embedding, if that is what it is. */
static size_t table_of(const tn_desc *d, bool score) {
    return tn_live_kept(d, score) ? (size_t)d->vocab * (size_t)d->hidden : 0;
}

void tn_budget_ranks(tn_budget *p, int ranks, int spare) {
    p->ranks = ranks;
    p->spare = spare;
}

void tn_budget_model(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be,
                     bool train, bool score) {
    size_t n = add_weights(p, owner, d, be, score, false);
    if (train) add_training(p, owner, be, n, table_of(d, score));
}

void tn_budget_frozen(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be,
                      bool score) {
    if (p->parks) add_parked(p, owner, d, be, score);
    else add_weights(p, owner, d, be, score, true);
}

void tn_budget_adapter(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                       const tn_backend *be, bool train, bool score) {
    tn_adapter_sizes z = tn_adapter_size(d, s, be);
    size_t head = score ? (size_t)d->hidden + 1 : 0;
    tn_budget_add(p, owner, "adapter", (z.n + head) * be->elem + z.packed);
    if (train) add_training(p, owner, be, z.n + head, 0);
}

void tn_budget_trained(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                       const tn_backend *be, bool score) {
    size_t n = add_weights(p, owner, d, be, score, s->rank > 0);
    if (s->rank) tn_budget_adapter(p, owner, d, s, be, true, score);
    else add_training(p, owner, be, n, table_of(d, score));
}

void tn_budget_adapter_run(tn_budget *p, const char *owner, const tn_desc *d, const tn_lora_spec *s,
                           const tn_backend *be, int T, bool keep) {
    if (!s->rank) return;
    size_t width = (size_t)tn_adapter_size(d, s, be).width;
    tn_budget_add(p, owner, "activations", (size_t)T * width * be->elem * (keep ? 2 : 1));
}

void tn_budget_run(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be, int max_tok,
                   int max_rows, int max_pos, int blocks, tn_keep keep) {
    size_t all = tn_budget_run_bytes(d, be, max_tok, max_rows, max_pos, blocks, keep);
    size_t kv = all - tn_budget_run_bytes(d, be, max_tok, max_rows, max_pos, 0, keep);
    tn_budget_add(p, owner, "activations", all - kv);
    if (!kv) return;
    size_t sure = p->sure_blocks > 0 && p->sure_blocks < blocks ? kv / (size_t)blocks * (size_t)p->sure_blocks : kv;
    tn_budget_add(p, owner, "keys and values", sure);
    if (sure < kv) tn_budget_add(p, owner, "keys and values, at most", kv - sure); /* of samples that end early, and of prompts shorter than the longest */
}

void tn_budget_kv(tn_budget *p, const char *owner, const tn_desc *d, const tn_backend *be, int pages) {
    size_t block = be->op->kv_block_bytes(be, d->kv_heads, d->head_dim);
    tn_budget_add(p, owner, "keys and values", block * (size_t)pages * (size_t)d->layers);
}

/* ---- scratch ---- */

/* The calls of a layer and of the head, which only say what they would need (tn_backend.sizing). */
static void size_products(tn_backend *be, int out, int in, int T, bool dx, bool dw) {
    tn_weight w = {.out = out, .in = in};
    be->op->gemm(be, TN_SET, NULL, out, NULL, in, &w, NULL, T);
    if (dx) be->op->gemm_dx(be, TN_SET, NULL, in, NULL, out, &w, T);
    if (dw) be->op->gemm_dw(be, NULL, NULL, out, NULL, in, T, out, in);
}

/* A matrix and what an adapter puts beside it. */
static void size_matrix(tn_backend *be, int out, int in, int rank, int T, bool train) {
    size_products(be, out, in, T, train, train && !rank);
    if (!rank) return;
    size_products(be, TN_LORA_PARTS * rank, in, T, train, train);
    size_products(be, out, rank, T, train, train);
}

static void size_head(tn_backend *be, const tn_desc *d, int R, bool sum_sq, bool train, bool dw) {
    static double any; /* stands for an array that is there */
    tn_weight w = {.out = d->vocab, .in = d->hidden};
    be->op->head(be, &(tn_head){.rows = R, .w = &w, .inv_temp = 1, .logp = &any, .top1 = &any,
                               .log_sum_sq = sum_sq ? &any : NULL});
    if (!train) return;
    be->op->head_bwd(be, &(tn_head_bwd){.rows = R, .w = &w, .inv_temp = 1, .dx = &any, .dw = dw ? &any : NULL});
}

void tn_budget_scratch(tn_budget *p, const tn_desc *d, const tn_lora_spec *s, tn_backend *be, int T, int R,
                       bool train) {
    size_t need = 0;
    int q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim, rank = s ? s->rank : 0;
    const tn_ops *counted = be->op;
    be->op = be->own; /* nothing is computed that could be counted */
    be->sizing = &need;
    if (be->op == &tn_ops_cpu) { /* the reference's products need none */
        size_matrix(be, q + 2 * kv, d->hidden, rank, T, train);
        size_matrix(be, d->hidden, q, rank, T, train);
        size_matrix(be, 2 * d->ffn, d->hidden, rank, T, train);
        size_matrix(be, d->hidden, d->ffn, rank, T, train);
        tn_attn a = {.n_tok = T, .heads = d->heads, .kv_heads = d->kv_heads, .head_dim = d->head_dim};
        if (train) be->op->attn_bwd(be, NULL, 0, NULL, 0, NULL, 0, NULL, NULL, 0, NULL, &a);
        if (R > 0) size_head(be, d, R, p->sum_sq, train, !rank);
    } else if (R > 0 && train) {
        tn_weight w = {.out = d->vocab, .in = d->hidden};
        be->op->head_bwd(be, &(tn_head_bwd){.rows = R, .w = &w});
    }
    be->sizing = NULL;
    be->op = counted;
    raise_row(p, "operations", "scratch", need);
}

void tn_budget_scratch_pair(tn_budget *p, const tn_desc *d, const tn_desc *second, tn_backend *be, int R, bool dw) {
    static double any;
    size_t need = 0;
    tn_weight w = {.out = d->vocab, .in = d->hidden}, w2 = {.out = d->vocab, .in = second->hidden};
    tn_head_pair pair = {.rows = R, .w = &w, .w2 = &w2};
    tn_head_bwd bwd = {.rows = R, .w = &w, .dx = &any, .dw = dw ? &any : NULL, .pair = &pair};
    const tn_ops *counted = be->op;
    be->op = be->own;
    be->sizing = &need;
    if (be->op == &tn_ops_cpu) be->op->head_pair(be, &pair);
    be->op->head_bwd(be, &bwd);
    be->sizing = NULL;
    be->op = counted;
    raise_row(p, "operations", "scratch", need);
}

/* ---- the table ---- */

/* Of row i on, those of its owner and turn, or (whole) of its turn whoever their owners are. */
static void print_line(const tn_budget *p, int i, bool whole, tn_str *out) {
    size_t sum = 0;
    for (int k = i; k < p->n; k++) {
        bool own = strcmp(p->row[k].owner, p->row[i].owner) == 0;
        if (strcmp(p->row[k].turn, p->row[i].turn) != 0 || (!own && !whole)) continue;
        sum += p->row[k].bytes;
        const char *who = whole && strcmp(p->row[k].owner, p->row[k].turn) != 0 ? p->row[k].owner : "";
        if (*p->row[k].part || *who)
            tn_str_addf(out, " %s%s%s %.1f ", who, *who && *p->row[k].part ? "'s " : "", p->row[k].part, (double)p->row[k].bytes / 1e6);
    }
    tn_str_addf(out, " = %.1f MB\n", (double)sum / 1e6);
}

void tn_budget_print(const tn_budget *p, tn_str *out) {
    for (int turns = 0; turns < 2; turns++)
        for (int i = 0, lines = 0; i < p->n; i++) {
            bool seen = (*p->row[i].turn != 0) != turns;
            for (int k = 0; k < i && !seen; k++)
                seen = strcmp(p->row[k].turn, p->row[i].turn) == 0 && (turns || strcmp(p->row[k].owner, p->row[i].owner) == 0);
            if (seen) continue;
            if (turns && !lines++) tn_str_addz(out, "  in turns, of which the largest counts:\n");
            tn_str_addf(out, turns ? "    %-14s" : "  %-16s", turns ? p->row[i].turn : p->row[i].owner);
            print_line(p, i, turns, out);
        }
}

/* ---- limits ---- */

/* The number after `key` in a small file of the kernel; 0 when it is absent or "max". */
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

static void lower(size_t *to, size_t limit, size_t used) {
    size_t left = limit > used ? limit - used : 1;
    if (!*to || left < *to) *to = left;
}

/* One group of cgroup v2: its limit, less what is used and cannot be dropped. */
static void group_limit(size_t *to, const char *dir) {
    char path[1200];
    snprintf(path, sizeof path, "%s/memory.max", dir);
    size_t limit = kernel_number(path, "", 1);
    if (!limit) return;
    snprintf(path, sizeof path, "%s/memory.current", dir);
    size_t used = kernel_number(path, "", 1);
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    size_t cache = kernel_number(path, "\ninactive_file", 1);
    lower(to, limit, used > cache ? used - cache : 0);
}

/* This process's group and all above it. */
static void group_limits(size_t *to) {
    tn_str s = TN_STR_INIT;
    char dir[1024];
    const char *at = NULL;
    if (tn_read_file("/proc/self/cgroup", &s, 1 << 16, NULL) == TN_OK) at = strstr(s.s, "0::");
    snprintf(dir, sizeof dir, "/sys/fs/cgroup%.*s", at ? (int)strcspn(at + 3, "\n") : 0, at ? at + 3 : "");
    tn_str_free(&s);
    for (char *slash = dir; slash && strlen(dir) >= strlen("/sys/fs/cgroup");) {
        group_limit(to, dir);
        slash = strrchr(dir, '/');
        if (slash) *slash = 0;
    }
    size_t v1 = kernel_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", "", 1);
    if (v1 && v1 < (size_t)1 << 60)
        lower(to, v1, kernel_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", "", 1));
}

size_t tn_budget_available(void) {
    size_t left = kernel_number("/proc/meminfo", "MemAvailable:", 1024);
    struct rlimit r;
    group_limits(&left);
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        lower(&left, (size_t)r.rlim_cur, kernel_number("/proc/self/statm", "", 4096));
    return left;
}

static const char *remedy(const char *part) {
    static const char *const known[][2] = {
        {"activations", "a smaller --micro-batch-tokens or a shorter --max-length"},
        {"keys and values", "a smaller --micro-batch-tokens or batch, or shorter responses"},
        {"scratch", "fewer --threads or a smaller --micro-batch-tokens"},
        {"", "fewer rows (--max-rows)"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(part, known[i][0])) return known[i][1];
    return "a smaller model";
}

tn_status tn_budget_check(const tn_budget *p, size_t limit, size_t available, tn_err *e) {
    size_t there = 0;
    int big = 0;
    const char *turn = largest_turn(p);
    for (int i = 0; i < p->n; i++) {
        if (!strcmp(p->row[i].owner, present)) there = p->row[i].bytes;
        bool counts = !*p->row[i].turn || !strcmp(p->row[i].turn, turn);
        if (counts && p->row[i].bytes > p->row[big].bytes) big = i;
    }
    bool over = limit && p->total > limit, short_of = available && p->total - there > available;
    if (!over && !short_of) return TN_OK;
    return tn_fail(e, TN_NOMEM,
                   "this run needs %.2f GB of memory, and %s %.2f GB. The largest part is %s%s%s (%.2f GB); "
                   "what helps is %s",
                   (double)p->total / 1e9, over ? "--max-memory allows" : "this process can have",
                   (double)(over ? limit : available + there) / 1e9, p->row[big].owner,
                   *p->row[big].part ? ": " : "", p->row[big].part, (double)p->row[big].bytes / 1e9,
                   remedy(p->row[big].part));
}
