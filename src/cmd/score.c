/* tenet score: log-probs of given tokens, scores of reward models, and on request logits, hidden
 * states and the gradient of the mean negative log-likelihood. */
#include "base/log.h"
#include "base/signals.h"
#include "cmd/score.h"
#include "ops/profile.h"
#include "train/scorer.h"
#include "train/trainer.h"
#include <string.h>

extern const tn_verb tn_verb_score;

#define AT(f) offsetof(tn_score_opts, f)
static const tn_opt_row score_rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model-name-or-path", "DIR",
     "Hugging Face folder of a model or an adapter."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of an adapter folder, instead of the one that its adapter_config.json names."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Rows, JSONL or .jsonl.gz; - reads standard input."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, NULL, "FILE",
     "Where the result rows go; - is standard output."},
    {"logits", TN_OPT_STRING, AT(logits), NULL, NULL, 0, 0, NULL, "FILE",
     "Write the logits of row K as tensor row.K [tokens, vocabulary] to this safetensors file."},
    {"grads", TN_OPT_STRING, AT(grads), NULL, NULL, 0, 0, NULL, "FILE",
     "Write the gradient of the mean negative log-likelihood over all scored tokens of all rows, "
     "under the tensors' Hugging Face names, to this safetensors file; of an adapter only A and B."},
    {"hidden", TN_OPT_LIST, AT(hidden), NULL, NULL, 0, 0, NULL, "LAYER FILE",
     "Write the hidden states of row K as tensor row.K [tokens, hidden] to this safetensors file. "
     "LAYER as in transformers: 0 the embeddings, k after layer k, the last layer's after the "
     "final norm."},
    {"dtype", TN_OPT_CHOICE, AT(dtype), "bfloat16", "bfloat16|float32", 0, 0, "torch-dtype", NULL,
     "Type of the operands of matrix products and attention; everything else is float32."},
    {"backend", TN_OPT_CHOICE, AT(backend), "cpu", "cpu|ref", 0, 0, NULL, NULL,
     "cpu, or ref: the slow definition that cpu must equal."},
    {"kernels", TN_OPT_STRING, AT(kernels), NULL, NULL, 0, 0, NULL, "NAME",
     "Kernels of the cpu backend instead of the machine's best: scalar, avx2, avx512, avx512bf16, "
     "amx."},
    {"threads", TN_OPT_INT, AT(threads), "0", NULL, 0, 1024, NULL, "N",
     "Threads; 0 takes every CPU. The numbers do not depend on it."},
    {"batch-size", TN_OPT_INT, AT(batch_size), "64", NULL, 1, 1000000,
     "per-device-eval-batch-size", "N",
     "Most rows in one forward. The numbers do not depend on it."},
    {"max-batch-tokens", TN_OPT_INT, AT(max_batch_tokens), "2048", NULL, 1, 1 << 24, NULL, "N",
     "Most tokens in one forward, unless a single row is longer."},
    {"seam", TN_OPT_CHOICE, AT(seam), "trl", "trl|force", 0, 0, NULL, NULL,
     "Where a completion begins: after the common prefix of the ids of prompt and of "
     "prompt+completion (trl), or the ids of the prompt followed by those of the completion "
     "(force)."},
    {"step-separator", TN_OPT_STRING, AT(separator), NULL, NULL, 0, 0, NULL, "TEXT",
     "Process reward models: put behind every step; default: as its tenet.json says, else a line break."},
    {"chat-template", TN_OPT_STRING, AT(chat_template), NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Chat template instead of the checkpoint's."},
    {"profile", TN_OPT_STRING, AT(profile), NULL, NULL, 0, 0, NULL, "FILE",
     "Time every operation: a table at the end of the run, the same as JSON in FILE."},
    TN_OPT_LAST,
};
static const tn_opt_row *const score_tables[] = {score_rows, NULL};

