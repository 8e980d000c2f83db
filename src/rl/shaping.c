#include "rl/shaping.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_shaping_options, f)
const tn_opt_row tn_shaping_rows[] = {
    {"reference-answers", TN_OPT_INT, AT(answers), "1", NULL, 1, 64, NULL, "N",
     "Answers of the reference to each prompt that par, sgfc, tanh_centred, centred and lsc compare with; sampled once."},
    TN_OPT_LAST};

/* Keeps streams of reference answers apart from those of the policy. */
#define OTHER_STREAM 0x5ef5a3b1c0de77ull

static bool changes(const tn_shape_opt *o) {
    return strcmp(o->shape, "none") != 0 || !isnan(o->ceil) || o->length_price > 0;
}

static bool refers(const tn_shaping_options *o) {
    bool references;
    return tn_shape_check(&o->map, &references, NULL) == TN_OK && references;
}

tn_status tn_shaping_check(const tn_shaping_options *o, int n_model, bool *references, tn_err *e) {
    TN_TRY(tn_shape_check(&o->map, references, e));
    if (changes(&o->map) && n_model < 1)
        return tn_fail(e, TN_ARG, "--reward-shaping maps scores of reward models, and there is no --reward-model");
    if (strcmp(o->map.shape, "lsc") == 0 && o->answers < 2)
        return tn_fail(e, TN_ARG, "--reward-shaping lsc takes a quantile of reference scores; give --reference-answers 2 or more");
    return TN_OK;
}

tn_status tn_shaping_budget(const tn_shaping_options *o, const tn_online *on, tn_budget *b, tn_err *e) {
    const tn_online_shape *s = &on->shape;
    tn_desc d = on->desc;
    if (!refers(o)) return TN_OK;
    int n = s->n_prompt * (int)o->answers;
    if (on->q.ref_model)
        TN_TRY(tn_model_peek(&d, on->q.ref_model, &(tn_load){.base = on->lora.base_model}, e));
    int64_t pages = s->n_prompt * (int64_t)tn_kv_pages_for(on->longest) + n * (int64_t)tn_kv_pages_for(s->max_new);
    tn_gen_budget(b, "reference", &d, on->be, on->gen_batch, on->rollout_length, pages < INT32_MAX / 2 ? (int)pages : 0);
    tn_budget_add(b, "rollouts", "", tn_rollouts_bytes(n, s->max_new));
    return TN_OK;
}

tn_status tn_shaping_open(tn_shaping *s, const tn_shaping_options *o, int n_model, tn_online *on, tn_err *e) {
    const tn_online_shape *q = &on->shape;
    size_t n = (size_t)q->n_prompt * (size_t)q->n_sample, most = n;
    if (!changes(&o->map)) return TN_OK;
    s->o = o, s->n_model = n_model;
    if (refers(o)) {
        s->n_answer = (int)o->answers;
        size_t cells = on->prompts->n * (size_t)n_model * (size_t)s->n_answer;
        if ((size_t)q->n_prompt * (size_t)s->n_answer > n) most = (size_t)q->n_prompt * (size_t)s->n_answer;
        s->known = tn_calloc(cells, sizeof *s->known);
        s->key = tn_calloc((size_t)q->n_prompt, sizeof *s->key);
        if (!s->known || !s->key) return tn_fail(e, TN_NOMEM, "out of memory for scores of reference answers");
        for (size_t i = 0; i < cells; i++) s->known[i] = NAN;
        TN_TRY(tn_gen_new(&s->gen, on->ref, on->gen_batch, on->rollout_length, e));
        TN_TRY(tn_rollouts_new(&s->answers, q->n_prompt, s->n_answer, q->n_prompt * s->n_answer, q->max_new,
                               (int)on->o.micro_tokens, e));
    }
    s->state = tn_calloc((size_t)n_model, sizeof *s->state);
    s->ref = tn_calloc(n * (size_t)(s->n_answer + 1), sizeof *s->ref);
    s->length = tn_calloc(n, sizeof *s->length);
    s->score = tn_calloc(most, sizeof *s->score);
    return s->state && s->ref && s->length && s->score ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for reward shaping");
}

