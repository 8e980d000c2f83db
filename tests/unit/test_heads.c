/* Heads of reward, cost and process reward models in training: gradients of a step through the whole model against
 * finite differences in double; what micro-batches and lanes must not change; folding; refusals. */
#include "algo/lagrange.h"
#include "algo/losses.h"
#include "tiny.h"
#include "train/step.h"
#include <math.h>

enum { PAIRS = 5, LONG = 9, PROMPT = 4 };

typedef struct bench {
    tn_trainee t;
    tn_pooled_run *pooled;
    tn_example ex[PAIRS], *at[PAIRS];
    tn_response response[PAIRS][2];
    int32_t ids[PAIRS][3][LONG];
    uint8_t trained[PAIRS][LONG];
    double label[PAIRS][LONG];
} bench;

/* Pairs of uneven lengths with safety labels, or solutions whose every second token ends a step. */
static void make_rows(bench *b, int vocab, bool steps) {
    for (int i = 0; i < PAIRS; i++) {
        tn_example *x = b->at[i] = &b->ex[i];
        *x = (tn_example){.prompt = b->ids[i][2],
                          .n_prompt = PROMPT,
                          .n_response = steps ? 1 : 2,
                          .response = b->response[i],
                          .pair = !steps,
                          .label = i & 3,
                          .line = i,
                          .ret = steps ? b->label[i] : NULL};
        for (int k = 0; k < 3; k++) tiny_ids(b->ids[i][k], LONG, vocab, (uint64_t)(10 * i + k));
        for (int k = 0; k < 2; k++)
            b->response[i][k] =
                (tn_response){.ids = b->ids[i][k], .trained = b->trained[i], .n = LONG - (3 * i + 5 * k) % 7, .rank = k + 1};
        for (int t = 0; t < LONG; t++) {
            b->trained[i][t] = t % 2;
            b->label[i][t] = t == 1 ? 0.25 : t == 3; /* the first is a share of continuations */
        }
    }
}