static tn_status check_options(tn_score_job *j, tn_err *e) {
    const tn_score_opts *o = &j->opt;
    if (!o->model) return tn_fail(e, TN_ARG, "score needs --model DIR");
    if (!o->input) return tn_fail(e, TN_ARG, "score needs --input ROWS.jsonl");
    if (o->hidden.n == 0) return TN_OK;
    char *end = NULL;
    if (o->hidden.n == 2) j->hidden_layer = (int)strtol(o->hidden.v[0], &end, 10);
    if (o->hidden.n != 2 || end == o->hidden.v[0] || *end)
        return tn_fail(e, TN_ARG,
                       "--hidden takes a layer number and a file: --hidden 3 states.safetensors");
    j->hidden_path = o->hidden.v[1];
    return TN_OK;
}

static tn_status open_model(tn_score_job *j, tn_err *e) {
    const tn_score_opts *o = &j->opt;
    tn_dtype dtype = strcmp(o->dtype, "float32") == 0 ? TN_F32 : TN_BF16;
    TN_TRY(tn_backend_open(&j->be, o->backend, dtype, o->kernels, (int)o->threads, e));
    if (o->profile) TN_TRY(tn_profile_open(j->be, o->profile, e));
    tn_load how = {.base = o->base};
    TN_TRY(tn_model_load(&j->model, o->model, j->be, &how, e));
    if (o->grads && tn_score_is_reward(j))
        return tn_fail(e, TN_ARG,
                       "--grads is the gradient of the log-likelihood and %s is a reward model",
                       o->model);
    if (o->logits && tn_score_is_reward(j))
        return tn_fail(e, TN_ARG, "--logits needs a language model and %s is a reward model",
                       o->model);
    int L = j->model->desc.layers;
    if (o->hidden.n && (j->hidden_layer < 0 || j->hidden_layer > L))
        return tn_fail(e, TN_ARG, "--hidden %d: the model has hidden states 0 to %d",
                       j->hidden_layer, L);
    if (j->hidden_layer == L) j->hidden_layer = L + 1; /* after the final norm */
    if (o->grads) TN_TRY(tn_model_trainable(j->model, e));
    TN_TRY(tn_tokenizer_of(&j->tok, o->model, o->base, o->chat_template, e));
    if (o->chat_template && !j->tok)
        return tn_fail(e, TN_ARG, "--chat-template needs a tokenizer and %s has none", o->model);
    return TN_OK;
}

static tn_status read_rows(tn_score_job *j, tn_err *e) {
    if (tn_score_is_steps(j)) TN_TRY(tn_prm_separator(j->opt.model, &j->separator, e));
    const tn_row_how how = {.tokenizer = j->tok,
                            .vocab = j->model->desc.vocab,
                            .steps = {.separator = j->opt.separator ? j->opt.separator : tn_score_is_steps(j) ? j->separator.s : "\n"},
                            .seam =
                                strcmp(j->opt.seam, "force") == 0 ? TN_SEAM_FORCE : TN_SEAM_TRL};
    tn_lines *lines = NULL;
    tn_status st = tn_lines_open(&lines, j->opt.input, (size_t)1 << 28, e);
    while (st == TN_OK) {
        json_t *row = NULL;
        TN_GO(tn_jsonl_next(lines, j->opt.input, &row, e), done);
        if (!row) break;
        char where[512];
        snprintf(where, sizeof where, "%s:%ld", j->opt.input, tn_lines_number(lines));
        if (!TN_GROW(j->row, j->cap_row, j->n_row + 1))
            st = tn_fail(e, TN_NOMEM, "%s: out of memory", where);
        else st = tn_row_read(&j->row[j->n_row++], row, &how, where, e);
        json_decref(row);
    }
done:
    tn_lines_close(lines);
    if (st == TN_OK && j->n_row == 0) return tn_fail(e, TN_FORMAT, "%s has no rows", j->opt.input);
    for (size_t i = 0; i < j->n_row; i++) {
        const tn_row *r = &j->row[i];
        j->n_scored += r->n_scored;
        if (r->n > j->longest) j->longest = r->n;
        if (r->n > j->longest_short && r->n <= j->model->desc.rope.original_max)
            j->longest_short = r->n;
    }
    return st;
}

/* ---------------- batches ---------------- */

/* Positions of the run that a row goes to. Rotary factors of longrope depend on whether the text is
 * longer than the original length, so such rows do not share a run with shorter ones. */
