/* What an OpenAI-compatible service says, taken apart: replies of chat/completions and completions, and the probabilities of
 * options in their log-probs. Pure functions of the reply.
 *
 * A reply is kept as {"text", "ended"} and, where log-probs were asked for, "said": [token, ...] and "top": [[[token,
 * log-prob], ...], ...]: for each place the tokens that the service lists there. `ended` is finish_reason "stop". */
#ifndef TN_OVERSIGHT_ENDPOINT_REPLY_H
#define TN_OVERSIGHT_ENDPOINT_REPLY_H
#include "base/json.h"

/* *reply: new reference. TN_FORMAT: not such a reply, or cut short; TN_UNSUPPORTED: one without the log-probs asked for. */
tn_status tn_endpoint_reply(const char *body, size_t n, bool log_probs, json_t **reply, tn_err *e);

enum { TN_ENDPOINT_OPTIONS = 16 };
/* TN_ARG when there are too many, one is blank, or a text could agree with two (below): "(A" and "(A)", but not 1 and 10. */
tn_status tn_endpoint_check_options(const char *const *option, int n, tn_err *e);
/* Log-probs of options, as far as the lists say; blanks at the ends of options and before the reply do not count. Place by
 * place along what was said:
 *   - a listed token that makes the text so far agree with one option alone gives its probability to that option. A text
 *     agrees with an option when it is a beginning of it, or goes on behind it with something other than a letter or digit:
 *     " (A)", "(A" and "(A)" all count for (A); "1." counts for 1 and not for 10, "1" for both;
 *   - tokens that leave several options open (" ", "(", "1") stand for what comes next: their mass is shared out at the
 *     next place, whose list is that behind the one that was said;
 *   - what ends there, an option to the letter, is that option.
 * An option without any probability is not listed, so it has at most the least that is listed at the last place looked at, and
 * at most what the list leaves over (2^-24 at least, for rounding): it gets that. false: no option has any; logp is NaN. */
bool tn_endpoint_options(const json_t *reply, const char *const *option, int n, double *logp);
/* The option that a text chooses: the one that it begins with (behind blanks, quotes and marks of emphasis), else the only one
 * that it contains. -1: none. */
int tn_endpoint_verdict(const char *text, const char *const *option, int n);
#endif
