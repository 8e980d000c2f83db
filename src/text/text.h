/* Text: tokenizer.json, chat templates with role spans.
 *
 * Ids equal the `tokenizers` library's for every string; rendered chats equal the checkpoint
 * template's output byte for byte. All strings are UTF-8 with explicit length.               */
#ifndef TN_TEXT_H
#define TN_TEXT_H
#include "base/json.h"

typedef struct tn_tokenizer tn_tokenizer;

/* From DIR/tokenizer.json (+ tokenizer_config.json, special_tokens_map.json, generation_config.json
 * and chat_template.jinja where present). What is not understood is refused by name, never guessed. */
tn_status tn_tokenizer_load(tn_tokenizer **t, const char *dir, tn_err *e);
/* From values already in memory (GGUF import, tests); `config` may be NULL. */
tn_status tn_tokenizer_from_json(tn_tokenizer **t, const json_t *tokenizer, const json_t *config,
                                 const char *chat_template, const char *where, tn_err *e);
void tn_tokenizer_free(tn_tokenizer *t);

int tn_tokenizer_vocab(const tn_tokenizer *t); /* largest id + 1 */
int tn_tokenizer_bos(const tn_tokenizer *t);   /* -1: none */
int tn_tokenizer_eos(const tn_tokenizer *t);
int tn_tokenizer_pad(const tn_tokenizer *t);
int tn_tokenizer_id(const tn_tokenizer *t, const char *token); /* -1: none */
const char *tn_token_text(const tn_tokenizer *t, int id,
                          size_t *len); /* the vocabulary entry, not decoded */
bool tn_token_special(const tn_tokenizer *t, int id);

typedef struct tn_ids {
    int32_t *v;
    size_t n, cap;
} tn_ids;
void tn_ids_free(tn_ids *a);

/* Appends ids. `special`: run the post-processor (BOS/EOS as the file says). Added tokens inside
 * the text are recognised. offsets (may be NULL) receives for each id the byte range in `s`
 * [2*i], [2*i+1] (growing array owned by the caller, used for role masks). */
typedef struct tn_spans {
    uint32_t *v;
    size_t n, cap;
} tn_spans;
void tn_spans_free(tn_spans *a);
tn_status tn_encode(const tn_tokenizer *t, const char *s, size_t n, bool special, tn_ids *out,
                    tn_spans *offsets, tn_err *e);
/* Appends text, as the tokenizer's decoder gives it. */
tn_status tn_decode(const tn_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                    tn_str *out, tn_err *e);

/* The same with working memory that is kept between calls, for those that decode often. */
typedef struct tn_decode_mem tn_decode_mem;
tn_decode_mem *tn_decode_mem_new(void); /* NULL: out of memory */
void tn_decode_mem_free(tn_decode_mem *m);
tn_status tn_decode_with(const tn_tokenizer *t, tn_decode_mem *m, const int32_t *ids, size_t n,
                         bool skip_special, tn_str *out, tn_err *e);

/* Text of tokens that arrive one by one: only whole characters are given out. */
typedef struct tn_stream {
    tn_str text;
    size_t given;
} tn_stream;
#define TN_STREAM_INIT {TN_STR_INIT, 0}
void tn_stream_begin(tn_stream *s);
/* ids [n]: all tokens of the text so far. What has not been given out before is s->text.s[*from ..
 * *from + *len); `last`: no more tokens come, all of it. */
tn_status tn_stream_next(tn_stream *s, const tn_tokenizer *t, const int32_t *ids, size_t n, bool last,
                         size_t *from, size_t *len, tn_err *e);
void tn_stream_free(tn_stream *s);

/* ---- chat ---- */
typedef struct tn_message {
    const char *role, *content;
    size_t content_len;
} tn_message;

/* Parses [{"role","content"}] or [{"from","value"}] (ShareGPT names mapped); views into the json. */
tn_status tn_messages_from_json(const json_t *a, tn_message **m, size_t *n, const char *where,
                                tn_err *e);

/* Renders with the checkpoint's Jinja template (src/text/jinja.h), byte for byte as jinja2 under
 * transformers does. `spans` (may be NULL) receives byte ranges [2k],[2k+1], n of them, of what an
 * assistant turn trains: what the template prints of its content, and its end-of-turn token; where
 * the template has {% generation %} blocks, those. A template that prints no trace of an answer is
 * refused when spans are wanted. strftime_now takes today, or SOURCE_DATE_EPOCH when that is set. */
tn_status tn_chat_render(const tn_tokenizer *t, const tn_message *m, size_t n,
                         bool generation_prompt, tn_str *out, tn_spans *spans, tn_err *e);
/* Render + encode once; mask[i] = 1 for tokens that lie in an assistant span. Mask from the heap. */
tn_status tn_chat_encode(const tn_tokenizer *t, const tn_message *m, size_t n,
                         bool generation_prompt, tn_ids *ids, uint8_t **mask, tn_err *e);
/* Family of the template in use, for people: "chatml", "llama2", "llama3", "zephyr", "mistral",
 * "world", "custom", or NULL without a template. */
const char *tn_chat_name(const tn_tokenizer *t);
/* Overrides the template by one of those names or by file (--chat-template). */
tn_status tn_chat_set(tn_tokenizer *t, const char *name_or_path, tn_err *e);
/* Ids after which generation stops: eos list of generation_config/config and the template's end of turn. */
const int32_t *tn_stop_ids(const tn_tokenizer *t, size_t *n);

/* Writes tokenizer files into DIR as they were read (a byte copy of the sources when loaded from a folder). */
tn_status tn_tokenizer_save(const tn_tokenizer *t, const char *dir, tn_err *e);
#endif
