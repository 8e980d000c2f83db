/* What a teacher reads that knows more than its student: the prompt and a privileged context (a demonstration, feedback),
 * put together by a template, in place of the prompt; of a conversation in place of its last user message's text. The
 * answer's tokens are the student's. SDFT (Shenfeld et al. 2026, 2601.19897); fields and template as in TRL. */
#ifndef TN_DATA_TEACHER_PROMPT_H
#define TN_DATA_TEACHER_PROMPT_H
#include "base/json.h"
#include "base/str.h"

/* A template's mark, such as {prompt}, and what stands for it. */
typedef struct tn_fill { const char *mark, *text; } tn_fill;
#define TN_FILL_MAX 4
/* Appends the template with its n marks filled. */
void tn_fill_template(const char *template, const tn_fill *f, int n, tn_str *out);
/* A prompt, a string or messages, with the template in place of the string or of the text of its last message, a user's:
 * {prompt} is that text, `more` n further marks, at most TN_FILL_MAX. New reference. */
tn_status tn_fill_prompt(const char *template, const json_t *prompt, const tn_fill *more, int n, json_t **out, const char *where,
                         tn_err *e);

/* Does the template have both {prompt} and {privileged_context}? */
tn_status tn_teacher_template_check(const char *template, tn_err *e);
/* context: a string, or messages, whose contents are joined by line breaks. New reference. */
tn_status tn_teacher_prompt(const char *template, const json_t *prompt, const json_t *context, json_t **out, const char *where,
                            tn_err *e);
#endif
