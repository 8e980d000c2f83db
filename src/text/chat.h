/* Chat templates inside the text room: see chat.c. */
#ifndef TN_CHAT_H
#define TN_CHAT_H
#include "text/text.h"

/* Compiles t->chat_template when it has one; a template that is not understood is kept and refused at its first use. */
tn_status tn_chat_prepare(tn_tokenizer *t, tn_err *e);
/* Adds an id to the stop list. */
tn_status tn_stop_add(tn_tokenizer *t, int id, tn_err *e);
/* A built-in template's text by name, or NULL; names in tn_chat_names, NULL at the end. */
const char *tn_chat_builtin(const char *name);
extern const char *const tn_chat_names[];
#endif
