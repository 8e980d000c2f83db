/* A token's numbers are the same bits in any batch, order, packing, sharing or thread count, cached
 * or not, on every kernel of a profile. */
#include "base/rng.h"
#include "tiny.h"

#define N_PROMPT 16
#define N_ANSWER 4
#define N_SEQ (N_PROMPT * N_ANSWER)
#define N_FEW (5 * N_ANSWER) /* sequences on slow machines */
#define MAX_LEN 140
#define MAX_TOK 4096

typedef struct numbers { double logp, lse, entropy; } numbers;
static struct { int n_prompt, n; int32_t ids[MAX_LEN]; } seqs[N_SEQ];
static int n_seq; /* used: all, or some of them on slow machines */
typedef numbers table[N_SEQ][MAX_LEN]; /* [s][t]: of token t of sequence s, t >= 1 */
static table want, got;

static void draw_sequences(int vocab) {
    static const int plen[] = {1, 33, 3, 32, 5, 65, 2, 31}, alen[] = {1, 5, 2, 33, 3, 4, 1, 40, 6};
    for (int s = 0; s < N_SEQ; s++) {
        int p = s / N_ANSWER;
        seqs[s].n_prompt = plen[p % 8];
        seqs[s].n = seqs[s].n_prompt + alen[(s * 5 + p) % 9];
        tiny_ids(seqs[s].ids, seqs[s].n_prompt, vocab, 1000 + (uint64_t)p);
        tiny_ids(seqs[s].ids + seqs[s].n_prompt, seqs[s].n - seqs[s].n_prompt, vocab,
                 2000 + (uint64_t)s);
    }
}

/* What a forward's rows predict. */
typedef struct rows {
    int n;
    int32_t row[MAX_TOK], target[MAX_TOK];
    numbers *at[MAX_TOK];
} rows;
static rows R;

static void rows_add(int row, int s, int t,
                     table out) { /* the row that predicts token t of sequence s */
    if (t >= seqs[s].n) return;
    R.row[R.n] = row;
    R.target[R.n] = seqs[s].ids[t];
    R.at[R.n++] = &out[s][t];
}

static void rows_score(tn_run *run, const tn_model *m) {
    if (R.n == 0) return;
    static double logp[MAX_TOK], lse[MAX_TOK], entropy[MAX_TOK];
    tn_lm q = {.n = R.n,
               .rows = R.row,
               .target = R.target,
               .inv_temp = 1 / 0.9,
               .logp = logp,
               .lse = lse,
               .entropy = entropy};
    CHECK_OK(tn_lm_head(run, m, &q, e));
    for (int i = 0; i < R.n; i++) *R.at[i] = (numbers){logp[i], lse[i], entropy[i]};
    R.n = 0;
}

/* One forest of the sequences in `list`; `shared`: equal prompts once. */
static void score_forest(tn_run *run, const tn_model *m, tn_forest *f, const int *list, int n,
                         bool shared, table out) {
    int prompt_seg[N_PROMPT];
    for (int p = 0; p < N_PROMPT; p++) prompt_seg[p] = -1;
    tn_forest_clear(f);
    for (int i = 0; i < n; i++) {
        int s = list[i], p = s / N_ANSWER, k;
        int np = seqs[s].n_prompt;
        if (!shared || prompt_seg[p] < 0)
            CHECK_OK(tn_forest_add(f, seqs[s].ids, np, -1, s, &prompt_seg[p], e));
        int up = prompt_seg[p];
        CHECK_OK(tn_forest_add(f, seqs[s].ids + np, seqs[s].n - np, up, s, &k, e));
    }
    CHECK_OK(tn_forest_finish(f, e));
    CHECK_OK(tn_forward(run, m, f, e));
    for (int k = 0; k < f->n_seg; k++) {
        int s = f->seq[k], up = f->parent[k];
        if (up < 0) {
            for (int t = 1; t < f->seg[k].len; t++) rows_add(f->seg[k].start + t - 1, s, t, out);
            continue;
        }
        int np = seqs[s].n_prompt;
        rows_add(f->seg[up].start + np - 1, s, np, out);
        for (int t = np + 1; t < seqs[s].n; t++) rows_add(f->seg[k].start + t - np - 1, s, t, out);
        if (f->seq[up] != s) /* a prompt computed for a sister */
            for (int t = 1; t < np; t++) rows_add(f->seg[up].start + t - 1, s, t, out);
    }
    rows_score(run, m);
}