static int row_positions(const tn_score_job *j, const tn_row *r) {
    const tn_rope *rope = &j->model->desc.rope;
    return rope->type == TN_ROPE_LONGROPE && r->n <= rope->original_max ? j->longest_short
                                                                        : j->longest;
}

/* The rows [first, end) of the next forward. */
static size_t batch_end(const tn_score_job *j, size_t first, int *tokens) {
    size_t i = first;
    int pos = row_positions(j, &j->row[first]);
    *tokens = 0;
    while (i < j->n_row && (int64_t)(i - first) < j->opt.batch_size) {
        if (i > first && (*tokens + j->row[i].n > j->opt.max_batch_tokens ||
                          row_positions(j, &j->row[i]) != pos))
            break;
        *tokens += j->row[i++].n;
    }
    return i;
}

static tn_status size_batches(tn_score_job *j, tn_err *e) {
    size_t most_rows = 1;
    for (size_t i = 0, end; i < j->n_row; i = end) {
        int tokens, scored = 0;
        end = batch_end(j, i, &tokens);
        for (size_t k = i; k < end; k++) scored += j->row[k].n_scored;
        if (tokens > j->max_tok) j->max_tok = tokens;
        if (scored > j->max_rows) j->max_rows = scored;
        if (end - i > most_rows) most_rows = end - i;
    }
    size_t n = (size_t)j->max_rows + 1;
    j->rows = tn_calloc(n + most_rows, sizeof *j->rows);
    j->target = tn_calloc(n, sizeof *j->target);
    j->logp = tn_calloc(n, sizeof *j->logp);
    j->lse = tn_calloc(n, sizeof *j->lse);
    j->d_logp = tn_calloc(n, sizeof *j->d_logp);
    j->score = tn_calloc(most_rows, sizeof *j->score);
    j->logits = tn_calloc(j->n_row, sizeof *j->logits);
    j->hidden = tn_calloc(j->n_row, sizeof *j->hidden);
    if (!j->rows || !j->target || !j->logp || !j->lse || !j->d_logp || !j->score || !j->logits ||
        !j->hidden)
        return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) j->d_logp[i] = j->n_scored ? -1.0 / (double)j->n_scored : 0;
    return TN_OK;
}

static tn_status need_run(tn_score_job *j, int positions, tn_err *e) {
    if (j->run && j->run_pos == positions) return TN_OK;
    tn_run_free(j->run);
    j->run = NULL;
    j->run_pos = positions;
    bool keep = j->opt.grads || (j->hidden_path && j->hidden_layer < j->model->desc.layers);
    int rows = j->max_rows < 1024 ? j->max_rows + 1 : 1024;
    return tn_run_new(&j->run, j->model, j->max_tok, rows, positions, keep, e);
}

static tn_status plant(tn_score_job *j, size_t first, size_t end, tn_err *e) {
    tn_forest_clear(&j->forest);
    for (size_t i = first; i < end; i++) {
        const tn_row *r = &j->row[i];
        int up = -1;
        for (int s = 0; s < r->n_seg; s++) {
            int to = s + 1 < r->n_seg ? r->start[s + 1] : r->n;
            TN_TRY(tn_forest_add(&j->forest, r->ids + r->start[s], to - r->start[s], up,
                                 (int)(i - first), &up, e));
        }
    }
    return tn_forest_finish(&j->forest, e);
}

/* Scored tokens of the batch: the row before each predicts it. Returns their number. */
static int scored_rows(tn_score_job *j, size_t first, size_t end) {
    int n = 0, at = 0;
    for (size_t i = first; i < end; at += j->row[i++].n)
        for (int t = 1; t < j->row[i].n; t++) {
            if (!j->row[i].scored[t]) continue;
            j->rows[n] = at + t - 1;
            j->target[n++] = j->row[i].ids[t];
        }
    return n;
}

