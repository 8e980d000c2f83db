/* A tokenizer from a folder or from values in memory; names and numbers of its tokens; saving. */
#include "text/chat.h"
#include "text/tok.h"
#include "base/log.h"
#include <string.h>

enum { MAX_FILE = 1 << 30 };

static const char *const kept_files[] = {"tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "chat_template.jinja",
                                         "chat_template.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.model"};
static const char *const token_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "no memory for a tokenizer"); }

/* ---- tokens by id ---- */

static tn_status index_ids(tn_tokenizer *t, tn_err *e) {
    int top = -1;
    for (size_t r = 0; r < t->vocab.n; r++)
        if (t->vocab.row[r].id > top) top = t->vocab.row[r].id;
    for (size_t k = 0; k < t->nadded; k++)
        if (t->added[k].id > top) top = t->added[k].id;
    t->nid = top + 1;
    t->row_of = tn_malloc((size_t)t->nid * sizeof *t->row_of);
    t->added_of = tn_malloc((size_t)t->nid * sizeof *t->added_of);
    if (!t->row_of || !t->added_of) return no_memory(e);
    for (int k = 0; k < t->nid; k++) t->row_of[k] = t->added_of[k] = -1;
    for (size_t r = 0; r < t->vocab.n; r++) t->row_of[t->vocab.row[r].id] = (int32_t)r;
    for (size_t k = 0; k < t->nadded; k++) t->added_of[t->added[k].id] = (int32_t)k;
    return TN_OK;
}

int tn_tokenizer_vocab(const tn_tokenizer *t) { return t->nid; }
int tn_tokenizer_bos(const tn_tokenizer *t) { return t->bos; }
int tn_tokenizer_eos(const tn_tokenizer *t) { return t->eos; }
int tn_tokenizer_pad(const tn_tokenizer *t) { return t->pad; }

static int find_token(const tn_tokenizer *t, const char *s, size_t n) {
    int32_t id = tn_vocab_find(&t->added_by_name, s, n);
    return id >= 0 ? id : tn_vocab_find(&t->vocab, s, n);
}

int tn_tokenizer_id(const tn_tokenizer *t, const char *token) {
    return find_token(t, token, strlen(token));
}

const char *tn_token_text(const tn_tokenizer *t, int id, size_t *len) {
    if (id < 0 || id >= t->nid) return NULL;
    if (t->added_of[id] >= 0) {
        const tn_added *d = &t->added[t->added_of[id]];
        if (len) *len = d->n;
        return d->content;
    }
    if (t->row_of[id] < 0) return NULL;
    const struct tn_vocab_row *r = &t->vocab.row[t->row_of[id]];
    if (len) *len = r->len;
    return t->vocab.blob.s + r->off;
}

bool tn_token_special(const tn_tokenizer *t, int id) {
    return id >= 0 && id < t->nid && t->added_of[id] >= 0 && t->added[t->added_of[id]].special;
}

const int32_t *tn_stop_ids(const tn_tokenizer *t, size_t *n) {
    *n = t->nstop;
    return t->stop;
}

static tn_status add_stop(tn_tokenizer *t, int64_t id, tn_err *e) {
    size_t cap = t->nstop;
    if (id < 0 || id >= t->nid) return TN_OK;
    for (size_t k = 0; k < t->nstop; k++)
        if (t->stop[k] == id) return TN_OK;
    if (!TN_GROW(t->stop, cap, t->nstop + 1)) return no_memory(e);
    t->stop[t->nstop++] = (int32_t)id;
    return TN_OK;
}

tn_status tn_stop_add(tn_tokenizer *t, int id, tn_err *e) { return add_stop(t, id, e); }

/* ---- the parts of tokenizer.json ---- */

