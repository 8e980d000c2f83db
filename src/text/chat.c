/* Chat templates. */
#include "text/chat.h"
#include "text/tok.h"
#include <string.h>

static tn_status not_yet(tn_err *e) { return tn_fail(e, TN_UNSUPPORTED, "chat templates are not read in this version"); }

tn_status tn_chat_prepare(tn_tokenizer *t, tn_err *e) { return TN_OK; }
void tn_chat_free(struct tn_chat *c) { (void)c; }
const char *tn_chat_name(const tn_tokenizer *t) { return NULL; }
tn_status tn_chat_set(tn_tokenizer *t, const char *name_or_path, tn_err *e) { return not_yet(e); }
tn_status tn_chat_render(const tn_tokenizer *t, const tn_message *m, size_t n, bool generation_prompt, tn_str *out,
                         tn_spans *spans, tn_err *e) { return not_yet(e); }
tn_status tn_chat_encode(const tn_tokenizer *t, const tn_message *m, size_t n, bool generation_prompt, tn_ids *ids,
                         uint8_t **mask, tn_err *e) { return not_yet(e); }
