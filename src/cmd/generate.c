/* tenet generate: prompts in, responses out. */
#include "algo/group.h"
#include "base/log.h"
#include "base/signals.h"
#include "data/dataset.h"
#include "gen/gen.h"
#include "ops/profile.h"
#include "train/scorer.h"
#include "train/trainer.h"
#include <math.h>
#include <string.h>

typedef struct generate_options {
    const char *transcripts, *input, *out, *reward, *shots;
    int64_t n_shots, n, max_new, batch, top_k, best_of;
    double temperature, top_p, min_p;
    bool greedy, logprobs, ignore_eos, grouped;
    tn_opt_list begin;
} generate_options;

#define AT(field) offsetof(generate_options, field)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "model_name_or_path", "DIR",
     "Hugging Face folder of a model or an adapter."},
    {"chat-template", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Override the checkpoint's chat template."},
    {"transcripts", TN_OPT_CHOICE, AT(transcripts), "text", "text|chat", 0, 0, NULL, NULL,
     "HH-RLHF transcripts, and prompts that are texts: as they are, or as conversations in the model's chat template."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Rows {\"prompt\"}, {\"messages\"} or {\"ids\"}; - for standard input."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, "output", "FILE",
     "Output rows; - for standard output."},
    {"few-shot", TN_OPT_STRING, AT(shots), NULL, NULL, 0, 0, NULL, "FILE",
     "Examples to put before every prompt, as many as leave room for the response in the model's context: rows "
     "{\"messages\"} or {\"prompt\", \"completion\"}."},
    {"num-fewshot", TN_OPT_INT, AT(n_shots), "0", NULL, 0, 0, NULL, "N", "At most so many of them; 0: all."},
    {"n", TN_OPT_INT, AT(n), "1", NULL, 1, 1 << 16, "num_return_sequences num_generations", "N",
     "Responses per prompt."},
    {"also-begin", TN_OPT_LIST, AT(begin), NULL, NULL, 0, 0, NULL, "TEXT",
     "For each TEXT one more response to every prompt, which begins with it (a prefill): what a model hardly ever says by itself, "
     "for a preference model to see beside what it says."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "256", NULL, 1, 1 << 20, "max_tokens", "N",
     "Longest response."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X",
     "Sampling temperature; 0 is greedy."},
    {"greedy", TN_OPT_BOOL, AT(greedy), "false", NULL, 0, 0, NULL, NULL,
     "Take the most probable token (temperature 0)."},
    {"top-k", TN_OPT_INT, AT(top_k), "0", NULL, 0, 0, NULL, "N",
     "Keep the N most probable tokens; 0: all."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X",
     "Keep the smallest set of tokens with this mass."},
    {"min-p", TN_OPT_REAL, AT(min_p), "0", NULL, 0, 1, NULL, "X",
     "Keep tokens with at least this share of the largest probability."},
    {"best-of", TN_OPT_INT, AT(best_of), "1", NULL, 1, 4096, NULL, "N",
     "Sample N responses to each prompt and write only the best of them by --reward-model, with its \"reward\"; `tenet "
     "best-of-n` measures what that buys."},
    {"reward-model", TN_OPT_STRING, AT(reward), NULL, NULL, 0, 0, NULL, "DIR", "Judge of --best-of."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change the output."},
    {"grouped", TN_OPT_BOOL, AT(grouped), "false", NULL, 0, 0, NULL, NULL,
     "One row for each prompt: the input's row with \"responses\" and \"ended\", as `tenet label` and `tenet world rank` read it."},
    {"logprobs", TN_OPT_BOOL, AT(logprobs), "false", NULL, 0, 0, NULL, NULL,
     "Write each token's log-prob under the full distribution at the temperature."},
    {"ignore-eos", TN_OPT_BOOL, AT(ignore_eos), "false", NULL, 0, 0, NULL, NULL,
     "Go on past stop tokens (benchmarks)."},
    TN_OPT_LAST};

typedef struct session {
    generate_options o;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_model *model;
    json_t *shots;
    tn_dataset *data;
    tn_gen *gen;
    tn_gen_request *req;
    tn_gen_sample *sample;
    tn_out *out;
    tn_progress bar;
    int n_sample; /* to each prompt, begun ones last */
    /* --also-begin */
    tn_ids *begin;               /* [n_begin] */
    int n_begin, longest_begin;
    int32_t *begun, *whole;      /* of a portion: prompts [.., longest + longest_begin] and responses [.., longest_begin + max_new] */
    int longest;                 /* prompt */
    /* --best-of */
    tn_scorer scorer;
    double *score; /* of a portion's samples */
    tn_example *ex;
    tn_response *response;
    uint8_t *ones;
    int *best;
} session;

static void tick(void *ctx, long samples, long tokens) {
    session *s = ctx;
    double dt = tn_now() - s->bar.t0;
    tn_progress_update(&s->bar, samples, "%.0f tok/s", dt > 0 ? (double)tokens / dt : 0.0);
}

/* One output row: the input's id when it has one, then what was generated. */
static tn_status write_row(session *s, const tn_example *x, const tn_gen_sample *y, const double *reward, tn_err *e) {
    tn_str b = TN_STR_INIT, text = TN_STR_INIT;
    tn_status st = TN_OK;
    const json_t *id = json_object_get(x->meta, "id");
    tn_str_addc(&b, '{');
    if (json_is_string(id)) {
        tn_str_addz(&b, "\"id\": ");
        tn_str_add_json(&b, json_string_value(id), json_string_length(id));
        tn_str_addz(&b, ", ");
    }
    tn_str_addz(&b, "\"prompt_ids\": [");
    for (int i = 0; i < x->n_prompt; i++) tn_str_addf(&b, i ? ", %d" : "%d", x->prompt[i]);
    tn_str_addz(&b, "], \"ids\": [");
    for (int i = 0; i < y->n; i++) tn_str_addf(&b, i ? ", %d" : "%d", y->ids[i]);
    tn_str_addz(&b, "]");
    if (s->tok) {
        st = tn_decode(s->tok, y->ids, (size_t)y->n, true, &text, e);
        tn_str_addz(&b, ", \"text\": ");
        tn_str_add_json(&b, text.s ? text.s : "", text.len);
    }
    tn_str_addf(&b, ", \"finish_reason\": \"%s\"", y->stopped ? "stop" : "length");
    if (reward) tn_str_addz(&b, ", \"reward\": "), tn_str_add_f64(&b, *reward);
    if (s->o.logprobs) {
        tn_str_addz(&b, ", \"logprobs\": [");
        for (int i = 0; i < y->n; i++) {
            if (i) tn_str_addz(&b, ", ");
            tn_str_add_f32(&b, (float)y->logp[i]);
        }
        tn_str_addz(&b, "]");
    }
    tn_str_addz(&b, "}\n");
    if (st == TN_OK)
        st = b.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(s->out, b.s, b.len, e);
    tn_str_free(&b);
    tn_str_free(&text);
    return st;
}

/* --best-of: room for portions, and the judge. */
static tn_status open_judge(session *s, const char *dir, const char *base, size_t portion, tn_err *e) {
    size_t n = (size_t)s->n_sample;
    if (s->o.best_of == 1) return TN_OK;
    s->score = tn_calloc(portion * n, sizeof *s->score);
    s->ex = tn_calloc(portion, sizeof *s->ex);
    s->response = tn_calloc(portion * n, sizeof *s->response);
    s->ones = tn_malloc((size_t)s->o.max_new);
    s->best = tn_calloc(n, sizeof *s->best);
    if (!s->score || !s->ex || !s->response || !s->ones || !s->best) return tn_fail(e, TN_NOMEM, "out of memory");
    memset(s->ones, 1, (size_t)s->o.max_new);
    TN_TRY(tn_scorer_open_with(&s->scorer, s->o.reward, dir, s->be, 2048, 2048, &(tn_load){.base = base, .frozen = true}, e));
    return tn_scorer_no_cost(&s->scorer, s->o.reward, e);
}

/* Writes the --n best of each of k prompts' samples. */
static tn_status write_best(session *s, const tn_example *prompt, size_t k, tn_err *e) {
    int n = s->n_sample;
    for (size_t i = 0; i < k; i++) {
        tn_response *r = s->response + i * (size_t)n;
        for (int j = 0; j < n; j++) {
            const tn_gen_sample *y = &s->sample[i * (size_t)n + (size_t)j];
            r[j] = (tn_response){.ids = y->ids, .n = y->n, .trained = s->ones, .rank = 1};
        }
        s->ex[i] = (tn_example){.prompt = prompt[i].prompt, .n_prompt = prompt[i].n_prompt, .n_response = n, .response = r,
                                .meta = prompt[i].meta};
    }
    TN_TRY(tn_scorer_scores(&s->scorer, s->ex, (int)k, s->tok, s->score, e));
    for (size_t i = 0; i < k; i++) {
        const double *score = s->score + i * (size_t)n;
        TN_TRY(tn_top(score, n, (int)s->o.n, s->best, e));
        for (int j = 0; j < s->o.n; j++)
            TN_TRY(write_row(s, &prompt[i], &s->sample[i * (size_t)n + (size_t)s->best[j]], &score[s->best[j]], e));
    }
    return TN_OK;
}

/* --grouped: the input's row with its n samples. */
static tn_status write_group(session *s, const tn_example *x, const tn_gen_sample *y, int n, tn_err *e) {
    json_t *row = json_copy(x->meta), *texts = json_array(), *ended = json_array();
    tn_str text = TN_STR_INIT;
    tn_status st = row ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK && (json_object_set_new(row, "responses", texts) < 0 || json_object_set_new(row, "ended", ended) < 0))
        st = tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n && st == TN_OK; i++) {
        tn_str_clear(&text);
        st = tn_decode(s->tok, y[i].ids, (size_t)y[i].n, true, &text, e);
        if (st == TN_OK && (json_array_append_new(texts, json_stringn(text.s, text.len)) < 0 || json_array_append_new(ended, json_boolean(y[i].stopped)) < 0))
            st = tn_fail(e, TN_NOMEM, "out of memory, or a response that is not UTF-8");
    }
    tn_str_clear(&text);
    if (st == TN_OK) st = tn_json_add(&text, row, JSON_COMPACT, "a row", e);
    tn_str_addc(&text, '\n');
    if (st == TN_OK) st = text.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(s->out, text.s, text.len, e);
    json_decref(row);
    tn_str_free(&text);
    return st;
}

