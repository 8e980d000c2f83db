/* Statements, calls and rendering of chat templates. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <string.h>
#include <time.h>

static tn_status assign(jrun *r, const jnode *target, jv v) {
    jv key;
    if (target->kind == JN_NAME) {
        TN_TRY(tn_jstrz(r, target->name, &key));
        return tn_jput(r, &r->scope->vars, key, v);
    }
    if (target->kind == JN_ATTR) {
        jv space;
        TN_TRY(tn_jeval(r, target->body, &space));
        if (space.kind != JV_NAMESPACE)
            return tn_jraise(r, TN_FORMAT, "cannot assign attribute on non-namespace object");
        TN_TRY(tn_jstrz(r, target->name, &key));
        return tn_jput(r, space.d, key, v);
    }
    jv list;
    size_t k = 0;
    TN_TRY(tn_jitems(r, v, &list));
    for (const jnode *n = target->args; n; n = n->next, k++) {
        if (k >= list.l->n)
            return tn_jraise(r, TN_FORMAT, "not enough values to unpack (%zu)", list.l->n);
        TN_TRY(assign(r, n, list.l->v[k]));
    }
    return k == list.l->n ? TN_OK
                          : tn_jraise(r, TN_FORMAT, "too many values to unpack (%zu)", list.l->n);
}

static void enter(jrun *r, jscope *s, jscope *parent) {
    *s = (jscope){.parent = parent};
    r->scope = s;
}

/* Body into a fresh buffer and a fresh scope that must outlive it when macros are made inside. */
static tn_status capture(jrun *r, const jnode *body, jscope *parent, jv *out) {
    jbuf buf = {0}, *save = r->out;
    jscope *outer = r->scope, *s = tn_jalloc(r, sizeof *s);
    if (!s) return r->e->code;
    enter(r, s, parent);
    r->out = &buf;
    TN_TRY(tn_jexec(r, body));
    r->out = save;
    r->scope = outer;
    return tn_jbuf_str(r, &buf, out);
}

static tn_status keep_items(jrun *r, const jnode *n, jv items,
                            jv *kept) { /* {% for x in xs if c %} */
    jscope *outer = r->scope, *s = tn_jalloc(r, sizeof *s);
    if (!s) return r->e->code;
    TN_TRY(tn_jlist(r, items.l->n, kept));
    for (size_t k = 0; k < items.l->n; k++) {
        jv v;
        enter(r, s, outer);
        TN_TRY(assign(r, n->a, items.l->v[k]));
        TN_TRY(tn_jeval(r, n->c, &v));
        if (tn_jtruth(v)) TN_TRY(tn_jpush(r, *kept, items.l->v[k]));
    }
    r->scope = outer;
    return TN_OK;
}

tn_status tn_jfor(jrun *r, const jnode *n, jv items, int depth) {
    jv list, key;
    jscope *outer = r->scope;
    TN_TRY(tn_jitems(r, items, &list));
    if (n->c) TN_TRY(keep_items(r, n, list, &list));
    jloop *loop = tn_jalloc(r, sizeof *loop);
    if (!loop) return r->e->code;
    *loop = (jloop){.n = list.l->n, .items = list.l, .depth = depth, .node = n, .scope = outer};
    TN_TRY(tn_jstrz(r, "loop", &key));
    for (size_t k = 0; k < list.l->n; k++) {
        jscope *s = tn_jalloc(r, sizeof *s);
        if (!s) return r->e->code;
        if (--r->steps < 0) return tn_jraise(r, TN_UNSUPPORTED, "the template runs too long");
        loop->index = k;
        enter(r, s, outer);
        TN_TRY(tn_jput(r, &s->vars, key, (jv){.kind = JV_LOOP, .loop = loop}));
        TN_TRY(assign(r, n->a, list.l->v[k]));
        TN_TRY(tn_jexec(r, n->body));
        jflow flow = r->flow;
        r->flow = JF_NEXT;
        if (flow == JF_BREAK) break;
    }
    if (list.l->n == 0 && n->other) {
        jscope *s = tn_jalloc(r, sizeof *s);
        if (!s) return r->e->code;
        enter(r, s, outer);
        TN_TRY(tn_jexec(r, n->other));
    }
    r->scope = outer;
    return TN_OK;
}