void tn_shaping_close(tn_shaping *s) {
    void *p[] = {s->state, s->key, s->known, s->ref, s->length, s->score};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_gen_free(s->gen);
    tn_rollouts_free(&s->answers);
}

static size_t row_of(const tn_online *on, const tn_example *x) { return (size_t)(x - on->prompts->ex); }
static double *known_of(const tn_shaping *s, size_t row, int k) {
    return s->known + (row * (size_t)s->n_model + (size_t)k) * (size_t)s->n_answer;
}

/* Prompts in hand without reference scores into the answers' rollouts, each once. */
static void pick_new(tn_shaping *s, const tn_online *on) {
    tn_rollouts *a = &s->answers;
    a->n_prompt = 0;
    for (int i = 0; i < on->roll.n_prompt; i++) {
        tn_example *x = on->roll.prompt[i];
        size_t row = row_of(on, x);
        bool have = !isnan(known_of(s, row, 0)[0]);
        for (int j = 0; j < a->n_prompt; j++) have |= a->prompt[j] == x;
        if (have) continue;
        s->key[a->n_prompt] = (uint64_t)row * (uint64_t)s->n_answer;
        a->prompt[a->n_prompt++] = x;
    }
    a->key = s->key;
}

tn_status tn_shaping_refer(tn_shaping *s, tn_online *on, tn_scorer *const *scorer, tn_err *e) {
    tn_rollouts *a = &s->answers;
    if (!s->o || !s->n_answer) return TN_OK;
    pick_new(s, on);
    if (a->n_prompt == 0) return TN_OK;
    tn_sampling how = on->sampling;
    how.seed ^= OTHER_STREAM;
    how.greedy_first = false;
    TN_TRY(tn_rollouts_sample(a, s->gen, 0, &how, e));
    tn_online_leave(on);
    tn_gen_rest(s->gen);
    for (int k = s->n_model - 1; k >= 0; k--) { /* model 0 last: it says whether a row is known */
        double *latent = scorer[k]->latent; /* of the rollouts in hand */
        scorer[k]->latent = NULL;
        tn_status st = tn_rollouts_score(a, scorer[k], on->tok, s->score, e);
        scorer[k]->latent = latent;
        tn_online_leave(on);
        TN_TRY(st);
        for (int i = 0; i < a->n; i++)
            known_of(s, row_of(on, a->prompt[a->group[i]]), k)[i % s->n_answer] = s->score[i];
    }
    return TN_OK;
}

tn_status tn_shaping_apply(tn_shaping *s, int k, const tn_online *on, double *score, int stride, tn_err *e) {
    const tn_rollouts *r = &on->roll;
    size_t M = (size_t)s->n_answer;
    if (!s->o) return TN_OK;
    for (int i = 0; i < r->n; i++) {
        s->score[i] = score[i * stride];
        s->length[i] = r->response[i].n;
        if (M) memcpy(s->ref + (size_t)i * M, known_of(s, row_of(on, r->prompt[r->group[i]]), k), M * sizeof *s->ref);
    }
    TN_TRY(tn_shape_rewards(&s->o->map, &s->state[k], M ? s->ref : NULL, s->n_answer, s->length, s->score, r->n, NULL, e));
    for (int i = 0; i < r->n; i++) score[i * stride] = s->score[i];
    return TN_OK;
}

/* ---- in a checkpoint ---- */

json_t *tn_shaping_state(const tn_shaping *s) {
    json_t *all = json_array();
    for (int k = 0; s->o && k < s->n_model; k++) {
        const tn_shape_state *q = &s->state[k];
        json_array_append_new(all, json_pack("[f,f,f,f,f]", q->seen.count, q->seen.mean, q->seen.m2, q->lo, q->hi));
    }
    return all;
}

void tn_shaping_take(tn_shaping *s, const json_t *state) {
    for (int k = 0; s->o && k < s->n_model; k++) {
        const json_t *a = json_array_get(state, (size_t)k);
        double v[5];
        for (size_t i = 0; i < 5; i++) v[i] = json_number_value(json_array_get(a, i));
        s->state[k] = (tn_shape_state){{v[0], v[1], v[2]}, v[3], v[4]};
    }
}