static tn_status write_portion(session *s, size_t at, size_t k, tn_err *e) {
    size_t n = (size_t)s->n_sample;
    for (size_t i = 0; i < k && s->o.grouped; i++) TN_TRY(write_group(s, &s->data->ex[at + i], &s->sample[i * n], (int)n, e));
    if (s->o.grouped) return TN_OK;
    if (s->o.best_of > 1) return write_best(s, &s->data->ex[at], k, e);
    for (size_t i = 0; i < k * n; i++) TN_TRY(write_row(s, &s->data->ex[at + i / n], &s->sample[i], NULL, e));
    return TN_OK;
}

/* ---- responses that are begun ---- */

static tn_status read_begins(session *s, tn_err *e) {
    int n = s->o.begin.n;
    if (!n) return TN_OK;
    if (s->o.best_of > 1 || s->o.logprobs) return tn_fail(e, TN_ARG, "--also-begin does not go with --best-of and --logprobs");
    if (!s->tok) return tn_fail(e, TN_ARG, "--also-begin: the model has no tokenizer to read the text with");
    s->begin = tn_calloc((size_t)n, sizeof *s->begin);
    if (!s->begin) return tn_fail(e, TN_NOMEM, "out of memory");
    s->n_begin = n;
    for (int k = 0; k < n; k++) {
        const char *text = s->o.begin.v[k];
        TN_TRY(tn_encode(s->tok, text, strlen(text), false, &s->begin[k], NULL, e));
        if (!s->begin[k].n) return tn_fail(e, TN_ARG, "--also-begin: an empty text begins nothing");
        if ((int)s->begin[k].n > s->longest_begin) s->longest_begin = (int)s->begin[k].n;
    }
    return TN_OK;
}

