/* Gradient lanes: how examples are dealt, the tree of sums, shards; the same bits on 1, 2 and 4 ranks. */
#include "base/os.h"
#include "model/live.h"
#include "ranks.h"
#include "tiny.h"
#include "train/lanes.h"
#include <math.h>

enum { LANES = 8, STEPS = 2, EXAMPLES = 37, SMALL = 301, LARGE = 9001, WIDTH = 64 };

/* Tensors of one block and of several; LARGE: shards of several pieces, too. */
static tn_model *new_model(tn_backend *b, int vocab) {
    tn_desc d = tiny_get(0)->desc;
    d.vocab = vocab, d.hidden = WIDTH, d.ffn = 150, d.num_labels = 1;
    return tiny_model(&d, b, false, 7);
}

/* The gradient of one lane: numbers whose sum depends on the order; in an embedding (the first `table` elements) only
 * rows that the lane names, most of which no lane of any step does. */
static bool names(int step, int lane, size_t row) { return (row / 16 + (size_t)(7 * lane + 3 * step)) % 61 == 0; }
static float lane_value(int step, int lane, size_t i, size_t table) {
    double u = tiny_unit((uint64_t)(1000 * step + lane), i);
    if (i < table && !names(step, lane, i / WIDTH)) return 0;
    return (float)(u * (lane % 3 ? 1e-3 : 1e3));
}
static float tree(int step, int lane, int n, size_t i, size_t table) {
    if (n == 1) return lane_value(step, lane, i, table);
    float a = tree(step, lane, n / 2, i, table), b = tree(step, lane + n / 2, n / 2, i, table);
    return a + b;
}
static void mark(tn_store *s, int step, int lane) {
    for (int32_t row = 0; s->live && (size_t)row < s->n_live / WIDTH; row++)
        if (names(step, lane, (size_t)row)) tn_live_mark(s->live, WIDTH, &row, 1, -1);
}

/* What one rank with all the lanes must get to, computed without them. */
typedef struct expected {
    tn_moment_kind kind;
    tn_model *m; /* whole, after all steps */
    double sumsq[STEPS];
} expected;

static void expect(expected *x, tn_backend *b, int vocab) {
    x->m = new_model(b, vocab);
    tn_model_moments(x->m, x->kind, 11);
    CHECK_OK(tn_model_trainable(x->m, e));
    tn_trained t[TN_TRAINED_MAX];
    int n = tn_model_trained(x->m, t);
    CHECK(n == 2 && t[0].store->live);
    tn_live_all(t[0].store);
    for (int step = 0; step < STEPS; step++) {
        for (int k = 0; k < n; k++)
            for (size_t i = 0; i < t[k].store->n; i++)
                ((float *)t[k].store->grad)[i] = tree(step, 0, LANES, i, t[k].store->n_live);
        x->sumsq[step] = tn_model_grad_sumsq(x->m);
        tn_model_adamw(x->m, 1e-2, 0.9, 0.999, 1e-8, 0.1, false, step + 1, 0.5);
        tn_model_zero_grad(x->m);
    }
}

static bool same(const void *a, const float *b, size_t n) {
    return memcmp(a, b, n * sizeof *b) == 0;
}