static tn_status read_tokenizer(tn_tokenizer *t, const json_t *j, tn_err *e) {
    if (!json_is_object(j))
        return tn_fail(e, TN_FORMAT, "%s: not a tokenizer (expected a JSON object)", t->where);
    const char *version;
    TN_TRY(tn_json_str(j, "version", "1.0", &version, t->where, e));
    if (strcmp(version, "1.0"))
        return tn_fail(e, TN_UNSUPPORTED, "%s: tokenizer version %s (known: 1.0)", t->where,
                       version);
    TN_TRY(tn_model_read(t, json_object_get(j, "model"), e));
    TN_TRY(tn_norm_read(&t->norm, json_object_get(j, "normalizer"), t->where, e));
    TN_TRY(tn_pre_read(&t->pre, json_object_get(j, "pre_tokenizer"), t->where, e));
    for (size_t k = 0; k < t->pre.n; k++)
        if (t->pre.v[k].op == PRE_METASPACE && t->pre.v[k].scheme == PREPEND_FIRST)
            t->first_only = true;
    t->bytes_last =
        t->pre.n && t->pre.v[t->pre.n - 1].op == PRE_BYTES && !t->word_level && !t->byte_fallback;
    if (t->bytes_last) TN_TRY(tn_model_bytes(t, e));
    json_t *dec = json_object_get(j, "decoder");
    t->has_dec = dec && !json_is_null(dec);
    TN_TRY(tn_dec_read(&t->dec, dec, t->where, e));
    TN_TRY(tn_added_read(t, json_object_get(j, "added_tokens"), e));
    TN_TRY(index_ids(t, e));
    TN_TRY(tn_post_read(t, json_object_get(j, "post_processor"), e));
    for (size_t k = 0; k < t->nbefore + t->nafter; k++) {
        int32_t id = k < t->nbefore ? t->before[k] : t->after[k - t->nbefore];
        if (id >= t->nid)
            return tn_fail(e, TN_FORMAT, "%s: the post-processor adds id %d, which is no token",
                           t->where, id);
    }
    return TN_OK;
}

/* "bos_token": "<s>" or {"content": "<s>"}; the first file that names one wins. */
static tn_status read_names(tn_tokenizer *t, const json_t *j, tn_err *e) {
    for (size_t k = 0; j && k < sizeof token_names / sizeof *token_names; k++) {
        json_t *v = json_object_get(j, token_names[k]);
        if (json_is_object(v)) v = json_object_get(v, "content");
        if (json_is_string(v) && !json_object_get(t->special_names, token_names[k]) &&
            json_object_set(t->special_names, token_names[k], v))
            return no_memory(e);
    }
    return TN_OK;
}

static int named_id(const tn_tokenizer *t, const char *name) {
    const json_t *v = json_object_get(t->special_names, name);
    if (!v) return -1;
    int id = find_token(t, json_string_value(v), json_string_length(v));
    if (id < 0)
        tn_warn("%s: %s is \"%s\", which is not in the vocabulary", t->where, name,
                json_string_value(v));
    return id;
}

/* eos_token_id: a number or a list. */
static tn_status read_stops(tn_tokenizer *t, const json_t *j, tn_err *e) {
    json_t *v = json_object_get(j, "eos_token_id"), *one;
    size_t i;
    if (json_is_integer(v)) {
        if (t->eos < 0 && json_integer_value(v) < t->nid) t->eos = (int)json_integer_value(v);
        return add_stop(t, json_integer_value(v), e);
    }
    json_array_foreach(v, i, one) if (json_is_integer(one))
        TN_TRY(add_stop(t, json_integer_value(one), e));
    return TN_OK;
}

/* A template's text: a string, or the "default" of a list of {name, template}. */
static const char *template_text(const json_t *v) {
    size_t i;
    json_t *one;
    if (json_is_string(v)) return json_string_value(v);
    json_array_foreach(v, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && !strcmp(name, "default"))
            return json_string_value(json_object_get(one, "template"));
    }
    return NULL;
}

static tn_status new_tokenizer(tn_tokenizer **out, const char *where, tn_err *e) {
    tn_tokenizer *t = tn_calloc(1, sizeof *t);
    *out = NULL;
    if (!t) return no_memory(e);
    pthread_mutex_init(&t->lock, NULL);
    t->where = tn_strdup(where);
    t->special_names = json_object();
    t->bos = t->eos = t->pad = -1;
    if (!t->where || !t->special_names) {
        tn_tokenizer_free(t);
        return no_memory(e);
    }
    *out = t;
    return TN_OK;
}

static tn_status finish(tn_tokenizer *t, const json_t *gen, const json_t *model_config, tn_err *e) {
    t->bos = named_id(t, "bos_token");
    t->eos = named_id(t, "eos_token");
    t->pad = named_id(t, "pad_token");
    TN_TRY(add_stop(t, t->eos, e));
    if (gen) TN_TRY(read_stops(t, gen, e));
    if (model_config) TN_TRY(read_stops(t, model_config, e));
    return t->chat_template ? tn_chat_prepare(t, e) : TN_OK;
}