tn_status tn_jcall_loop(jrun *r, const jloop *l, jv items, jv *out) {
    jbuf buf = {0}, *save = r->out;
    jscope *outer = r->scope;
    if (!l->node->recursive) return tn_jraise(r, TN_FORMAT, "the loop is not recursive");
    r->out = &buf;
    r->scope = l->scope;
    TN_TRY(tn_jfor(r, l->node, items, l->depth + 1));
    r->out = save;
    r->scope = outer;
    return tn_jbuf_str(r, &buf, out);
}

/* ---- macros and calls ---- */

static tn_status make_macro(jrun *r, const jnode *n, jv *out) {
    jmacro *m = tn_jalloc(r, sizeof *m);
    if (!m) return r->e->code;
    *m = (jmacro){.node = n, .scope = r->scope};
    *out = (jv){.kind = JV_MACRO, .m = m};
    return TN_OK;
}

tn_status tn_jcall_macro(jrun *r, const jmacro *m, jargs *a, jv *out) {
    jscope *outer = r->scope, *s = tn_jalloc(r, sizeof *s);
    jbuf buf = {0}, *save = r->out;
    size_t k = 0, used = 0;
    jv key, v, rest;
    if (!s) return r->e->code;
    enter(r, s, m->scope);
    for (const jnode *n = m->node->args; n; n = n->next, k++) {
        if (k < a->n)
            v = a->v[k];
        else if (tn_jgetz(&a->kw, n->name, &v))
            used++;
        else if (n->a)
            TN_TRY(tn_jeval(r, n->a, &v));
        else
            v = jv_undef(n->name);
        TN_TRY(tn_jstrz(r, n->name, &key));
        TN_TRY(tn_jput(r, &s->vars, key, v));
    }
    if (tn_jgetz(&a->kw, "caller", &v)) {
        used++;
        TN_TRY(tn_jstrz(r, "caller", &key));
        TN_TRY(tn_jput(r, &s->vars, key, v));
    }
    if (used < a->kw.n)
        return tn_jraise(r, TN_FORMAT, "macro '%.60s' takes no such keyword argument",
                         m->node->name);
    TN_TRY(tn_jlist(r, 4, &rest));
    for (; k < a->n; k++) TN_TRY(tn_jpush(r, rest, a->v[k]));
    TN_TRY(tn_jstrz(r, "varargs", &key));
    TN_TRY(tn_jput(r, &s->vars, key, rest));
    r->out = &buf;
    TN_TRY(tn_jexec(r, m->node->body));
    r->out = save;
    r->scope = outer;
    return tn_jbuf_str(r, &buf, out);
}

static tn_status call_block(jrun *r, const jnode *n, jv *out) {
    jv f, caller, key;
    jargs a;
    TN_TRY(make_macro(r, n, &caller));
    TN_TRY(tn_jeval(r, n->a->a, &f));
    TN_TRY(tn_jarguments(r, n->a->args, &a));
    TN_TRY(tn_jstrz(r, "caller", &key));
    TN_TRY(tn_jput(r, &a.kw, key, caller));
    return tn_jcall(r, f, &a, out);
}

tn_status tn_jcall(jrun *r, jv f, jargs *a, jv *out) {
    tn_status st;
    if (++r->depth > 500) return tn_jraise(r, TN_UNSUPPORTED, "calls nested too deep");
    switch (f.kind) {
    case JV_MACRO:
        st = tn_jcall_macro(r, f.m, a, out);
        break;
    case JV_METHOD:
        st = tn_jmethod(r, f.method, a, out);
        break;
    case JV_FUNC:
        st = tn_jfunc(r, f.name, a, out);
        break;
    case JV_LOOP:
        st = tn_jcall_loop(r, f.loop, tn_jarg(a, 0, NULL, jv_undef(NULL)), out);
        break;
    case JV_UNDEF:
        return tn_jraise(r, TN_FORMAT, "'%.60s' is undefined, so it cannot be called",
                         f.name ? f.name : "a value");
    default:
        return tn_jraise(r, TN_FORMAT, "'%s' object is not callable", tn_jtype(f));
    }
    r->depth--;
    return st;
}

/* ---- statements ---- */

static tn_status block_value(jrun *r, const jnode *n,
                             jv *out) { /* captured text through the filters in n->b */
    jv text;
    TN_TRY(capture(r, n->body, r->scope, &text));
    if (n->b == n->c) {
        *out = text;
        return TN_OK;
    }
    jnode hole = {
        .kind = JN_CONST, .value = text, .line = n->line}; /* the tree itself is never written */
    jnode *chain = tn_jalloc(r, 64 * sizeof *chain);
    if (!chain) return r->e->code;
    const jnode *f = n->b;
    int k = 0;
    for (; f != n->c; f = f->a) {
        if (k == 64) return tn_jraise(r, TN_UNSUPPORTED, "more than 64 filters");
        chain[k] = *f;
        if (k) chain[k - 1].a = &chain[k];
        k++;
    }
    chain[k - 1].a = &hole;
    return tn_jeval(r, &chain[0], out);
}