static tn_status keep_logits(tn_score_job *j, size_t first, size_t end, tn_err *e) {
    int at = 0, V = j->model->desc.vocab;
    for (size_t i = first; i < end; at += j->row[i++].n) {
        int n = j->row[i].n;
        int32_t *all = tn_calloc((size_t)n, sizeof *all);
        j->logits[i] = tn_realloc(NULL, (size_t)n * (size_t)V, sizeof(float));
        tn_status st = TN_OK;
        if (!all || !j->logits[i])
            st = tn_fail(e, TN_NOMEM, "no memory for %d rows of %d logits", n, V);
        for (int t = 0; st == TN_OK && t < n; t++) all[t] = at + t;
        if (st == TN_OK)
            st = tn_lm_head(j->run, j->model,
                            &(tn_lm){.n = n, .rows = all, .inv_temp = 1, .z = j->logits[i]}, e);
        tn_free(all);
        TN_TRY(st);
    }
    return TN_OK;
}

static tn_status keep_hidden(tn_score_job *j, size_t first, size_t end, tn_err *e) {
    size_t D = (size_t)j->model->desc.hidden * j->be->elem, at = 0;
    char *all = tn_realloc(NULL, (size_t)j->forest.n_tok, D);
    if (!all) return tn_fail(e, TN_NOMEM, "no memory for hidden states");
    tn_status st = tn_run_hidden(j->run, j->model, j->hidden_layer, all, e);
    for (size_t i = first; st == TN_OK && i < end; at += (size_t)j->row[i++].n) {
        j->hidden[i] = tn_realloc(NULL, (size_t)j->row[i].n, D);
        if (!j->hidden[i]) st = tn_fail(e, TN_NOMEM, "no memory for hidden states");
        else memcpy(j->hidden[i], all + at * D, (size_t)j->row[i].n * D);
    }
    tn_free(all);
    return st;
}

/* A reward model's: the last row of each text. */
static int last_rows(tn_score_job *j, size_t first, size_t end) {
    int at = 0;
    for (size_t i = first; i < end; i++) j->rows[i - first] = (at += j->row[i].n) - 1;
    return (int)(end - first);
}

/* A process reward model's: the last token of each step. */
static int step_rows(tn_score_job *j, size_t first, size_t end) {
    int n = 0, at = 0;
    for (size_t i = first; i < end; at += j->row[i++].n)
        for (int t = 0; t < j->row[i].n; t++)
            if (j->row[i].scored[t]) j->rows[n++] = at + t;
    return n;
}

/* ---------------- the verb ---------------- */

static tn_status score_batch(tn_score_job *j, size_t first, size_t end, tn_err *e) {
    tn_phase_enter(j->be, TN_PHASE_SCORING);
    TN_TRY(need_run(j, row_positions(j, &j->row[first]), e));
    TN_TRY(plant(j, first, end, e));
    int n = tn_score_is_steps(j)    ? step_rows(j, first, end)
            : tn_score_is_reward(j) ? last_rows(j, first, end)
                           : scored_rows(j, first, end);
    bool all = j->hidden_path || j->opt.logits;
    TN_TRY(tn_forward_rows(j->run, j->model, &j->forest, j->rows, all ? -1 : n, e));
    if (j->hidden_path) TN_TRY(keep_hidden(j, first, end, e));
    if (tn_score_is_steps(j)) {
        TN_TRY(tn_logit_head(j->run, j->model, j->rows, n, j->logp, e));
        return tn_score_write_rows(j, first, end, e);
    }
    if (tn_score_is_reward(j)) {
        TN_TRY(tn_score_head(j->run, j->model, j->rows, n, j->score, e));
        return tn_score_write_rows(j, first, end, e);
    }
    if (j->opt.logits) TN_TRY(keep_logits(j, first, end, e));
    tn_lm q = {.n = n, .rows = j->rows, .target = j->target, .inv_temp = 1,
               .logp = j->logp, .lse = j->lse};
    TN_TRY(tn_lm_head(j->run, j->model, &q, e));
    TN_TRY(tn_score_write_rows(j, first, end, e));
    if (!j->opt.grads) return TN_OK;
    tn_phase_enter(j->be, TN_PHASE_BACKWARD);
    TN_TRY(tn_lm_head_backward(j->run, j->model, &q, j->d_logp, NULL, NULL, e));
    return tn_backward(j->run, j->model, &j->forest, e);
}