static tn_status keep_source(tn_tokenizer *t, const char *name, const char *bytes, size_t n,
                             tn_err *e) {
    tn_source *v = tn_realloc(t->source, t->nsource + 1, sizeof *v);
    if (!v) return no_memory(e);
    t->source = v;
    v = &t->source[t->nsource++];
    *v = (tn_source){.name = tn_strdup(name)};
    tn_str_add(&v->bytes, bytes, n);
    return v->name && !v->bytes.oom ? TN_OK : no_memory(e);
}

static tn_status keep_json(tn_tokenizer *t, const char *name, const json_t *j, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_status st = tn_json_add(&text, j, JSON_INDENT(2) | JSON_ENSURE_ASCII, name, e);
    if (st == TN_OK) st = keep_source(t, name, text.s, text.len, e);
    tn_str_free(&text);
    return st;
}

tn_status tn_tokenizer_from_json(tn_tokenizer **out, const json_t *tokenizer, const json_t *config,
                                 const char *chat_template, const char *where, tn_err *e) {
    tn_tokenizer *t;
    TN_TRY(new_tokenizer(&t, where, e));
    tn_status st = TN_OK;
    TN_GO(read_tokenizer(t, tokenizer, e), fail);
    TN_GO(read_names(t, config, e), fail);
    const char *text =
        chat_template ? chat_template : template_text(json_object_get(config, "chat_template"));
    if (text && !(t->chat_template = tn_strdup(text))) {
        st = no_memory(e);
        goto fail;
    }
    TN_GO(finish(t, NULL, NULL, e), fail);
    TN_GO(keep_json(t, "tokenizer.json", tokenizer, e), fail);
    if (config) TN_GO(keep_json(t, "tokenizer_config.json", config, e), fail);
    if (chat_template)
        TN_GO(keep_source(t, "chat_template.jinja", chat_template, strlen(chat_template), e), fail);
    *out = t;
    return TN_OK;
fail:
    tn_tokenizer_free(t);
    *out = NULL;
    return st;
}

/* Copy in which integers of more than 18 digits are reals: "model_max_length" is often 10^30,
 * which the JSON reader would refuse. */
static void widen(tn_str *out, const char *s, size_t n) {
    bool quoted = false, real = false;
    for (size_t i = 0, digits = 0; i <= n; i++) {
        char c = i < n ? s[i] : 0;
        bool digit = !quoted && c >= '0' && c <= '9',
             point = !quoted && (c == '.' || c == 'e' || c == 'E' || c == '+');
        if (digits > 18 && !digit && !point && !real) tn_str_addz(out, ".0");
        real = point || (real && digit);
        digits = digit ? digits + 1 : 0;
        if (i == n) break;
        if (c == '"') quoted = !quoted;
        tn_str_addc(out, c);
        if (quoted && c == '\\' && i + 1 < n) tn_str_addc(out, s[++i]);
    }
}

static tn_status parse_source(const tn_tokenizer *t, const char *dir, const char *name, json_t **j,
                              tn_err *e) {
    for (size_t k = 0; k < t->nsource; k++) {
        if (strcmp(t->source[k].name, name)) continue;
        const tn_str *b = &t->source[k].bytes;
        tn_str where = TN_STR_INIT, wide = TN_STR_INIT;
        tn_path_join(&where, dir, name);
        tn_status st = tn_json_parse(b->s, b->len, where.s, j, e);
        if (st == TN_FORMAT) { /* once more; the first message stays when this fails too */
            widen(&wide, b->s, b->len);
            if (!wide.oom && wide.len != b->len &&
                tn_json_parse(wide.s, wide.len, where.s, j, NULL) == TN_OK)
                st = TN_OK;
        }
        tn_str_free(&where);
        tn_str_free(&wide);
        return st;
    }
    return TN_OK;
}

static tn_status optional_json(const char *dir, const char *name, json_t **j, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, name);
    tn_status st = tn_exists(path.s) ? tn_json_load(path.s, j, e) : TN_OK;
    tn_str_free(&path);
    return st;
}