/* The steps of `expect` by lanes, then weights and this rank's moments compared. */
static void train(tn_comm *c, rank_outcome *o, const void *ctx) {
    const expected *x = ctx;
    tn_backend *b = NULL;
    tn_lanes *l;
    WANT(tn_backend_open(&b, "cpu", TN_F32, NULL, 1, &o->e) == TN_OK);
    tn_model *m = new_model(b, x->m->desc.vocab);
    tn_model_moments(m, x->kind, 11);
    WANT(tn_lanes_new(&l, c, LANES, m, EXAMPLES, &o->e) == TN_OK);
    tn_trained t[TN_TRAINED_MAX], want[TN_TRAINED_MAX];
    int n = tn_model_trained(m, t);
    tn_model_trained(x->m, want);
    for (int step = 0; step < STEPS; step++) {
        double sumsq;
        for (int i = 0; i < tn_lanes_own(l); i++) {
            int lane = c->rank * tn_lanes_own(l) + i;
            tn_lanes_open(l, i);
            for (int k = 0; k < n; k++) {
                float *g = t[k].store->grad;
                mark(t[k].store, step, lane);
                for (size_t j = 0; j < t[k].store->n; j++) {
                    WANT(g[j] == 0);
                    g[j] = lane_value(step, lane, j, t[k].store->n_live);
                }
            }
            tn_lanes_shut(l, i);
        }
        WANT(tn_lanes_reduce(l, &sumsq, &o->e) == TN_OK);
        WANT(sumsq == x->sumsq[step]);
        tn_model_adamw(m, 1e-2, 0.9, 0.999, 1e-8, 0.1, false, step + 1, 0.5);
        WANT(tn_lanes_share_weights(l, &o->e) == TN_OK);
        tn_model_zero_grad(m);
    }
    size_t in_use = 0;
    for (size_t i = 0; i < tn_live_blocks(m->trunk->n_live); i++) in_use += m->trunk->live[i];
    WANT(in_use > 0 && in_use < tn_live_blocks(m->trunk->n_live) / 2);
    for (int k = 0; k < n; k++) {
        const tn_store *s = t[k].store, *w = want[k].store;
        size_t at = tn_model_moment_bytes(m, s, s->first);
        WANT(same(s->data, w->data, s->n));
        WANT(memcmp(s->m, (const char *)w->m + at, s->moment_bytes) == 0);
        WANT(memcmp(s->v, (const char *)w->v + at, s->moment_bytes) == 0);
        WANT(at + s->moment_bytes == tn_model_moment_bytes(m, s, s->last));
        WANT(c->size == 1 ? s->first == 0 && s->last == s->n : s->last - s->first < s->n || k == 1);
    }
    tn_lanes_free(l);
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(lanes_same_bits_on_any_ranks) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    for (int k = 0; k < 6; k++) {
        int large = k % 2;
        expected x = {.kind = (tn_moment_kind)(k / 2)};
        expect(&x, b, large ? LARGE : SMALL);
        for (int ranks = large ? LANES : 1; ranks <= LANES; ranks *= 2)
            ranks_check(ranks, train, &x);
        tn_model_free(x.m);
    }
    tn_backend_free(b);
}

TEST(lanes_shards_cover_every_store_once) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = new_model(b, SMALL);
    CHECK_OK(tn_model_trainable(m, e));
    tn_trained t[TN_TRAINED_MAX];
    for (int i = 0, stores = tn_model_trained(m, t); i < stores; i++) {
        tn_store *s = t[i].store;
        double *whole = tn_calloc(tn_model_blocks(m, s), sizeof *whole), *part;
        tn_live_all(s);
        for (size_t j = 0; j < s->n; j++) ((float *)s->grad)[j] = lane_value(0, 1, j, 0);
        tn_model_block_sums(m, s, 0, s->n, whole);
        for (int n = 1; n <= 16; n++) {
            size_t block, blocks = tn_model_blocks(m, s);
            part = tn_calloc(blocks, sizeof *part);
            CHECK(tn_model_shard(m, s, 0, n, &block) == 0 && block == 0);
            CHECK(tn_model_shard(m, s, n, n, &block) == s->n && block == blocks);
            for (int k = 0; k < n; k++) {
                size_t from = tn_model_shard(m, s, k, n, &block),
                       to = tn_model_shard(m, s, k + 1, n, NULL);
                CHECK(from <= to && to <= s->n);
                CHECK(block == blocks * (size_t)k / (size_t)n);
                tn_model_block_sums(m, s, from, to, part);
            }
            CHECK_BYTES(part, whole, blocks * sizeof *part);
            tn_free(part);
        }
        tn_free(whole);
    }
    tn_model_free(m);
    tn_backend_free(b);
}

/* ---- dealing ---- */

static tn_response response[EXAMPLES];
static tn_example example[EXAMPLES], *batch[EXAMPLES];
static void make_batch(int n) {
    for (int i = 0; i < n; i++) {
        response[i] = (tn_response){.n = i % 5 == 0 ? 300 : 1 + i * i % 23};
        example[i] = (tn_example){.n_prompt = i % 7, .n_response = 1, .response = &response[i]};
        batch[i] = &example[i];
    }
}

typedef struct dealt {
    int n, lane_of[EXAMPLES];
} dealt;

