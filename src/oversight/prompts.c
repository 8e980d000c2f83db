#include "oversight/prompts.h"
#include "text/jinja.h"
#include <ctype.h>
#include <string.h>

static const char *const kind_name[] = {"critique", "revision", "direct", "compare", "reason", "score", "verdict", "assess"};
static const struct { const char *name, *text; bool ends; } default_label[] = {
    {"critique_request", "CritiqueRequest:", true}, {"critique", "Critique:", true}, {"revision_request", "RevisionRequest:", true},
    {"revision", "Revision:", true}, {"principle", "Principle:", true}, {"options", "Options:", true}, {"user", "Human:", true},
    {"assistant", "Assistant:", true}, {"option_a", "(A)", false}, {"option_b", "(B)", false}, {"answer", "Answer:", false},
    {"open", "[", false}, {"close", "]", false}};

typedef struct list {
    char **v;
    size_t n, cap;
} list;

struct tn_prompts {
    const tn_constitution *c;
    tn_str dir;
    bool chat, turns;
    json_t *labels, *few_shots[TN_PRINCIPLE_USES];
    tn_jinja *t[TN_PROMPT_KINDS];
    uint64_t hash[TN_PROMPT_KINDS];
    list reserved, ends, stops, preambles, phrases; /* longest first */
    const char *told[5];
    const char *bos, *eos;
};

/* ---- loading ---- */