static tn_status exec_if(jrun *r, const jnode *n) {
    for (jv v;;) {
        TN_TRY(tn_jeval(r, n->a, &v));
        if (tn_jtruth(v)) return tn_jexec(r, n->body);
        if (!n->other) return TN_OK;
        if (n->other->kind != JN_IF || !n->other->elif) return tn_jexec(r, n->other);
        n = n->other;
    }
}

static tn_status exec_with(jrun *r, const jnode *n) {
    jscope *outer = r->scope, *s = tn_jalloc(r, sizeof *s);
    if (!s) return r->e->code;
    *s = (jscope){.parent = outer};
    for (const jnode *k = n->args; k; k = k->next) {
        jv v;
        r->scope = outer;
        TN_TRY(tn_jeval(r, k->b, &v));
        r->scope = s;
        TN_TRY(assign(r, k->a, v));
    }
    r->scope = s;
    TN_TRY(tn_jexec(r, n->body));
    r->scope = outer;
    return TN_OK;
}

static tn_status exec_one(jrun *r, const jnode *n) {
    jv v, key;
    switch (n->kind) {
    case JN_DATA:
        return tn_jprint(r, r->out, n->value);
    case JN_PRINT:
        TN_TRY(tn_jeval(r, n->a, &v));
        return tn_jprint(r, r->out, v);
    case JN_IF:
        return exec_if(r, n);
    case JN_FOR:
        TN_TRY(tn_jeval(r, n->b, &v));
        return tn_jfor(r, n, v, 0);
    case JN_SET:
        TN_TRY(tn_jeval(r, n->b, &v));
        return assign(r, n->a, v);
    case JN_SET_BLOCK:
        TN_TRY(block_value(r, n, &v));
        return assign(r, n->a, v);
    case JN_FILTER_BLOCK:
        TN_TRY(block_value(r, n, &v));
        return tn_jprint(r, r->out, v);
    case JN_MACRO:
        TN_TRY(make_macro(r, n, &v));
        TN_TRY(tn_jstrz(r, n->name, &key));
        return tn_jput(r, &r->scope->vars, key, v);
    case JN_CALL_BLOCK:
        TN_TRY(call_block(r, n, &v));
        return tn_jprint(r, r->out, v);
    case JN_WITH:
        return exec_with(r, n);
    case JN_GENERATION: {
        TN_TRY(capture(r, n->body, r->scope, &v));
        size_t from = r->out->n;
        TN_TRY(tn_jprint(r, r->out, v));
        for (size_t k = from; k < r->out->n; k++) r->out->tag[k] |= TN_TAG_GENERATION;
        return TN_OK;
    }
    case JN_BREAK:
        r->flow = JF_BREAK;
        return TN_OK;
    case JN_CONTINUE:
        r->flow = JF_CONTINUE;
        return TN_OK;
    default:
        return tn_jraise(r, TN_BUG, "an expression where a statement should be");
    }
}

tn_status tn_jexec(jrun *r, const jnode *list) {
    for (const jnode *n = list; n && r->flow == JF_NEXT; n = n->next) {
        r->line = n->line;
        if (--r->steps < 0) return tn_jraise(r, TN_UNSUPPORTED, "the template runs too long");
        if (++r->depth > 500) return tn_jraise(r, TN_UNSUPPORTED, "calls nested too deep");
        TN_TRY(exec_one(r, n));
        r->depth--;
    }
    return TN_OK;
}

/* ---- rendering ---- */

static tn_status begin(jrun *r, jscope *globals, const tn_jinja *t, size_t input, tn_err *e) {
    *globals = (jscope){0};
    *r = (jrun){.t = t, .scope = globals, .globals = globals, .steps = 20000000, .line = 1, .e = e};
    r->limit = ((size_t)256 << 20) + 256 * input;
    r->arena = tn_arena_new(1 << 16);
    return r->arena ? TN_OK : tn_fail(e, TN_NOMEM, "no memory for a chat template");
}

static tn_status set_global(jrun *r, const char *name, jv v) {
    jv key;
    TN_TRY(tn_jstrz(r, name, &key));
    return tn_jput(r, &r->globals->vars, key, v);
}

