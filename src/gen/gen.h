/* Generation by continuous batching over the paged key/value cache.
 *
 * A request is one prompt and n samples; its prompt is computed once and its pages are shared. What prompts begin with like
 * others before them is in the cache and not computed again (kept.c). Slots that finish are refilled at the next step. A sample is a function of (model, prompt, sampling, its key) alone:
 * batch size, order and company do not change a bit of it. The stored log-prob is that of the full
 * distribution at the sampling temperature, and equals to the bit what training recomputes over the segments
 * prompt | response. */
#ifndef TN_GEN_H
#define TN_GEN_H
#include "gen/sample.h"
#include "model/budget.h"
#include "model/model.h"
#include "text/text.h"

typedef struct tn_gen_request {
    const int32_t *ids; /* prompt, n_ids >= 1 */
    int n_ids, n;       /* samples wanted */
    uint64_t key;       /* sample i draws from the stream of key + i */
    const int32_t *cut; /* [n_cut] ascending: where further segments of the prompt begin; a prompt that goes on behind samples begins one
                         * where a sample began and one where it ended */
    int n_cut;
    bool goes_on;       /* later prompts will go on behind these samples, and find them in the cache (tn_gen_keep) */
} tn_gen_request;

typedef struct tn_gen_sample {
    int32_t *
        ids; /* response with its stop token, when it has one; owned by the engine, until the next run */
    double *logp; /* [n] */
    int n;
    bool stopped; /* ended by a stop token; false: by max_new or the context's end */
} tn_gen_sample;

typedef struct tn_gen tn_gen;
/* batch: sequences decoded together; max_len: longest prompt + response. Weights are read where the model
 * keeps them: after an update the next run samples from the new ones. */
tn_status tn_gen_new(tn_gen **g, const tn_model *m, int batch, int max_len, tn_err *e);
/* From here on samples are drawn from pi^(1-c) second^c, normalised per token, and their log-probs are the mixture's.
 * Before the first run; `second` outlives g. Its memory is that of tn_gen_budget for it. */
tn_status tn_gen_mix(tn_gen *g, const tn_model *second, double c, tn_err *e);
void tn_gen_free(tn_gen *g);
/* Between runs: the cache, unless it keeps prompts, gives its memory back until the next one. */
void tn_gen_rest(tn_gen *g);
/* Cache and workspace, for the memory plan; in_use: pages that will be touched at most (0: all); turn: the cache's, of a
 * generator that rests, or NULL. */
void tn_gen_budget(tn_budget *p, const char *turn, const tn_desc *d, const tn_backend *be, int batch, int max_len,
                   int in_use);

/* From here on prompts stay in the cache between runs, in `pages` pages (at least those of the longest one): later prompts are then
 * computed only from where they differ, to the same bits. While the weights stay as they are. */
tn_status tn_gen_keep(tn_gen *g, int pages, tn_err *e);
/* Room for such a batch and length, at least; what is kept stays. Not of a mixture. */
tn_status tn_gen_fit(tn_gen *g, int batch, int max_len, tn_err *e);
/* Prompt tokens of the last run; how many of them were in the cache or read once for several prompts. */
typedef struct tn_gen_read { long tokens, cached; } tn_gen_read;
tn_gen_read tn_gen_prompts_read(const tn_gen *g);

/* Where answers end: the tokenizer's stop tokens, or the model's when there is no tokenizer (NULL) or it
 * names none. Views: `m` and `tok` outlive `s`. */
void tn_gen_stops(tn_sampling *s, const tn_model *m, const tn_tokenizer *tok);

/* Called after each step with samples finished and tokens made so far; may be NULL. */
typedef void tn_gen_tick(void *ctx, long samples, long tokens);
/* out: one entry per sample, requests in order (request r's samples are consecutive). While it runs, tick
 * may read them; after Ctrl-C (TN_INTERRUPTED) they hold what there was. */
tn_status tn_gen_run(tn_gen *g, const tn_gen_request *req, int n_req, const tn_sampling *s,
                     tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e);
#endif