static tn_status room_for_begun(session *s, size_t portion, tn_err *e) {
    size_t n = portion * (size_t)s->n_begin;
    if (!n) return TN_OK;
    s->begun = tn_calloc(n, (size_t)(s->longest + s->longest_begin) * sizeof *s->begun);
    s->whole = tn_calloc(n, (size_t)(s->longest_begin + s->o.max_new) * sizeof *s->whole);
    return s->begun && s->whole ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for %zu begun responses", n);
}

/* Prompt i of a portion with text k behind it. */
static tn_gen_request begun_request(const session *s, const tn_example *x, size_t i, int k, uint64_t key) {
    const tn_ids *b = &s->begin[k];
    int32_t *to = s->begun + (i * (size_t)s->n_begin + (size_t)k) * (size_t)(s->longest + s->longest_begin);
    memcpy(to, x->prompt, (size_t)x->n_prompt * sizeof *to);
    memcpy(to + x->n_prompt, b->v, b->n * sizeof *to);
    return (tn_gen_request){.ids = to, .n_ids = x->n_prompt + (int)b->n, .n = 1, .key = key};
}

/* The text belongs to the response. */
static void put_begin(const session *s, size_t i, int k, tn_gen_sample *y) {
    const tn_ids *b = &s->begin[k];
    int32_t *to = s->whole + (i * (size_t)s->n_begin + (size_t)k) * (size_t)(s->longest_begin + s->o.max_new);
    memcpy(to, b->v, b->n * sizeof *to);
    memcpy(to + b->n, y->ids, (size_t)y->n * sizeof *to);
    y->ids = to;
    y->n += (int)b->n;
}

