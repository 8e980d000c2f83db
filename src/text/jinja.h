/* Chat templates are programs in Jinja: an interpreter of the language as chat templates use it,
 * with what transformers sets (trim_blocks, lstrip_blocks, loop controls, {% generation %},
 * raise_exception, strftime_now, tojson as json.dumps).
 *
 * Every byte of a string carries a tag that says where it came from, through concatenation,
 * slicing, stripping, splitting, replacing and filters; so the output says which of its bytes
 * are an assistant's words. Work, memory and nesting are bounded: templates come from strangers. */
#ifndef TN_JINJA_H
#define TN_JINJA_H
#include "base/json.h"
#include "text/text.h"

enum {
    TN_TAG_GENERATION = 0x8000, /* printed inside {% generation %} */
    TN_TAG_MESSAGE = 0x7FFF /* 1 + index of the message whose content this is; 0: the template's */
};

typedef struct tn_jinja tn_jinja;
tn_status tn_jinja_compile(tn_jinja **t, const char *source, size_t n, tn_err *e);
void tn_jinja_free(tn_jinja *t);
bool tn_jinja_has_generation(const tn_jinja *t); /* does the template mark generated text itself? */

typedef struct tn_jinja_args {
    const tn_message *message;
    size_t nmessage;
    bool generation_prompt;
    const json_t *names; /* object of strings: bos_token, ... */
} tn_jinja_args;
/* Appends the text to `out`; *tags (may be NULL) gets a new array of one tag for each byte appended, from the heap. */
tn_status tn_jinja_render(const tn_jinja *t, const tn_jinja_args *a, tn_str *out, uint16_t **tags,
                          tn_err *e);
/* The same with any variables: an object of JSON values (tests, tools). */
tn_status tn_jinja_render_json(const tn_jinja *t, const json_t *vars, tn_str *out, tn_err *e);
#endif