static tn_status read_sources(tn_tokenizer *t, const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT, bytes = TN_STR_INIT;
    tn_status st = TN_OK;
    for (size_t k = 0; k < sizeof kept_files / sizeof *kept_files && st == TN_OK; k++) {
        tn_path_join(&path, dir, kept_files[k]);
        if (!tn_exists(path.s)) {
            if (k == 0)
                st = tn_fail(
                    e, TN_IO,
                    "%s: no tokenizer.json in this folder; texts need one (other forms, such as "
                    "tokenizer.model, are not read; rows of ids do without)",
                    dir);
            continue;
        }
        st = tn_read_file(path.s, &bytes, MAX_FILE, e);
        if (st == TN_OK) st = keep_source(t, kept_files[k], bytes.s, bytes.len, e);
    }
    tn_str_free(&path);
    tn_str_free(&bytes);
    return st;
}

static tn_status pick_template(tn_tokenizer *t, const json_t *config, tn_err *e) {
    const char *text = template_text(json_object_get(config, "chat_template"));
    for (size_t k = 0; k < t->nsource; k++)
        if (!strcmp(t->source[k].name, "chat_template.jinja")) text = t->source[k].bytes.s;
    if (text && !(t->chat_template = tn_strdup(text))) return no_memory(e);
    return TN_OK;
}

tn_status tn_tokenizer_load(tn_tokenizer **out, const char *dir, tn_err *e) {
    tn_tokenizer *t;
    tn_str where = TN_STR_INIT;
    json_t *tok = NULL, *config = NULL, *map = NULL, *gen = NULL, *model = NULL;
    tn_path_join(&where, dir, "tokenizer.json");
    tn_status st = new_tokenizer(&t, where.s ? where.s : dir, e);
    tn_str_free(&where);
    *out = NULL;
    if (st != TN_OK) return st;
    TN_GO(read_sources(t, dir, e), done);
    TN_GO(parse_source(t, dir, "tokenizer.json", &tok, e), done);
    TN_GO(parse_source(t, dir, "tokenizer_config.json", &config, e), done);
    TN_GO(parse_source(t, dir, "special_tokens_map.json", &map, e), done);
    TN_GO(optional_json(dir, "generation_config.json", &gen, e), done);
    TN_GO(optional_json(dir, "config.json", &model, e), done);
    TN_GO(read_tokenizer(t, tok, e), done);
    TN_GO(read_names(t, config, e), done);
    TN_GO(read_names(t, map, e), done);
    TN_GO(pick_template(t, config, e), done);
    TN_GO(finish(t, gen, model, e), done);
done:
    json_decref(tok);
    json_decref(config);
    json_decref(map);
    json_decref(gen);
    json_decref(model);
    if (st != TN_OK)
        tn_tokenizer_free(t);
    else
        *out = t;
    return st;
}

tn_status tn_tokenizer_save(const tn_tokenizer *t, const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    for (size_t k = 0; k < t->nsource && st == TN_OK; k++) {
        if (t->chat_changed && !strcmp(t->source[k].name, "chat_template.jinja")) continue;
        tn_path_join(&path, dir, t->source[k].name);
        st = tn_write_file(path.s, t->source[k].bytes.s, t->source[k].bytes.len, e);
    }
    if (t->chat_changed && st == TN_OK) {
        tn_path_join(&path, dir, "chat_template.jinja");
        st = tn_write_file(path.s, t->chat_template, strlen(t->chat_template), e);
    }
    tn_str_free(&path);
    return st;
}

void tn_tokenizer_free(tn_tokenizer *t) {
    if (!t) return;
    tn_stages_free(&t->norm);
    tn_stages_free(&t->pre);
    tn_stages_free(&t->dec);
    tn_added_free(t);
    tn_tok_model_free(t);
    tn_chat_free(t->chat);
    tn_free(t->before);
    tn_free(t->after);
    tn_free(t->stop);
    tn_free(t->chat_template);
    tn_free(t->where);
    json_decref(t->special_names);
    for (size_t k = 0; k < t->nsource; k++) {
        tn_free(t->source[k].name);
        tn_str_free(&t->source[k].bytes);
    }
    tn_free(t->source);
    for (tn_work *w = t->idle, *next; w; w = next) {
        next = w->next;
        tn_work_free(w);
    }
    pthread_mutex_destroy(&t->lock);
    tn_free(t);
}