/* Prompts go through in portions, so that finished rows reach the file while work goes on. */
static tn_status generate(session *s, const tn_sampling *how, size_t portion, tn_err *e) {
    size_t n = (size_t)s->n_sample, begun = (size_t)s->n_begin, own = n - begun;
    s->req = tn_calloc(portion * (1 + begun), sizeof *s->req);
    s->sample = tn_calloc(portion * n, sizeof *s->sample);
    if (!s->req || !s->sample) return tn_fail(e, TN_NOMEM, "out of memory");
    long done = 0;
    for (size_t at = 0; at < s->data->n; at += portion) {
        size_t k = s->data->n - at < portion ? s->data->n - at : portion;
        for (size_t i = 0; i < k; i++) {
            const tn_example *x = &s->data->ex[at + i];
            tn_gen_request *q = &s->req[i * (1 + begun)];
            uint64_t key = (uint64_t)((at + i) * n);
            *q++ = (tn_gen_request){.ids = x->prompt, .n_ids = x->n_prompt, .n = (int)own, .key = key};
            for (size_t j = 0; j < begun; j++) *q++ = begun_request(s, x, i, (int)j, key + own + j);
        }
        tn_progress_begin(&s->bar, "generate", "responses", (long)(k * n), 0);
        TN_TRY(tn_gen_run(s->gen, s->req, (int)(k * (1 + begun)), how, s->sample, tick, s, e));
        for (size_t i = 0; i < k * begun; i++) put_begin(s, i / begun, (int)(i % begun), &s->sample[i / begun * n + own + i % begun]);
        double begin = tn_work_begin(s->be);
        TN_TRY(write_portion(s, at, k, e));
        tn_work_end(s->be, begin, "write", 0);
        TN_TRY(tn_out_flush(s->out, false, e));
        done += (long)(k * ((size_t)s->o.n + begun));
    }
    tn_info("%ld responses", done);
    return TN_OK;
}

