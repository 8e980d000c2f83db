/* Who is asked: a language model of this machine or one behind an HTTP endpoint, many questions at a time, with every reply
 * kept (replies.h).
 *
 * A reply of a model is a function of the weights, the numeric profile, the prompt's ids, the sampling and its draw alone: not
 * of what else is asked, in which batch, or of how often the run was stopped. One of an endpoint is kept under its URL, the
 * model's name, the prompt's text, the sampling and its draw; what it is a function of is known to others. What is in the store
 * is not asked again. */
#ifndef TN_OVERSIGHT_ASKER_H
#define TN_OVERSIGHT_ASKER_H
#include "base/http.h"
#include "gen/gen.h"
#include "oversight/replies.h"

typedef struct tn_question {
    const int32_t *ids; /* the prompt as a model reads it, not owned */
    int n;
    uint64_t draw;      /* which draw: different ones for different questions of a run */
    json_t *about;      /* what is written beside the reply; a reference of the caller's */
    const char *text;   /* the prompt as an endpoint reads it, not owned; models do not look at it */
    size_t n_text;
    bool chat;          /* it is a user's turn (chat/completions), else a text to go on with (completions) */
    const char *const *stop; /* texts that end a reply, NULL behind the last; an endpoint is told so, replies are cut all the same */
    const int32_t *cut; /* [n_cut] as in tn_gen_request, not owned */
    int n_cut;
    bool goes_on;       /* later questions go on behind the reply */
} tn_question;
typedef struct tn_answer {
    const char *text;   /* decoded, without special tokens; the store's, for as long as that is open */
    size_t len;
    bool ended;         /* by a stop token, not by the limit */
} tn_answer;

typedef struct tn_asker tn_asker;
/* A model or adapter folder (`base` as in tn_load). `kept` outlives the asker. */
tn_status tn_asker_open(tn_asker **a, tn_backend *be, const char *dir, const char *base, const char *chat_template, tn_replies *kept,
                        tn_err *e);
/* The same of a model that is there, whose weights may change between calls: `kept` is then to be in memory and forgotten
 * whenever they do. Model and tokenizer outlive the asker. */
tn_status tn_asker_borrow(tn_asker **a, tn_backend *be, tn_model *m, tn_tokenizer *tok, tn_replies *kept, tn_err *e);
/* From here on what does not fit the model's positions is not asked: its log-probs are NaN. A long run does not end for one
 * long answer. */
void tn_asker_skip_long(tn_asker *a);
void tn_asker_quiet(tn_asker *a); /* no progress is shown */
/* From here on a model's keys and values of prompts, and of replies that are gone on with, stay in memory between calls, so many bytes of
 * them: what questions begin with like earlier ones is not read again. Replies are the same. Not for weights that change. */
void tn_asker_keep_prompts(tn_asker *a, size_t bytes);
tn_gen_read tn_asker_prompts_read(const tn_asker *a); /* of all samples so far */

/* A service with OpenAI's interface. */
typedef struct tn_endpoint {
    const char *url;   /* "http://127.0.0.1:8080/v1", without user, password, query and fragment */
    const char *model; /* its name there */
    int top;           /* log-probs to ask for at each place; OpenAI gives 20 at most, 5 in completions */
    int votes;         /* > 0: options by the verdicts of so many replies at temperature 1, without log-probs */
    tn_http_settings http;
} tn_endpoint;
bool tn_endpoint_is(const char *name); /* begins with http:// or https:// */
/* Nobody is asked yet. Copies what it needs; `kept` outlives the asker. */
tn_status tn_asker_open_endpoint(tn_asker **a, const tn_endpoint *at, tn_replies *kept, tn_err *e);

void tn_asker_close(tn_asker *a);
const tn_tokenizer *tn_asker_tokenizer(const tn_asker *a); /* NULL of an endpoint, which reads texts */
tn_model *tn_asker_model(const tn_asker *a); /* NULL of an endpoint */
enum { TN_ASKER_OPTIONS = 16 };
/* A model's log-probs of `count` ways to go on: sums over the tokens of each (what all begin with counts for none). logp[count i + k] of
 * question i, [count n]; of an option that another one begins with, that it and not the longer one is said. They are to be different and,
 * unless any_length, as many tokens. `max_tokens` of a forward, unless one prompt is longer. */
tn_status tn_asker_choices(tn_asker *a, const tn_question *q, int n, const char *const *option, int count, bool any_length, int max_tokens,
                           const char *what, double *logp, tn_err *e);
/* Log-probs of two ways to go on: logp[2 i], logp[2 i + 1] of question i, [2 n].
 * Models: both must be as many tokens; sums over those where they differ (what both begin with counts for neither).
 * `max_tokens` of a forward, unless one prompt is longer.
 * Endpoints: from the lists of the most probable tokens (endpoint_reply.h), what both begin with put to the prompt where that
 * is a text; or from n_A and n_B of `votes` verdicts,
 * log (n_k + 1/2)/(n_A + n_B + 1). NaN, both, where it chose neither. */
tn_status tn_asker_options(tn_asker *a, const tn_question *q, int n, const char *option_a, const char *option_b, int max_tokens,
                           const char *what, double *logp, tn_err *e);
/* What tn_asker_open and tn_asker_choices take, for the memory plan. */
tn_status tn_asker_budget(tn_budget *p, tn_backend *be, const char *dir, const char *base, int max_tokens, tn_err *e);
/* out [n]. `how` without stops: they are the model's. `what` names the work in the progress line. */
tn_status tn_asker_sample(tn_asker *a, const tn_question *q, int n, const tn_sampling *how, int batch, const char *what, tn_answer *out,
                          tn_err *e);
#endif