static tn_status score_batches(tn_score_job *j, tn_err *e) {
    tn_status st = TN_OK;
    double start = tn_now(), done = 0;
    tn_progress p;
    tn_progress_begin(&p, "score", "rows", (long)j->n_row, 0);
    for (size_t i = 0, end; i < j->n_row && st == TN_OK; i = end) {
        int tokens;
        end = batch_end(j, i, &tokens);
        if (tn_stop_requested())
            st = tn_fail(e, TN_INTERRUPTED, "stopped after %zu of %zu rows", i, j->n_row);
        else st = score_batch(j, i, end, e);
        done += tokens;
        tn_progress_update(&p, (long)end, "%.0f tok/s", done / (tn_now() - start + 1e-9));
    }
    tn_progress_end(&p);
    return st;
}

static tn_status score_all(tn_score_job *j, tn_err *e) {
    TN_TRY(check_options(j, e));
    TN_TRY(open_model(j, e));
    TN_TRY(read_rows(j, e));
    if (j->opt.grads && j->n_scored == 0)
        return tn_fail(e, TN_ARG, "--grads: no token of %s is scored, so there is no loss",
                       j->opt.input);
    TN_TRY(size_batches(j, e));
    if (strcmp(j->opt.out, "-") != 0) TN_TRY(tn_out_open(&j->out, j->opt.out, false, e));
    TN_TRY(score_batches(j, e));
    if (j->opt.logits)
        TN_TRY(tn_score_write_tensors(j, j->opt.logits, (void *const *)j->logits, j->model->desc.vocab, e));
    if (j->hidden_path)
        TN_TRY(tn_score_write_tensors(j, j->hidden_path, j->hidden, j->model->desc.hidden, e));
    return j->opt.grads ? tn_score_write_grads(j, e) : TN_OK;
}

static void free_job(tn_score_job *j) {
    for (size_t i = 0; i < j->n_row; i++) {
        tn_row_free(&j->row[i]);
        if (j->logits) tn_free(j->logits[i]);
        if (j->hidden) tn_free(j->hidden[i]);
    }
    tn_free(j->row);
    tn_free(j->rows);
    tn_free(j->target);
    tn_free(j->logp);
    tn_free(j->lse);
    tn_free(j->d_logp);
    tn_free(j->score);
    tn_free(j->logits);
    tn_free(j->hidden);
    tn_forest_free(&j->forest);
    tn_run_free(j->run);
    tn_str_free(&j->separator);
    tn_tokenizer_free(j->tok);
    tn_model_free(j->model);
    tn_backend_free(j->be);
}

static tn_status score_run(const tn_opts *o, tn_err *e) {
    tn_score_job j = {0};
    tn_opts_bind(o, score_rows, &j.opt);
    tn_status st = score_all(&j, e);
    st = tn_out_close(j.out, st, false, e);
    st = tn_profile_finish(j.be, st, e);
    free_job(&j);
    return st;
}

const tn_verb tn_verb_score = {
    .name = "score",
    .stage = "Use",
    .summary = "Log-probabilities of given tokens, or a reward model's scores",
    .details =
        "A row is {\"ids\":[...]}, {\"text\":...}, {\"prompt\":...,\"completion\":...},\n"
        "{\"prompt_ids\":[...],\"ids\":[...]} (what generate writes) or {\"messages\":[...]}. Of "
        "ids\n"
        "and text every token after the first is scored, otherwise the completion, or the\n"
        "assistant's turns with their end of turn. Result rows have ids, logprobs (null where not\n"
        "scored) and their sum; rows of a reward model have its raw score at the last token, and\n"
        "score_normalized where the folder's tenet.json says how. Process reward models read\n"
        "{\"prompt\":...,\"completions\":[step,...]}: result rows have the probability of each of the steps,\n"
        "their product and the least.\n\n"
        "  tenet score --model DIR --input rows.jsonl --out scored.jsonl\n"
        "  tenet score --model DIR --input rows.jsonl --dtype float32 --grads grads.safetensors\n",
    .tables = score_tables,
    .run = score_run};