static tn_status work(session *s, const tn_opts *opts, tn_err *e) {
    const char *dir = tn_opts_str(opts, "model");
    if (!dir) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    if (!s->o.input)
        return tn_fail(e, TN_ARG,
                       "--input is missing; give rows with \"prompt\", \"messages\" or \"ids\"");
    if ((s->o.best_of > 1) != (s->o.reward != NULL))
        return tn_fail(e, TN_ARG, "--best-of and --reward-model belong together: one says of how many, the other who chooses");
    if (s->o.best_of > 1 && s->o.n > s->o.best_of)
        return tn_fail(e, TN_ARG, "--n %d: --best-of %d has only so many to choose from", (int)s->o.n, (int)s->o.best_of);
    if (s->o.grouped && (s->o.best_of > 1 || s->o.logprobs)) return tn_fail(e, TN_ARG, "--grouped has no place for --best-of and --logprobs");
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    const char *base = tn_opts_str(opts, "base-model");
    TN_TRY(tn_tokenizer_of(&s->tok, dir, base, tn_opts_str(opts, "chat-template"), e));
    TN_TRY(tn_model_load(&s->model, dir, s->be, &(tn_load){.base = base, .frozen = true}, e));
    TN_TRY(read_begins(s, e));
    s->n_sample = (int)(s->o.best_of > 1 ? s->o.best_of : s->o.n) + s->n_begin;
    if (s->o.grouped && !s->tok) return tn_fail(e, TN_ARG, "--grouped writes texts, and %s has no tokenizer", dir);
    if (s->model->no_lm_head)
        return tn_fail(e, TN_STATE,
                       "%s is a reward model; it scores (`tenet score`), it does not generate",
                       dir);
    if (s->o.shots) TN_TRY(tn_shots_load(&s->shots, s->o.shots, (int)s->o.n_shots, e));
    tn_data_options q = {.kind = TN_DATA_PROMPT,
                         .vocab = s->model->desc.vocab,
                         .seam = TN_SEAM_FORCE,
                         .chat_transcripts = strcmp(s->o.transcripts, "chat") == 0,
                         .shots = s->shots,
                         .room = s->model->desc.max_pos - s->longest_begin - (int)s->o.max_new};
    TN_TRY(tn_dataset_load(&s->data, &s->o.input, 1, s->tok, &q, e));
    if (s->shots)
        tn_info("%.1f examples before a prompt", (double)s->data->stats.shots / (double)s->data->stats.kept);
    s->longest = 1;
    for (size_t i = 0; i < s->data->n; i++)
        if (s->data->ex[i].n_prompt > s->longest) s->longest = s->data->ex[i].n_prompt;
    tn_sampling how = {.temperature = s->o.greedy ? 0 : s->o.temperature,
                       .top_k = (int)s->o.top_k,
                       .top_p = s->o.top_p,
                       .min_p = s->o.min_p,
                       .max_new = (int)s->o.max_new,
                       .seed = (uint64_t)s->machine.seed};
    tn_gen_stops(&how, s->model, s->tok);
    if (s->o.ignore_eos) how.n_stop = 0;
    size_t all = s->data->n * (size_t)s->n_sample, portion = (size_t)s->o.batch * 16 / (size_t)s->n_sample + 1;
    int batch = (size_t)s->o.batch < all ? (int)s->o.batch : (int)all;
    TN_TRY(tn_gen_new(&s->gen, s->model, batch, s->longest + s->longest_begin + (int)s->o.max_new, e));
    TN_TRY(room_for_begun(s, portion, e));
    TN_TRY(open_judge(s, dir, base, portion, e));
    TN_TRY(tn_out_open(&s->out, s->o.out, false, e));
    tn_signals_install();
    return generate(s, &how, portion, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s;
    memset(&s, 0, sizeof s);
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = work(&s, opts, e);
    st = tn_out_close(s.out, st, false, e);
    st = tn_profile_finish(s.be, st, e);
    tn_free(s.req);
    tn_free(s.sample);
    tn_scorer_close(&s.scorer);
    tn_free(s.score), tn_free(s.ex), tn_free(s.response), tn_free(s.ones), tn_free(s.best);
    for (int k = 0; k < s.n_begin; k++) tn_ids_free(&s.begin[k]);
    tn_free(s.begin), tn_free(s.begun), tn_free(s.whole);
    tn_gen_free(s.gen);
    tn_dataset_free(s.data);
    json_decref(s.shots);
    tn_model_free(s.model);
    tn_tokenizer_free(s.tok);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_base_model_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_generate = {
    .name = "generate",
    .stage = "Use",
    .summary = "sample responses to prompts",
    .details = "Rows in: {\"prompt\"}, {\"messages\"} or {\"ids\"}. Rows out: prompt_ids, ids, "
               "text, finish_reason (stop, length)\n"
               "and, with --logprobs, log-probs that `tenet score` reproduces to the bit. A row's "
               "responses depend on the\n"
               "seed and its place in the file, not on --batch-size or --threads.\n\n"
               "  tenet generate --model ppo/ --input prompts.jsonl --out answers.jsonl "
               "--max-new-tokens 128 --seed 1",
    .tables = tables,
    .run = run};