static tn_status list_add(list *l, const char *s, size_t n, tn_err *e) {
    while (n > 0 && isspace((unsigned char)*s)) s++, n--;
    while (n > 0 && isspace((unsigned char)s[n - 1])) n--;
    if (n == 0) return TN_OK;
    for (size_t i = 0; i < l->n; i++)
        if (strlen(l->v[i]) == n && !memcmp(l->v[i], s, n)) return TN_OK;
    if (!TN_GROW(l->v, l->cap, l->n + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
    char *copy = tn_calloc(n + 1, 1);
    if (!copy) return tn_fail(e, TN_NOMEM, "out of memory");
    memcpy(copy, s, n);
    size_t at = l->n++;
    for (; at > 0 && strlen(l->v[at - 1]) < n; at--) l->v[at] = l->v[at - 1];
    l->v[at] = copy;
    return TN_OK;
}
static void list_free(list *l) {
    for (size_t i = 0; i < l->n; i++) tn_free(l->v[i]);
    tn_free(l->v);
}
static tn_status list_json(list *l, const json_t *o, const char *key, const char *where, tn_err *e) {
    const json_t *a = json_object_get(o, key), *v;
    size_t i;
    if (a && !json_is_array(a)) return tn_fail(e, TN_FORMAT, "%s: \"%s\" is to be a list of texts", where, key);
    json_array_foreach((json_t *)a, i, v) {
        if (!json_is_string(v)) return tn_fail(e, TN_FORMAT, "%s: \"%s\"[%zu] is not a text", where, key, i);
        TN_TRY(list_add(l, json_string_value(v), json_string_length(v), e));
    }
    return TN_OK;
}

static tn_status read_settings(tn_prompts *p, tn_err *e) {
    static const char *const keys[] = {"mode", "stop", "preambles", "critic_phrases"};
    tn_str path = TN_STR_INIT;
    json_t *j = NULL, *v;
    const char *mode = NULL, *k;
    tn_path_join(&path, p->dir.s, "prompts.json");
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_json_load(path.s, &j, e);
    if (st == TN_OK && !json_is_object(j)) st = tn_fail(e, TN_FORMAT, "%s: expected an object with \"mode\"", path.s);
    if (st == TN_OK) st = tn_json_need_str(j, "mode", &mode, path.s, e);
    if (st == TN_OK && strcmp(mode, "text") && strcmp(mode, "chat") && strcmp(mode, "turns"))
        st = tn_fail(e, TN_FORMAT, "%s: \"mode\" is text, chat or turns, not %s", path.s, mode);
    json_object_foreach(j, k, v) {
        int i = 0;
        while (i < 4 && strcmp(keys[i], k)) i++;
        if (st == TN_OK && i == 4) st = tn_fail(e, TN_FORMAT, "%s: unknown key \"%s\"; known are mode, stop, preambles, critic_phrases", path.s, k);
    }
    if (st == TN_OK) p->chat = strcmp(mode, "text") != 0, p->turns = !strcmp(mode, "turns");
    if (st == TN_OK) st = list_json(&p->ends, j, "stop", path.s, e);
    if (st == TN_OK) st = list_json(&p->stops, j, "stop", path.s, e);
    if (st == TN_OK) st = list_json(&p->preambles, j, "preambles", path.s, e);
    if (st == TN_OK) st = list_json(&p->phrases, j, "critic_phrases", path.s, e);
    json_decref(j);
    tn_str_free(&path);
    return st;
}

static tn_status read_template(tn_prompts *p, int k, tn_err *e) {
    tn_str path = TN_STR_INIT, text = TN_STR_INIT;
    char name[32];
    snprintf(name, sizeof name, "%s.jinja", kind_name[k]);
    tn_path_join(&path, p->dir.s, name);
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    if (st == TN_OK && tn_exists(path.s)) {
        st = tn_read_file(path.s, &text, 1 << 20, e);
        p->hash[k] = tn_hash64(text.s, text.len, 0);
        tn_err why = {0};
        if (st == TN_OK && tn_jinja_compile(&p->t[k], text.s, text.len, &why) != TN_OK) st = tn_fail(e, TN_FORMAT, "%s: %s", path.s, why.msg);
    }
    tn_str_free(&path);
    tn_str_free(&text);
    return st;
}

static tn_status make_labels(tn_prompts *p, tn_err *e) {
    p->labels = json_object();
    for (size_t i = 0; i < sizeof default_label / sizeof *default_label; i++) {
        const char *s = tn_constitution_label(p->c, default_label[i].name, default_label[i].text);
        if (json_object_set_new(p->labels, default_label[i].name, json_string(s)) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
        TN_TRY(list_add(&p->reserved, s, strlen(s), e));
        if (default_label[i].ends) TN_TRY(list_add(&p->ends, s, strlen(s), e));
    }
    for (size_t i = 0; i < p->ends.n; i++) TN_TRY(list_add(&p->reserved, p->ends.v[i], strlen(p->ends.v[i]), e));
    return TN_OK;
}

/* Of models that nobody here knows: what the usual chat formats are made of. */
static const char *const usual_special[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
    "<|start|>", "<|message|>", "<|channel|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<bos>", "<eos>"};

static tn_status reserve_special(tn_prompts *p, const tn_tokenizer *tok, tn_err *e) {
    size_t n;
    p->bos = p->eos = "";
    for (size_t i = 0; !tok && i < sizeof usual_special / sizeof *usual_special; i++)
        TN_TRY(list_add(&p->reserved, usual_special[i], strlen(usual_special[i]), e));
    for (int id = 0; tok && id < tn_tokenizer_vocab(tok); id++) {
        if (!tn_token_special(tok, id)) continue;
        const char *s = tn_token_text(tok, id, &n);
        TN_TRY(list_add(&p->reserved, s, n, e));
        if (id == tn_tokenizer_bos(tok)) p->bos = s;
        if (id == tn_tokenizer_eos(tok)) p->eos = s;
    }
    return TN_OK;
}

static tn_status make_few_shots(tn_prompts *p, tn_err *e) {
    for (int u = 0; u < TN_PRINCIPLE_USES; u++) {
        p->few_shots[u] = json_array();
        for (int i = 0; i < p->c->n_few_shot; i++) {
            const tn_few_shot *f = &p->c->few_shot[i];
            const tn_principle *k = &p->c->principle[f->principle];
            if ((int)f->use != u || !k->enabled) continue;
            json_t *o = u == TN_COMPARE ? json_pack("{s:O,s:s,s:s,s:s,s:s*,s:s}", "conversation", f->conversation, "principle", k->compare,
                                                    "option_a", f->option[0], "option_b", f->option[1], "reasoning", f->reasoning, "answer",
                                                    f->answer ? "b" : "a")
                                        : json_pack("{s:O,s:s,s:s,s:s,s:s}", "conversation", f->conversation, "critique_request", k->critique,
                                                    "critique", f->critique, "revise_request", k->revise, "revision", f->revision);
            if (!o || json_array_append_new(p->few_shots[u], o) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
        }
    }
    return TN_OK;
}

/* At most four, which is what OpenAI takes: the folder's own, then the labels of the next turns in a text. */
static tn_status choose_stops(tn_prompts *p, tn_err *e) {
    for (int i = 0; i < 2 && !p->chat; i++) {
        const char *label = json_string_value(json_object_get(p->labels, i ? "assistant" : "user"));
        TN_TRY(list_add(&p->stops, label, strlen(label), e));
    }
    for (size_t i = 0; i < p->stops.n && i < 4; i++) p->told[i] = p->stops.v[i];
    return TN_OK;
}

static tn_status load(tn_prompts *p, const tn_tokenizer *tok, tn_err *e) {
    TN_TRY(read_settings(p, e));
    if (p->turns && !tok)
        return tn_fail(e, TN_ARG, "%s goes on with conversations in a model's own template, and an endpoint's is not known; take prompts/chat",
                       p->dir.s);
    for (int k = 0; k < TN_PROMPT_KINDS; k++) TN_TRY(read_template(p, k, e));
    TN_TRY(make_labels(p, e));
    TN_TRY(reserve_special(p, tok, e));
    TN_TRY(choose_stops(p, e));
    return make_few_shots(p, e);
}

tn_status tn_prompts_load(tn_prompts **out, const char *dir, const tn_constitution *c, const tn_tokenizer *tok, tn_err *e) {
    tn_prompts *p = tn_calloc(1, sizeof *p);
    *out = NULL;
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory");
    p->c = c;
    p->dir = (tn_str)TN_STR_INIT;
    tn_str_addz(&p->dir, dir);
    tn_status st = p->dir.oom ? tn_fail(e, TN_NOMEM, "out of memory") : load(p, tok, e);
    if (st == TN_OK) *out = p;
    else tn_prompts_free(p);
    return st;
}

void tn_prompts_free(tn_prompts *p) {
    if (!p) return;
    list *l[] = {&p->reserved, &p->ends, &p->stops, &p->preambles, &p->phrases};
    for (int i = 0; i < 5; i++) list_free(l[i]);
    for (int k = 0; k < TN_PROMPT_KINDS; k++) tn_jinja_free(p->t[k]);
    for (int u = 0; u < TN_PRINCIPLE_USES; u++) json_decref(p->few_shots[u]);
    json_decref(p->labels);
    tn_str_free(&p->dir);
    tn_free(p);
}

bool tn_prompts_are_turns(const tn_prompts *p) { return p->chat; }
bool tn_prompts_go_on(const tn_prompts *p) { return p->turns; }
const char *const *tn_prompts_stops(const tn_prompts *p) { return p->told; }
uint64_t tn_prompts_hash(const tn_prompts *p, tn_prompt_kind k) { return p->hash[k]; }

/* ---- defusing ---- */

/* The longest text of the list at s, or NULL. */
static const char *at(const list *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (!strncmp(s, l->v[i], strlen(l->v[i]))) return l->v[i];
    return NULL;
}

static void defuse(const tn_prompts *p, const char *s, tn_str *out, int *n) {
    while (*s) {
        const char *r = at(&p->reserved, s);
        if (!r) {
            tn_str_addc(out, *s++);
            continue;
        }
        size_t len = strlen(r), last = len - 1;
        while (last > 0 && ((unsigned char)s[last] & 0xC0) == 0x80) last--; /* where its last character begins */
        if (last == 0) tn_str_addz(out, strcmp(r, "[") == 0 ? "(" : strcmp(r, "]") == 0 ? ")" : " ");
        else {
            tn_str_add(out, s, last);
            tn_str_addc(out, ' ');
            tn_str_add(out, s + last, len - last);
        }
        s += len;
        if (n) ++*n;
    }
}

static tn_status set_text(const tn_prompts *p, json_t *vars, const char *key, const char *s, int *n, tn_err *e) {
    tn_str b = TN_STR_INIT;
    if (!s) return TN_OK;
    defuse(p, s, &b, n);
    bool ok = !b.oom && json_object_set_new(vars, key, json_stringn(b.s, b.len)) == 0;
    tn_str_free(&b);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory, or \"%s\" is not UTF-8", key);
}

static tn_status set_conversation(const tn_prompts *p, json_t *vars, const json_t *a, int *n, tn_err *e) {
    json_t *out = json_array(), *m;
    size_t i;
    if (json_object_set_new(vars, "conversation", out) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
    json_array_foreach((json_t *)a, i, m) {
        json_t *o = json_object();
        if (json_array_append_new(out, o) < 0 || json_object_set(o, "role", json_object_get(m, "role")) < 0)
            return tn_fail(e, TN_FORMAT, "message %zu of a conversation has no role", i + 1);
        TN_TRY(set_text(p, o, "content", json_string_value(json_object_get(m, "content")), n, e));
    }
    return TN_OK;
}

static tn_status set_plain(json_t *vars, const char *key, const char *s, tn_err *e) {
    return !s || json_object_set_new(vars, key, json_string(s)) == 0 ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status make_vars(const tn_prompts *p, tn_prompt_kind k, const tn_prompt_about *a, json_t *vars, int *n, tn_err *e) {
    const tn_principle *q = a->principle;
    const struct { const char *key, *text; } theirs[] = {{"answer", a->answer}, {"critique", a->critique}, {"option_a", a->option_a},
                                                         {"option_b", a->option_b}, {"reasoning", a->reasoning}};
    const struct { const char *key, *text; } ours[] = {{"critique_request", q->critique}, {"revise_request", q->revise}, {"principle", q->compare},
                                                       {"bos_token", p->bos}, {"eos_token", p->eos}};
    TN_TRY(set_conversation(p, vars, a->conversation, n, e));
    for (int i = 0; i < 5; i++) TN_TRY(set_text(p, vars, theirs[i].key, theirs[i].text, n, e));
    for (int i = 0; i < 5; i++) TN_TRY(set_plain(vars, ours[i].key, ours[i].text, e));
    if (json_object_set(vars, "labels", p->labels) < 0 ||
        json_object_set(vars, "few_shots", p->few_shots[k >= TN_PROMPT_COMPARE ? TN_COMPARE : TN_CRITIQUE_REVISE]) < 0 ||
        json_object_set_new(vars, "swapped", json_boolean(a->swapped)) < 0)
        return tn_fail(e, TN_NOMEM, "out of memory");
    return TN_OK;
}

static tn_status encode(const tn_prompts *p, const tn_tokenizer *tok, const tn_str *text, tn_ids *ids, tn_err *e) {
    tn_message m = {"user", text->s, text->len};
    uint8_t *mask = NULL;
    if (!p->chat) return tn_encode(tok, text->s, text->len, false, ids, NULL, e);
    tn_status st = tn_chat_encode(tok, &m, 1, true, ids, &mask, e);
    tn_free(mask);
    return st;
}

tn_status tn_prompts_render(const tn_prompts *p, tn_prompt_kind k, const tn_prompt_about *a, const tn_tokenizer *tok, tn_str *text,
                            tn_ids *ids, int *defused, tn_err *e) {
    tn_str own = TN_STR_INIT;
    if (!p->t[k])
        return tn_fail(e, TN_ARG, "%s has no %s.jinja, which is asked for; write that template, or take another folder of prompts", p->dir.s, kind_name[k]);
    json_t *vars = json_object();
    tn_status st = vars ? make_vars(p, k, a, vars, defused, e) : tn_fail(e, TN_NOMEM, "out of memory");
    tn_err why = {0};
    if (st == TN_OK && tn_jinja_render_json(p->t[k], vars, &own, &why) != TN_OK)
        st = tn_fail(e, TN_FORMAT, "%s/%s.jinja: %s", p->dir.s, kind_name[k], why.msg);
    if (st == TN_OK && own.oom) st = tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK && ids && tok) st = encode(p, tok, &own, ids, e);
    if (text) {
        tn_str_clear(text);
        tn_str_add(text, own.s, own.len);
    }
    json_decref(vars);
    tn_str_free(&own);
    return st;
}

/* ---- turns ---- */

static tn_status add_turn(const tn_prompts *p, json_t *turns, const char *role, const char *s, tn_err *e) {
    json_t *m = json_pack("{s:s}", "role", role);
    if (!m || json_array_append_new(turns, m) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
    return set_text(p, m, "content", s, NULL, e);
}

/* The turn that a template makes; what it says is ours. */
static tn_status add_request(const tn_prompts *p, json_t *turns, tn_prompt_kind k, const tn_prompt_about *a, tn_str *text, tn_err *e) {
    TN_TRY(tn_prompts_render(p, k, a, NULL, text, NULL, NULL, e));
    json_t *m = json_pack("{s:s,s:s%}", "role", "user", "content", text->s, text->len);
    return m && json_array_append_new(turns, m) == 0 ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory, or a request that is not UTF-8");
}

/* Where the last `replies` runs of an assistant's tokens begin and end, ascending. */
static tn_status find_cuts(const uint8_t *mask, int n, int replies, tn_ids *cut, tn_err *e) {
    cut->n = 0;
    if (!TN_GROW(cut->v, cut->cap, 2 * (size_t)replies)) return tn_fail(e, TN_NOMEM, "out of memory");
    int want = 2 * replies, left = want;
    for (int i = n - 1; i > 0 && left > 0; i--)
        if (mask[i] != mask[i - 1]) cut->v[--left] = i;
    cut->n = left == 0 ? (size_t)want : 0; /* a template that does not show all turns: one segment */
    return TN_OK;
}

static tn_status encode_turns(const tn_tokenizer *tok, const json_t *turns, int replies, tn_ids *ids, tn_ids *cut, tn_err *e) {
    tn_message *m = NULL;
    uint8_t *mask = NULL;
    size_t n;
    tn_status st = tn_messages_from_json(turns, &m, &n, "a conversation that goes on", e);
    if (st == TN_OK) st = tn_chat_encode(tok, m, n, true, ids, &mask, e);
    if (st == TN_OK) st = find_cuts(mask, (int)ids->n, replies, cut, e);
    tn_free(m);
    tn_free(mask);
    return st;
}

tn_status tn_prompts_ask(const tn_prompts *p, tn_prompt_kind k, const tn_prompt_about *a, const tn_tokenizer *tok, tn_str *text,
                         tn_ids *ids, tn_ids *cut, tn_err *e) {
    ids->n = cut->n = 0;
    if (!p->turns) return tn_prompts_render(p, k, a, tok, text, ids, NULL, e);
    bool criticised = k == TN_PROMPT_REVISION && a->critique && *a->critique;
    json_t *vars = json_object(), *turns = NULL;
    tn_status st = set_conversation(p, vars, a->conversation, NULL, e);
    if (st == TN_OK) turns = json_object_get(vars, "conversation");
    if (st == TN_OK) st = add_turn(p, turns, "assistant", a->answer, e);
    if (st == TN_OK && (criticised || k == TN_PROMPT_CRITIQUE)) st = add_request(p, turns, TN_PROMPT_CRITIQUE, a, text, e);
    if (st == TN_OK && criticised) st = add_turn(p, turns, "assistant", a->critique, e);
    if (st == TN_OK && k != TN_PROMPT_CRITIQUE) st = add_request(p, turns, criticised ? TN_PROMPT_REVISION : TN_PROMPT_DIRECT, a, text, e);
    if (st == TN_OK) st = encode_turns(tok, turns, 1 + criticised, ids, cut, e);
    json_decref(vars);
    return st;
}

/* ---- replies ---- */

static bool begins(const char *s, const char *with) {
    for (; *with; s++, with++)
        if (tolower((unsigned char)*s) != tolower((unsigned char)*with)) return false;
    return true;
}
static const char *beginning(const list *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (begins(s, l->v[i])) return l->v[i];
    return NULL;
}

tn_status tn_prompts_clean(const tn_prompts *p, const char *reply, size_t n, tn_str *out, bool *stopped, tn_err *e) {
    size_t end = 0, from = 0;
    tn_str all = TN_STR_INIT;
    tn_str_add(&all, reply, n);
    tn_str_clear(out);
    if (all.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    while (end < all.len && !at(&p->ends, all.s + end)) end++;
    if (end < all.len) *stopped = true;
    while (from < end && isspace((unsigned char)all.s[from])) from++;
    if (beginning(&p->preambles, all.s + from)) {
        size_t cut = from + strcspn(all.s + from, ":\n");
        if (cut + 1 < end) from = cut + 1;
        while (from < end && isspace((unsigned char)all.s[from])) from++;
    }
    while (end > from && isspace((unsigned char)all.s[end - 1])) end--;
    tn_str_add(out, all.s + from, end - from);
    tn_str_free(&all);
    return out->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

bool tn_prompts_is_critique(const tn_prompts *p, const char *text) { return beginning(&p->phrases, text) != NULL; }