static const tn_inform_opt by_sum = {6, 0.05, "sum"}, mean_first = {6, 3, "mean_first"};
static const tn_odin_opt paper = {1, 0.5, "paper"}, code = {0.7, 0.5, "code"};
static const tn_reward_opt plain = {0.01, 0, 0, 1, "pairs", "drop"};
static const tn_cost_opt cost = {0.01};
static const tn_many_opt three = {3, 5};
static const struct {
    const char *name, *head; /* head NULL: score.weight */
    const tn_algo *algo;
    const void *opt;
} kinds[] = {
    {"inform", "inform", &tn_algo_inform, &by_sum}, {"inform, means", "inform", &tn_algo_inform, &mean_first},
    {"odin", "odin", &tn_algo_odin, &paper},        {"odin, code", "odin", &tn_algo_odin, &code},
    {"ensemble", "ensemble", &tn_algo_many, &three},
    {"reward", NULL, &tn_algo_reward, &plain},      {"cost", NULL, &tn_algo_cost, &cost},
    {"prm", NULL, &tn_algo_prm, NULL},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bool set_up(bench *b, int kind, tn_backend *be, int max_tokens) {
    tn_desc d = tiny_get(4)->desc;
    const tn_pooled_head *h = tn_pooled_find(kinds[kind].head);
    bool steps = kinds[kind].algo == &tn_algo_prm;
    memset(b, 0, sizeof *b);
    d.num_labels = steps ? 2 : 1, d.per_token = steps;
    if (h) {
        tn_load how = {.want_score = true};
        tn_pooled_wants(h, kinds[kind].opt, &how);
        d.n_part = how.n_part;
        memcpy(d.part, how.part, sizeof d.part);
        for (int i = 0; i < d.n_part; i++)
            if (!d.part[i].cols) d.part[i].cols = d.hidden;
    }
    tn_model *m = tiny_model(&d, be, true, 7);
    if (!m) return false;
    make_rows(b, d.vocab, steps);
    b->t = (tn_trainee){.model = m, .algo = kinds[kind].algo, .opt = kinds[kind].opt, .inv_temp = 1,
                        .batch = {.share_prompts = true, .step_ends = steps}, .max_tokens = max_tokens};
    b->t.needs = tn_algo_needs(b->t.algo, b->t.opt);
    CHECK_OK(tn_model_trainable(m, e));
    CHECK_OK(tn_run_new(&b->t.run, m, 256, 3, 64, TN_KEEP_ALL, e)); /* 3: heads go in pieces */
    if (!h) return true;
    CHECK_OK(tn_pooled_new(&b->pooled, h, kinds[kind].opt, d.hidden, 2 * PAIRS, 11, e));
    CHECK_OK(tn_pooled_reserve_step(b->pooled, 2 * PAIRS, 1, e));
    b->pooled->step = 3;
    b->t.pooled = b->pooled;
    return true;
}
static void tear_down(bench *b) {
    tn_batch_free(&b->t.mb);
    tn_pooled_free(b->pooled);
    tn_run_free(b->t.run);
    tn_model_free(b->t.model);
}

static double loss_of(bench *b, bool train) {
    tn_step_result r = {0};
    tn_model_zero_grad(b->t.model);
    CHECK_OK(tn_trainee_accumulate(&b->t, b->at, PAIRS, train, &r, e));
    return r.loss;
}

/* Sixth-order difference along a random direction of one tensor. */
static double slope(bench *b, const tn_tensor *t, uint64_t seed) {
    static const double c[] = {45.0 / 60, -9.0 / 60, 1.0 / 60};
    size_t n = (size_t)t->rows * (size_t)t->cols;
    double *x = tn_tensor_data(t, b->t.model->be), *old = tn_malloc(n * sizeof *old), sum = 0, h = 1e-3;
    memcpy(old, x, n * sizeof *old);
    for (int k = -3; k <= 3; k++) {
        for (size_t i = 0; i < n; i++) x[i] = old[i] + k * h * tiny_unit(seed, i);
        tn_model_pack(b->t.model);
        if (k) sum += (k < 0 ? -c[-k - 1] : c[k - 1]) * loss_of(b, true);
    }
    memcpy(x, old, n * sizeof *old);
    tn_model_pack(b->t.model);
    tn_free(old);
    return sum / h;
}

static void check_tensor(bench *b, const char *name, const tn_tensor *t, uint64_t seed) {
    const double *g = tn_tensor_grad(t, b->t.model->be);
    double dot = 0, norm = 0, unit = 0;
    for (size_t i = 0; i < (size_t)t->rows * (size_t)t->cols; i++) {
        double u = tiny_unit(seed, i);
        dot += g[i] * u, norm += g[i] * g[i], unit += u * u;
    }
    bool derived = b->pooled && strcmp(t->name, "score.weight") == 0; /* no gradient reaches it */
    CHECK_MSG(derived ? norm == 0 : norm > 0, "%s %s: the gradient's square is %g", name, t->name, norm);
    double fd = slope(b, t, seed), scale = sqrt(norm * unit);
    CHECK_MSG(fabs(fd - dot) <= 2e-8 * scale + 1e-12, "%s %s: gradient %.12g, differences say %.12g", name, t->name, dot, fd);
}

TEST(heads_finite_differences) {
    tn_backend *be = tiny_backend("ref64", TN_F64, NULL, 1);
    for (int k = 0; be && k < KINDS; k++) {
        bench b;
        if (!set_up(&b, k, be, 30)) break; /* 30: several micro-batches */
        const tn_model *m = b.t.model;
        for (int i = 0; i < m->n_tensor; i++) {
            if (m->tensor[i].store == m->trunk && i % 5 != k % 5) continue; /* test_backward.c has them all */
            loss_of(&b, true);
            check_tensor(&b, kinds[k].name, &m->tensor[i], 50 + (uint64_t)i);
        }
        tear_down(&b);
    }
    tn_backend_free(be);
}

/* Noise and correlations are the step's, whatever it is cut into. */
TEST(heads_do_not_depend_on_micro_batches) {
    tn_backend *be = tiny_backend("cpu", TN_F32, NULL, 2);
    for (int k = 0; be && k < KINDS; k++) {
        bench one, many;
        if (!set_up(&one, k, be, 256) || !set_up(&many, k, be, 20)) break;
        double a = loss_of(&one, true), c = loss_of(&many, true), apart = 0, size = 0;
        CHECK_MSG(fabs(a - c) <= 1e-14 * fabs(a), "%s: loss %.17g in one micro-batch, %.17g in many", kinds[k].name, a, c);
        const tn_store *s = one.t.model->trunk, *q = many.t.model->trunk;
        for (size_t i = 0; i < s->n; i++) {
            double g = tiny_element(be, s->grad, i), d = g - tiny_element(be, q->grad, i);
            apart += d * d, size += g * g;
        }
        CHECK_MSG(apart <= 1e-10 * size, "%s: gradients apart by %g", kinds[k].name, sqrt(apart / size));
        tear_down(&one), tear_down(&many);
    }
    tn_backend_free(be);
}

/* Every step draws anew, evaluation never; score.weight is the evaluating head. */
TEST(heads_noise_and_fold) {
    tn_backend *be = tiny_backend("ref64", TN_F64, NULL, 1);
    bench b;
    if (!be || !set_up(&b, 0, be, 256)) return;
    double first = loss_of(&b, true), quiet = loss_of(&b, false);
    CHECK(first == loss_of(&b, true) && first != quiet);
    b.pooled->step = 4;
    CHECK(first != loss_of(&b, true) && quiet == loss_of(&b, false));
    tn_pooled_fold(b.pooled, b.t.model);
    loss_of(&b, false);
    double score[2 * PAIRS];
    CHECK(b.t.mb.n_seq == 2 * PAIRS);
    CHECK_OK(tn_score_head(b.t.run, b.t.model, b.t.mb.score_row, 2 * PAIRS, score, e));
    for (int i = 0; i < 2 * PAIRS; i++) CHECK_NEAR(score[i], b.t.mb.score[i], 1e-12, 1e-12);
    tear_down(&b);
    tn_backend_free(be);
}

/* Resamples belong to rows and heads, not to steps; evaluation counts every pair once. */
TEST(heads_resamples) {
    enum { MANY = 2000 };
    static double score[2 * MANY], extra[2 * MANY][3], d[2 * MANY][3];
    static int chosen[MANY], rejected[MANY], off[2 * MANY + 1];
    static uint64_t origin[2 * MANY];
    for (int i = 0; i < MANY; i++) {
        chosen[i] = 2 * i, rejected[i] = 2 * i + 1;
        origin[2 * i] = origin[2 * i + 1] = (uint64_t)i;
    }
    tn_obs x = {.n_seq = 2 * MANY, .off = off, .score = score, .n_pair = MANY, .chosen = chosen, .rejected = rejected,
                .n_extra = 3, .extra = extra[0], .origin = origin, .total = {.pair = MANY}};
    tn_grad g = {.extra = d[0]};
    tn_metrics m;
    tn_metrics_clear(&m);
    CHECK_OK(tn_algo_many.step(&three, &x, &g, &m, e));
    CHECK_NEAR(g.loss, 0.69314718, 0.03, 0); /* mean of 6,000 draws of mean and variance 1 */
    int differ = 0, zero = 0;
    for (int i = 0; i < MANY; i++) differ += d[2 * i][0] != d[2 * i][1], zero += d[2 * i][2] == 0;
    CHECK_MSG(differ > MANY / 2, "heads share their resample: %d of %d pairs differ", differ, MANY);
    CHECK_MSG(zero > 660 && zero < 810, "%d of %d pairs are left out, expected exp(-1) of them", zero, MANY);
    x.origin = NULL;
    CHECK_OK(tn_algo_many.step(&three, &x, &g, &m, e));
    CHECK_NEAR(g.loss, 0.69314718055994531, 1e-12, 0);
}

TEST(heads_refusals) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    bench b;
    double x;
    if (!be || !set_up(&b, KINDS - 1, be, 256)) return;
    loss_of(&b, false);
    CHECK_FAIL(tn_score_head(b.t.run, b.t.model, b.t.mb.row, 1, &x, e), TN_UNSUPPORTED, "process reward models two");
    tear_down(&b);
    if (!set_up(&b, 0, be, 256)) return;
    loss_of(&b, false);
    CHECK_FAIL(tn_logit_head(b.t.run, b.t.model, b.t.mb.score_row, 1, &x, e), TN_UNSUPPORTED, "1 labels");
    b.pooled->cap = 2;
    tn_step_result r = {0};
    CHECK_FAIL(tn_trainee_accumulate(&b.t, b.at, PAIRS, true, &r, e), TN_BUG, "made for 2 responses");
    tear_down(&b);
    tn_backend_free(be);
}
