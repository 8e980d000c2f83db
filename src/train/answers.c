#include "train/answers.h"
#include "base/log.h"
#include <string.h>

#define AT(f) offsetof(tn_answers_options, f)
const tn_opt_row tn_answers_rows[] = {
    {"lmbda", TN_OPT_REAL, AT(lmbda), "0.5", NULL, 0, 1, "lambda", "X",
     "Share of the steps whose prompts are answered by the student itself; the others take the rows' answers."},
    {"temperature", TN_OPT_REAL, AT(temperature), "0.9", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature of answers. The divergence is that of the models' own distributions, as in TRL."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "128", NULL, 1, 1 << 20, NULL, "N", "Longest sampled answer."},
    {"seq-kd", TN_OPT_BOOL, AT(seq_kd), "false", NULL, 0, 0, NULL, NULL,
     "The teacher answers the other steps' prompts (sequence-level distillation)."},
    {"gen-batch-size", TN_OPT_INT, AT(gen_batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change results."},
    TN_OPT_LAST};

static bool asks_own(const tn_answers *a) { return a->q.lmbda > 0; }
static bool asks_teacher(const tn_answers *a) { return a->q.seq_kd && a->q.lmbda < 1; }
bool tn_answers_wanted(const tn_answers *a) { return asks_own(a) || asks_teacher(a); }

/* Where the last trained span of a response begins. */
static int last_span(const tn_response *r) {
    int i = r->n;
    while (i > 0 && !r->trained[i - 1]) i--;
    while (i > 0 && r->trained[i - 1]) i--;
    return i;
}

/* Tokens that all joined prompts take; the others are the rows' own. */
static size_t joined(const tn_dataset *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        int span = last_span(&d->ex[i].response[0]);
        if (span > 0) n += (size_t)(d->ex[i].n_prompt + span);
    }
    return n;
}

static tn_status find_prompts(tn_answers *a, const tn_dataset *d, tn_err *e) {
    a->prompt = tn_calloc(d->n, sizeof *a->prompt);
    a->ids = tn_calloc(joined(d) + 1, sizeof *a->ids);
    if (!a->prompt || !a->ids) return tn_fail(e, TN_NOMEM, "out of memory for %zu prompts", d->n);
    int32_t *at = a->ids;
    for (size_t i = 0; i < d->n; i++) {
        const tn_example *x = &d->ex[i];
        tn_example *y = &a->prompt[i];
        const tn_response *r = &x->response[0];
        int span = last_span(r);
        *y = (tn_example){.prompt = x->prompt, .n_prompt = x->n_prompt + span, .file = x->file, .line = x->line};
        if (span > 0) {
            y->prompt = at;
            if (x->n_prompt) memcpy(at, x->prompt, (size_t)x->n_prompt * sizeof *at);
            memcpy(at + x->n_prompt, r->ids, (size_t)span * sizeof *at);
            at += y->n_prompt;
        }
        if (i == 0 || y->n_prompt > a->longest) a->longest = y->n_prompt;
        if (i == 0 || y->n_prompt < a->shortest) a->shortest = y->n_prompt;
    }
    return TN_OK;
}

/* Rows of a step, at most: by number, or as many as so many tokens hold of the shortest row. */
static int most_rows(const tn_dataset *d, const tn_train_options *o) {
    int64_t n = o->batch_size * o->accumulation;
    if (o->batch_tokens > 0) {
        int shortest = tn_example_tokens(&d->ex[0]);
        for (size_t i = 1; i < d->n; i++)
            if (tn_example_tokens(&d->ex[i]) < shortest) shortest = tn_example_tokens(&d->ex[i]);
        n = o->batch_tokens / shortest + 1;
    }
    return n < (int64_t)d->n ? (int)n : (int)d->n;
}

/* The same answers behind other prompts. */
static tn_status measure_teachers(tn_answers *a, int64_t tokens, tn_batch_need *need, int *length, tn_err *e) {
    const tn_dataset *d = a->rows->teachers;
    int longest = 1, shortest = d->ex[0].n_prompt;
    if (!(a->teacher_side = tn_calloc((size_t)a->n, sizeof *a->teacher_side)))
        return tn_fail(e, TN_NOMEM, "out of memory for the answers of a step");
    for (size_t i = 0; i < d->n; i++) {
        if (d->ex[i].n_prompt > longest) longest = d->ex[i].n_prompt;
        if (d->ex[i].n_prompt < shortest) shortest = d->ex[i].n_prompt;
    }
    int most = longest + (int)a->q.max_new + 1;
    int64_t blocks = a->n * (int64_t)(tn_kv_pages_for(longest) + tn_kv_pages_for((int)a->q.max_new));
    if (tokens < most) tokens = most;
    tn_batch_need q = tn_batch_rollouts((int)tokens, a->n, 1, shortest, blocks < INT32_MAX / 2 ? (int)blocks : 0);
    tn_batch_need_raise(need, &q);
    if (most > *length) *length = most;
    return TN_OK;
}

tn_status tn_answers_measure(tn_answers *a, const tn_dataset *rows, const tn_train_options *o, tn_batch_need *need,
                             int *length, tn_err *e) {
    a->rows = rows;
    a->seed = (uint64_t)o->seed;
    if (!tn_answers_wanted(a)) return TN_OK;
    TN_TRY(find_prompts(a, rows, e));
    a->n = most_rows(rows, o);
    a->batch = a->q.gen_batch < a->n ? (int)a->q.gen_batch : a->n;
    a->length = a->longest + (int)a->q.max_new + 1;
    int64_t blocks = a->n * (int64_t)(tn_kv_pages_for(a->longest) + tn_kv_pages_for((int)a->q.max_new));
    a->blocks = blocks < INT32_MAX / 2 ? (int)blocks : 0;
    int64_t all = a->n * (int64_t)a->length, tokens = o->micro_tokens < all ? o->micro_tokens : all;
    if (tokens < a->length) tokens = a->length;
    tn_batch_need q = tn_batch_rollouts((int)tokens, a->n, 1, a->shortest, a->blocks);
    tn_batch_need_raise(need, &q);
    if (a->length > *length) *length = a->length;
    return rows->teachers ? measure_teachers(a, tokens, need, length, e) : TN_OK;
}

tn_status tn_answers_budget(const tn_answers *a, tn_budget *p, const tn_desc *d, const char *teacher, const char *base,
                            tn_backend *be, tn_err *e) {
    tn_desc second;
    if (asks_own(a)) tn_gen_budget(p, NULL, d, be, a->batch, a->length, a->blocks);
    if (asks_teacher(a)) {
        TN_TRY(tn_model_peek(&second, teacher, &(tn_load){.base = base}, e));
        tn_gen_budget(p, NULL, &second, be, a->batch, a->length, a->blocks);
    }
    if (tn_answers_wanted(a)) tn_budget_add(p, "rollouts", "", tn_rollouts_bytes(a->n, (int)a->q.max_new));
    return TN_OK;
}

void tn_answers_introduce(const tn_answers *a, long steps) {
    double own = a->q.lmbda * (double)steps;
    if (asks_own(a))
        tn_info("answers: the student's own in about %.0f of %ld steps, of up to %lld tokens; the time to sample them "
                "comes on top", own, steps, (long long)a->q.max_new);
    if (asks_teacher(a)) tn_info("answers: the teacher's in about %.0f of %ld steps", (double)steps - own, steps);
}

tn_status tn_answers_open(tn_answers *a, const tn_model *own, const tn_model *teacher, const tn_tokenizer *tok,
                          tn_err *e) {
    int max_new = (int)a->q.max_new;
    if (!tn_answers_wanted(a)) return TN_OK;
    a->sampling = (tn_sampling){.temperature = a->q.temperature, .top_p = 1, .max_new = max_new, .seed = a->seed};
    tn_gen_stops(&a->sampling, own, tok);
    if (asks_own(a)) TN_TRY(tn_gen_new(&a->own, own, a->batch, a->length, e));
    if (asks_teacher(a)) TN_TRY(tn_gen_new(&a->teacher, teacher, a->batch, a->length, e));
    return tn_rollouts_new(&a->roll, a->n, 1, a->n, max_new, a->length, e);
}

tn_status tn_answers_give(tn_answers *a, tn_example **rows, int n, long step, tn_metrics *m, tn_err *e) {
    if (!tn_answers_wanted(a)) return TN_OK;
    tn_rng r = tn_rng_stream(a->seed, TN_RNG_ANSWERS, (uint64_t)step);
    bool on_policy = tn_rng_unit(&r) < a->q.lmbda;
    tn_metrics_mean(m, "on_policy", on_policy, 1);
    if (!on_policy && !a->q.seq_kd) return TN_OK;
    if (n > a->n) return tn_fail(e, TN_BUG, "a step of %d rows, room was made for %d", n, a->n);
    for (int i = 0; i < n; i++) {
        a->roll.prompt[i] = &a->prompt[rows[i] - a->rows->ex];
        if (a->teacher_side) a->teacher_side[i] = *rows[i]->teacher;
    }
    a->roll.n_prompt = n;
    TN_TRY(tn_rollouts_sample(&a->roll, on_policy ? a->own : a->teacher, (uint64_t)step * (uint64_t)a->n, &a->sampling,
                              e));
    double tokens = 0, ended = 0;
    for (int i = 0; i < n; i++) {
        rows[i] = a->roll.at[i];
        if (a->teacher_side) a->teacher_side[i].response = rows[i]->response, rows[i]->teacher = &a->teacher_side[i];
        tokens += a->roll.response[i].n;
        ended += a->roll.ended[i] != 0;
    }
    tn_metrics_mean(m, "completions/mean_length", tokens, n);
    tn_metrics_mean(m, "completions/clipped_ratio", n - ended, n);
    return TN_OK;
}

void tn_answers_close(tn_answers *a) {
    tn_gen_free(a->own);
    tn_gen_free(a->teacher);
    tn_rollouts_free(&a->roll);
    tn_free(a->prompt);
    tn_free(a->ids);
    tn_free(a->teacher_side);
}