/* Text of a message as valid UTF-8; every byte tagged with its number. */
static tn_status content_value(jrun *r, const tn_message *m, size_t index, jv *out) {
    jbuf b = {0};
    uint16_t tag = (uint16_t)(index + 1 < TN_TAG_MESSAGE ? index + 1 : TN_TAG_MESSAGE);
    if (tn_utf8_valid(m->content, m->content_len)) {
        TN_TRY(tn_jbuf_add(r, &b, m->content, m->content_len, NULL, tag));
        return tn_jbuf_str(r, &b, out);
    }
    tn_str fixed = TN_STR_INIT;
    tn_utf8_replace(&fixed, m->content, m->content_len);
    tn_status st = fixed.oom ? tn_fail(r->e, TN_NOMEM, "no memory for a chat template")
                             : tn_jbuf_add(r, &b, fixed.s, fixed.len, NULL, tag);
    tn_str_free(&fixed);
    return st == TN_OK ? tn_jbuf_str(r, &b, out) : st;
}

static tn_status chat_globals(jrun *r, const tn_jinja_args *a) {
    jv list, key_role, key_content;
    const char *name;
    json_t *v;
    TN_TRY(tn_jlist(r, a->nmessage, &list));
    TN_TRY(tn_jstrz(r, "role", &key_role));
    TN_TRY(tn_jstrz(r, "content", &key_content));
    for (size_t k = 0; k < a->nmessage; k++) {
        jv m, text;
        if (!tn_utf8_valid(a->message[k].role, strlen(a->message[k].role)))
            return tn_fail(r->e, TN_FORMAT, "the role of message %zu is not UTF-8", k);
        TN_TRY(tn_jdict(r, &m));
        TN_TRY(tn_jstrz(r, a->message[k].role, &text));
        TN_TRY(tn_jput(r, m.d, key_role, text));
        TN_TRY(content_value(r, &a->message[k], k, &text));
        TN_TRY(tn_jput(r, m.d, key_content, text));
        TN_TRY(tn_jpush(r, list, m));
    }
    TN_TRY(set_global(r, "messages", list));
    TN_TRY(set_global(r, "tools", jv_none()));
    TN_TRY(set_global(r, "documents", jv_none()));
    TN_TRY(set_global(r, "add_generation_prompt", jv_bool(a->generation_prompt)));
    json_object_foreach((json_t *)a->names, name, v) {
        jv text;
        TN_TRY(tn_jfrom_json(r, v, 0, &text));
        TN_TRY(set_global(r, name, text));
    }
    return TN_OK;
}

static tn_status run(jrun *r, tn_str *out, uint16_t **tags) {
    jbuf buf = {0};
    r->out = &buf;
    TN_TRY(tn_jexec(r, r->t->root));
    tn_str_add(out, buf.n ? buf.s : "", buf.n);
    if (tags && (*tags = tn_malloc((buf.n + 1) * sizeof **tags)) && buf.n)
        memcpy(*tags, buf.tag, buf.n * sizeof **tags);
    return out->oom || (tags && !*tags) ? tn_fail(r->e, TN_NOMEM, "no memory for a chat template")
                                        : TN_OK;
}

tn_status tn_jinja_render(const tn_jinja *t, const tn_jinja_args *a, tn_str *out, uint16_t **tags,
                          tn_err *e) {
    jrun r;
    jscope globals;
    tn_err own = {0};
    size_t input = 0;
    if (!e) e = &own;
    for (size_t k = 0; k < a->nmessage; k++) input += a->message[k].content_len;
    TN_TRY(begin(&r, &globals, t, input, e));
    tn_status st = chat_globals(&r, a);
    if (st == TN_OK) st = run(&r, out, tags);
    tn_arena_free(r.arena);
    return st;
}

tn_status tn_jinja_render_json(const tn_jinja *t, const json_t *vars, tn_str *out, tn_err *e) {
    jrun r;
    jscope globals;
    tn_err own = {0};
    const char *name;
    json_t *v;
    if (!e) e = &own;
    TN_TRY(begin(&r, &globals, t, 0, e));
    tn_status st = TN_OK;
    json_object_foreach((json_t *)vars, name, v) {
        jv one;
        if (st == TN_OK) st = tn_jfrom_json(&r, v, 0, &one);
        if (st == TN_OK) st = set_global(&r, name, one);
    }
    if (st == TN_OK) st = run(&r, out, NULL);
    tn_arena_free(r.arena);
    return st;
}
