/* libtenet: language models aligned with human and AI feedback, in C.
 *
 * The library does what the command line does, with the same names and the same bits. Everything is
 * reached through two doors:
 *   tenet_run      any verb with its options (train, generate, evaluate, report, ...)
 *   tenet_model_*  a loaded Hugging Face folder: token ids, log-probs, scores of reward models, samples
 *
 * Ownership: what tenet_*_open and tenet_*_text give is freed with the function named beside it; every
 * other pointer stays the caller's. free(NULL) forms are fine. No function exits, aborts or prints to
 * standard output; verbs report progress on standard error (TENET_LOG=error silences it).
 * Threads: one model serves one thread at a time; different models may be used by different threads.
 * Errors: 0 is success; otherwise the code, with the message in *e (which may be NULL).          */
#ifndef TENET_H
#define TENET_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#define TENET_API __attribute__((visibility("default")))

typedef struct tenet_error {
    int code;           /* 0: none */
    char message[768];  /* what, where, expected, found, what to try */
} tenet_error;

TENET_API const char *tenet_version(void);

/* Runs a verb. options: "name", "value", ..., NULL, names as on the command line without dashes, a name
 * repeated for lists. Example: {"model", "sft", "data", "prefs.jsonl", "output-dir", "dpo", NULL}. */
TENET_API int tenet_run(const char *verb, const char *const *options, tenet_error *e);

typedef struct tenet_model tenet_model;
typedef struct tenet_model_options {
    size_t size;        /* sizeof(tenet_model_options): room to grow */
    const char *dtype;  /* "bfloat16" (default when NULL) or "float32": operands of matrix products */
    int threads;        /* 0: all CPUs; results do not depend on it */
} tenet_model_options;

/* A Hugging Face folder, or a LoRA adapter's (PEFT's files; its base is where adapter_config.json says), with its
 * tokenizer when it has one. options may be NULL. */
TENET_API int tenet_model_open(tenet_model **m, const char *dir, const tenet_model_options *options, tenet_error *e);
TENET_API void tenet_model_close(tenet_model *m);
TENET_API int tenet_model_vocab(const tenet_model *m);
TENET_API int tenet_model_is_reward(const tenet_model *m); /* 1: scores, 0: log-probs and samples */

/* Text to ids and back. special: add the tokenizer's own special tokens. *ids, *text: tenet_free. */
TENET_API int tenet_encode(tenet_model *m, const char *text, int special, int32_t **ids, size_t *n, tenet_error *e);
TENET_API int tenet_decode(tenet_model *m, const int32_t *ids, size_t n, int skip_special, char **text, tenet_error *e);
TENET_API void tenet_free(void *p);

/* logprob[i] = log pi(ids[i] | prompt, ids[0..i-1]), nats; n_prompt >= 1. */
TENET_API int tenet_logprobs(tenet_model *m, const int32_t *prompt, size_t n_prompt, const int32_t *ids, size_t n,
                             double *logprob, tenet_error *e);
/* A reward model's score of prompt and response: raw, or (raw - mean)/sd as stored with it. */
TENET_API int tenet_score(tenet_model *m, const int32_t *prompt, size_t n_prompt, const int32_t *ids, size_t n,
                          int normalised, double *score, tenet_error *e);
/* Samples up to max_new tokens after a prompt (temperature 0: greedy), its stop token included.
 * out [max_new]; logprob [max_new] may be NULL; *n gets the number of tokens. The sample is a function of
 * (model, prompt, temperature, seed, key): the log-probs are those that tenet_logprobs gives at temperature 1. */
TENET_API int tenet_sample(tenet_model *m, const int32_t *prompt, size_t n_prompt, double temperature, int max_new,
                           uint64_t seed, uint64_t key, int32_t *out, double *logprob, int *n, tenet_error *e);

#ifdef __cplusplus
}
#endif
#endif