static void compare(const char *what, const char *how, int seq_count) {
    int bad = 0, n = 0;
    for (int s = 0; s < seq_count; s++)
        for (int t = 1; t < seqs[s].n; t++, n++)
            bad += memcmp(&want[s][t], &got[s][t], sizeof(numbers)) != 0;
    CHECK_MSG(bad == 0, "%s, %s: %d of %d tokens differ", what, how, bad, n);
    memset(got, 0, sizeof got);
}

static void reference(tn_run *run, const tn_model *m, tn_forest *f) {
    for (int s = 0; s < n_seq; s++) score_forest(run, m, f, &s, 1, false, want);
}

static void check_packings(const char *what, tn_run *run, const tn_model *m, tn_forest *f,
                           bool all) {
    static const int batch[] = {2, 3, 7, 16, 64};
    for (size_t b = 0; b < sizeof batch / sizeof *batch; b++)
        for (int shared = 0; shared < 2; shared++) {
            if (!all && batch[b] != (shared ? 64 : 7)) continue;
            int order[N_SEQ];
            uint32_t perm[N_SEQ];
            for (int i = 0; i < n_seq; i++) perm[i] = (uint32_t)i;
            tn_rng r = tn_rng_stream(3, 5, b);
            tn_rng_shuffle(&r, perm, (size_t)n_seq);
            for (int i = 0; i < n_seq; i++) order[i] = (int)perm[i];
            for (int i = 0; i < n_seq; i += batch[b])
                score_forest(run, m, f, order + i, n_seq - i < batch[b] ? n_seq - i : batch[b],
                             shared, got);
            char how[64];
            snprintf(how, sizeof how, "batch %d%s", batch[b], shared ? ", shared prompts" : "");
            compare(what, how, n_seq);
        }
}

/* Sequences enter and leave a running batch; prompts are prefilled in pieces of `chunk`. A
 * sequence's segments are its prompt and its answer. */
static void score_cached(tn_run *run, const tn_model *m, tn_kv *kv, int width, int chunk,
                         table out) {
    struct { int s, slot, done; } live[N_SEQ];
    tn_kv_item item[N_SEQ];
    int n_live = 0, next = 0, pages = tn_kv_free_pages(kv);
    while (next < n_seq || n_live) {
        while (next < n_seq && n_live < width) {
            live[n_live].s = next++;
            live[n_live].done = 0;
            CHECK((live[n_live++].slot = tn_kv_open(kv)) >= 0);
        }
        int at = 0;
        for (int i = 0; i < n_live; i++) {
            int s = live[i].s, t = live[i].done, left = seqs[s].n_prompt - t;
            int k = left <= 0 ? 1 : left < chunk ? left : chunk;
            item[i] = (tn_kv_item){live[i].slot, seqs[s].ids + t, k, t == 0 || left == 0};
            for (int j = 0; j < k; j++) rows_add(at + j, s, t + j + 1, out);
            at += k;
            live[i].done += k;
        }
        CHECK_OK(tn_forward_kv(run, m, kv, item, n_live, e));
        rows_score(run, m);
        for (int i = 0; i < n_live;) {
            if (live[i].done < seqs[live[i].s].n) {
                i++;
                continue;
            }
            tn_kv_close(kv, live[i].slot);
            live[i] = live[--n_live];
        }
    }
    CHECK(tn_kv_free_pages(kv) == pages);
}

/* Each prompt is computed once, its answers are forks that grow together. */
static void score_forked(tn_run *run, const tn_model *m, tn_kv *kv, table out) {
    for (int p = 0; p < n_seq / N_ANSWER; p++) {
        int s0 = p * N_ANSWER, np = seqs[s0].n_prompt, slot[N_ANSWER], root = tn_kv_open(kv), n = 1;
        tn_kv_item item[N_ANSWER] = {{root, seqs[s0].ids, np, true}};
        CHECK_OK(tn_forward_kv(run, m, kv, item, 1, e));
        for (int a = 0; a < N_ANSWER; a++) {
            slot[a] = tn_kv_fork(kv, root);
            for (int t = 1; t <= np; t++) rows_add(t - 1, s0 + a, t, out);
        }
        rows_score(run, m);
        tn_kv_close(kv, root);
        for (int t = np; n; t++) {
            n = 0;
            for (int a = 0; a < N_ANSWER; a++) {
                if (t >= seqs[s0 + a].n) continue;
                rows_add(n, s0 + a, t + 1, out);
                item[n++] = (tn_kv_item){slot[a], seqs[s0 + a].ids + t, 1, t == np};
            }
            if (n) CHECK_OK(tn_forward_kv(run, m, kv, item, n, e));
            rows_score(run, m);
        }
        for (int a = 0; a < N_ANSWER; a++) tn_kv_close(kv, slot[a]);
    }
}