static void deal(tn_comm *c, rank_outcome *o, const void *ctx) {
    const dealt *x = ctx;
    tn_backend *b = NULL;
    tn_lanes *l;
    WANT(tn_backend_open(&b, "cpu", TN_F32, NULL, 1, &o->e) == TN_OK);
    tn_model *m = new_model(b, SMALL);
    tn_batch_options q = {0};
    WANT(tn_lanes_new(&l, c, LANES, m, EXAMPLES, &o->e) == TN_OK);
    WANT(tn_lanes_deal(l, 0, batch, x->n, &q, &o->e) == TN_OK);
    for (int i = 0, n; i < tn_lanes_own(l); i++) {
        tn_example *const *ex = tn_lanes_examples(l, 0, i, &n);
        for (int k = 0; k < n; k++) {
            WANT(x->lane_of[ex[k] - example] == c->rank * tn_lanes_own(l) + i);
            WANT(k == 0 || ex[k] > ex[k - 1]); /* the batch's order */
        }
        tn_step_result *r = tn_lanes_result(l, 0, i);
        WANT(r->loss == 0 && r->metrics.n == 0);
        int lane = c->rank * tn_lanes_own(l) + i;
        r->loss = lane_value(0, lane, 0, 0), r->tokens = lane, r->micro_batches = 1;
        tn_metrics_mean(&r->metrics, lane % 2 ? "odd" : "even", lane_value(1, lane, 0, 0), lane + 1);
        tn_metrics_put(&r->metrics, TN_METRIC_MAX, "largest", lane);
    }
    tn_step_result all = {0};
    double loss = 0, odd = 0;
    for (int a = 0; a < LANES; a++) {
        loss += lane_value(0, a, 0, 0);
        if (a % 2) odd += lane_value(1, a, 0, 0);
    }
    WANT(tn_lanes_collect(l, 0, &all, &o->e) == TN_OK);
    WANT(all.loss == loss && all.tokens == 28 && all.micro_batches == LANES);
    WANT(all.metrics.n == 3 && !strcmp(all.metrics.v[0].name, "even") &&
         !strcmp(all.metrics.v[2].name, "odd"));
    WANT(tn_metrics_find(&all.metrics, "odd") == odd / 20 &&
         tn_metrics_find(&all.metrics, "largest") == 7);
    tn_lanes_free(l);
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(lanes_deal_depends_on_the_batch_alone) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = new_model(b, SMALL);
    tn_lanes *l = NULL;
    tn_batch_options q = {0};
    CHECK_OK(tn_lanes_new(&l, tn_comm_self(), LANES, m, EXAMPLES, e));
    static const int sizes[] = {EXAMPLES, 3, 0};
    for (int s = 0; s < 3 && l; s++) {
        dealt x = {.n = sizes[s]};
        int n, seen = 0, least = INT32_MAX, most = 0, dearest = 0;
        make_batch(x.n);
        CHECK_OK(tn_lanes_deal(l, 0, batch, x.n, &q, e));
        for (int a = 0; a < LANES; a++) {
            tn_example *const *ex = tn_lanes_examples(l, 0, a, &n);
            int load = 0;
            seen += n;
            for (int k = 0; k < n; k++) {
                int cost = tn_batch_cost(ex[k], &q);
                x.lane_of[ex[k] - example] = a;
                load += cost;
                if (cost > dearest) dearest = cost;
            }
            least = load < least ? load : least, most = load > most ? load : most;
        }
        CHECK(seen == x.n);
        CHECK_MSG(most - least <= dearest, "%d examples: lanes of %d to %d tokens", x.n, least,
                  most);
        for (int ranks = 1; ranks <= LANES; ranks *= 2) ranks_check(ranks, deal, &x);
    }
    tn_lanes_free(l);
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(lanes_refusals) {
    CHECK_FAIL(tn_lanes_check(3, 4, e), TN_ARG, "3 ranks");
    CHECK_FAIL(tn_lanes_check(1, 6, e), TN_ARG, "power of two");
    CHECK_FAIL(tn_lanes_check(4, 2, e), TN_ARG, "4 ranks have no work with 2 gradient lanes");
    CHECK_OK(tn_lanes_check(4, 4, e));
    CHECK(tn_lanes_spare(1, 1) == 0 && tn_lanes_spare(1, 8) == 3 && tn_lanes_spare(4, 8) == 1);
    tn_lanes *l = (tn_lanes *)response;
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = new_model(b, SMALL);
    CHECK_OK(tn_lanes_new(&l, tn_comm_self(), 1, m, 1, e));
    CHECK(l == NULL && m->trunk->grad &&
          m->trunk->last == m->trunk->n); /* nothing to do, yet trainable */
    tn_model_free(m);
    tn_backend_free(b);
}

/* Every allocation fails once: an error with a message, nothing lost (the address sanitizer looks). */
TEST(lanes_faults_are_errors) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    long n = 0;
    for (bool fired = true; fired && n < 100;) {
        tn_err e = {0};
        tn_lanes *l;
        tn_model *m = new_model(b, SMALL);
        tn_fault_arm(++n, 12);
        tn_status st = tn_lanes_new(&l, tn_comm_self(), LANES, m, EXAMPLES, &e);
        fired = tn_fault_fired();
        tn_fault_arm(0, 0);
        CHECK_MSG(fired ? st == TN_NOMEM && e.msg[0] && !l : st == TN_OK && l, "allocation %ld: %s",
                  n, e.msg);
        tn_lanes_free(l);
        tn_model_free(m);
    }
    CHECK(n > 10);
    tn_backend_free(b);
}