static void check_cached(const char *what, tn_run *run, const tn_model *m, bool all) {
    tn_kv *kv = NULL;
    CHECK_OK(tn_kv_new(&kv, m, N_SEQ * 8, N_SEQ, 160, e));
    if (!kv) return;
    if (all) {
        score_cached(run, m, kv, 1, 1, got);
        compare(what, "token by token", n_seq);
        score_cached(run, m, kv, N_SEQ, 1000, got);
        compare(what, "decode of 64", n_seq);
    }
    score_cached(run, m, kv, 9, 13, got);
    compare(what, "decode of 9, prefill in pieces of 13", n_seq);
    score_forked(run, m, kv, got);
    compare(what, "forks of one prompt", n_seq);
    tn_kv_free(kv);
}

typedef struct machine { const char *name, *kernels; tn_dtype dtype; bool fast; } machine;
static const machine machines[] = {
    {"ref", NULL, TN_F32, false},     {"cpu", "scalar", TN_F32, false},
    {"cpu", "avx2", TN_F32, true},    {"cpu", "avx512", TN_F32, true},
    {"ref", NULL, TN_BF16, false},    {"cpu", "scalar", TN_BF16, false},
    {"cpu", "avx2", TN_BF16, true},   {"cpu", "avx512", TN_BF16, true},
    {"cpu", "avx512bf16", TN_BF16, true}, {"cpu", "avx512bf16-model", TN_BF16, false},
    {"cpu", "amx", TN_BF16, true},    {"cpu", "amx-model", TN_BF16, false},
};
#define N_MACHINE ((int)(sizeof machines / sizeof *machines))

static void check_machine(const machine *w, int threads, const tiny_case *c, bool main,
                          numbers *first, char *profile) {
    tn_backend *be = NULL;
    tn_err err = {0};
    if (tn_backend_open(&be, w->name, w->dtype, w->kernels, threads, &err) != TN_OK)
        return; /* not on this machine */
    char what[128];
    snprintf(what, sizeof what, "%s on %s/%s/%s, %d threads", c->name, be->name, be->kernels,
             be->profile, threads);
    tn_model *m = tiny_model(&c->desc, be, false, 5);
    tn_run *run = NULL;
    tn_forest f = {0};
    n_seq = w->fast ? N_SEQ : N_FEW;
    if (m) CHECK_OK(tn_run_new(&run, m, MAX_TOK, 300, 160, false, e));
    if (run) {
        reference(run, m, &f);
        CHECK(want[0][1].logp < 0 && want[0][1].entropy > 0);
        if (strcmp(profile, be->profile) == 0) {
            memcpy(got, first, sizeof got);
            compare(what, "against the profile's kernel before it", N_FEW);
        }
        snprintf(profile, 32, "%s", be->profile);
        memcpy(first, want, sizeof want);
        if (main) {
            check_packings(what, run, m, &f, w->fast);
            check_cached(what, run, m, w->fast);
        }
    }
    tn_run_free(run);
    tn_forest_free(&f);
    tn_model_free(m);
    tn_backend_free(be);
}

TEST(forward_same_bits_everywhere) {
    static table first;
    for (int i = 0; i < n_tiny; i++) {
        const tiny_case *c = tiny_get(i);
        draw_sequences(c->desc.vocab);
        char profile[32] = "";
        for (int k = 0; k < N_MACHINE; k++)
            if (i == 0 || i == (k + 2) % n_tiny) /* all machines meet on the first model */
                check_machine(&machines[k], 1 + (i + k) % 3, c, i == (k + 2) % n_tiny, first[0],
                              profile);
    }
}
