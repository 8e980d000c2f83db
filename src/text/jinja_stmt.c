/* Statements of chat templates, and compiling a whole one. */
#include "text/jinja_int.h"
#include <string.h>

#define NEW(var, k)                                                                                \
    do {                                                                                           \
        (var) = tn_jnew(p, (k));                                                                   \
        if (!(var)) return TN_NOMEM;                                                               \
    } while (0)

static tn_status block_end(jparse *p) {
    if (tn_jpeek(p)->kind != JK_BLOCK_END) return tn_jbad(p, "%}");
    p->i++;
    return TN_OK;
}

/* Body up to one of `ends`, whose name is then consumed (its %} is not). */
static tn_status body_until(jparse *p, const char *const *ends, jnode **body, const char **end) {
    TN_TRY(tn_jstatements(p, ends, body));
    p->i++; /* {% */
    *end = tn_jpeek(p)->s;
    p->i++;
    return TN_OK;
}

static tn_status simple_body(jparse *p, const char *end, jnode **body) {
    const char *const ends[] = {end, NULL};
    const char *found;
    TN_TRY(block_end(p));
    TN_TRY(body_until(p, ends, body, &found));
    return block_end(p);
}

static tn_status if_statement(jparse *p, jnode **out) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    jnode *n;
    const char *end;
    NEW(n, JN_IF);
    *out = n;
    for (;;) {
        TN_TRY(tn_jtuple(p, false, &n->a)); /* no `x if y` here, as in Jinja */
        TN_TRY(block_end(p));
        TN_TRY(body_until(p, ends, &n->body, &end));
        if (!strcmp(end, "elif")) {
            NEW(n->other, JN_IF);
            n = n->other;
            n->elif = true;
            continue;
        }
        if (!strcmp(end, "else"))
            TN_TRY(simple_body(p, "endif", &n->other));
        else
            TN_TRY(block_end(p));
        return TN_OK;
    }
}

static tn_status for_statement(jparse *p, jnode **out) {
    static const char *const ends[] = {"else", "endfor", NULL};
    const char *end;
    NEW(*out, JN_FOR);
    TN_TRY(tn_jtarget(p, &(*out)->a));
    if (!tn_jis_name(p, "in")) return tn_jbad(p, "in");
    p->i++;
    TN_TRY(tn_jtuple(p, false, &(*out)->b));
    if (tn_jis_name(p, "if")) {
        p->i++;
        TN_TRY(tn_jexpr(p, &(*out)->c));
    }
    if (tn_jis_name(p, "recursive")) {
        (*out)->recursive = true;
        p->i++;
    }
    TN_TRY(block_end(p));
    TN_TRY(body_until(p, ends, &(*out)->body, &end));
    if (!strcmp(end, "else")) return simple_body(p, "endfor", &(*out)->other);
    return block_end(p);
}

/* Filters after a name in {% set x | f %} and {% filter f | g %}: applied to the node in `a`. */
static tn_status filter_chain(jparse *p, bool bar_first, jnode **io) {
    for (bool first = true; tn_jis_op(p, "|") || (first && !bar_first); first = false) {
        jnode *n;
        if (tn_jis_op(p, "|")) p->i++;
        NEW(n, JN_FILTER);
        n->a = *io;
        TN_TRY(tn_jprimary_name(p, &n->name));
        if (tn_jis_op(p, "(")) {
            p->i++;
            TN_TRY(tn_jargs(p, &n->args));
        }
        *io = n;
    }
    return TN_OK;
}

/* The captured text reaches the filters through the first node of the chain, a JN_CONST in `b`. */
static tn_status set_statement(jparse *p, jnode **out) {
    jnode *target, *chain;
    NEW(*out, JN_SET);
    TN_TRY(tn_jtarget(p, &target));
    (*out)->a = target;
    if (tn_jis_op(p, "=")) {
        p->i++;
        TN_TRY(tn_jtuple(p, true, &(*out)->b));
        return block_end(p);
    }
    (*out)->kind = JN_SET_BLOCK;
    NEW(chain, JN_CONST);
    (*out)->b = chain;
    TN_TRY(filter_chain(p, true, &(*out)->b));
    (*out)->c = chain;
    return simple_body(p, "endset", &(*out)->body);
}

static tn_status filter_statement(jparse *p, jnode **out) {
    jnode *chain;
    NEW(*out, JN_FILTER_BLOCK);
    NEW(chain, JN_CONST);
    (*out)->b = chain;
    TN_TRY(filter_chain(p, false, &(*out)->b));
    (*out)->c = chain;
    return simple_body(p, "endfilter", &(*out)->body);
}

/* (a, b=1): names in a list, defaults in ->a. */
static tn_status signature(jparse *p, jnode **out) {
    jnode **tail = out;
    TN_TRY(tn_jneed_op(p, "("));
    while (!tn_jis_op(p, ")")) {
        jnode *n;
        NEW(n, JN_NAME);
        TN_TRY(tn_jprimary_name(p, &n->name));
        if (tn_jis_op(p, "=")) {
            p->i++;
            TN_TRY(tn_jexpr(p, &n->a));
        }
        *tail = n;
        tail = &n->next;
        if (!tn_jis_op(p, ")")) TN_TRY(tn_jneed_op(p, ","));
    }
    p->i++;
    return TN_OK;
}

static tn_status macro_statement(jparse *p, jnode **out) {
    NEW(*out, JN_MACRO);
    TN_TRY(tn_jprimary_name(p, &(*out)->name));
    TN_TRY(signature(p, &(*out)->args));
    return simple_body(p, "endmacro", &(*out)->body);
}

static tn_status call_statement(jparse *p, jnode **out) {
    NEW(*out, JN_CALL_BLOCK);
    (*out)->name = "caller";
    if (tn_jis_op(p, "(")) TN_TRY(signature(p, &(*out)->args));
    TN_TRY(tn_jexpr(p, &(*out)->a));
    if ((*out)->a->kind != JN_CALL) return tn_jbad(p, "a call");
    return simple_body(p, "endcall", &(*out)->body);
}

static tn_status with_statement(jparse *p, jnode **out) { /* args: targets in ->a, values in ->b */
    NEW(*out, JN_WITH);
    jnode **tail = &(*out)->args;
    while (tn_jpeek(p)->kind != JK_BLOCK_END) {
        NEW(*tail, JN_SET);
        TN_TRY(tn_jtarget(p, &(*tail)->a));
        TN_TRY(tn_jneed_op(p, "="));
        TN_TRY(tn_jexpr(p, &(*tail)->b));
        tail = &(*tail)->next;
        if (tn_jis_op(p, ",")) p->i++;
    }
    return simple_body(p, "endwith", &(*out)->body);
}

static tn_status statement(jparse *p, jnode **out) {
    const char *name = tn_jpeek(p)->s;
    if (tn_jpeek(p)->kind != JK_NAME) return tn_jbad(p, "a statement");
    p->i++;
    if (!strcmp(name, "if")) return if_statement(p, out);
    if (!strcmp(name, "for")) return for_statement(p, out);
    if (!strcmp(name, "set")) return set_statement(p, out);
    if (!strcmp(name, "macro")) return macro_statement(p, out);
    if (!strcmp(name, "call")) return call_statement(p, out);
    if (!strcmp(name, "filter")) return filter_statement(p, out);
    if (!strcmp(name, "with")) return with_statement(p, out);
    if (!strcmp(name, "generation")) {
        p->t->generation = true;
        NEW(*out, JN_GENERATION);
        return simple_body(p, "endgeneration", &(*out)->body);
    }
    if (!strcmp(name, "break") || !strcmp(name, "continue")) {
        NEW(*out, name[0] == 'b' ? JN_BREAK : JN_CONTINUE);
        return block_end(p);
    }
    return tn_fail(p->e, TN_UNSUPPORTED,
                   "chat template, line %d: statement \"%.40s\" is not supported (known: if, for, "
                   "set, macro, call, filter, with, "
                   "generation, break, continue)",
                   tn_jpeek(p)->line, name);
}

static bool ends_here(const jparse *p, const char *const *ends) {
    if (tn_jpeek(p)->kind != JK_BLOCK_BEGIN || p->tok[p->i + 1].kind != JK_NAME) return false;
    for (; *ends; ends++)
        if (!strcmp(p->tok[p->i + 1].s, *ends)) return true;
    return false;
}

tn_status tn_jstatements(jparse *p, const char *const *ends, jnode **out) {
    jnode **tail = out;
    *out = NULL;
    if (!tn_jdeeper(p)) return TN_UNSUPPORTED;
    for (; !ends_here(p, ends); tail = &(*tail)->next) {
        const jtoken *t = tn_jpeek(p);
        if (t->kind == JK_END) {
            if (!*ends) break;
            return tn_jbad(p, *ends);
        }
        if (t->kind == JK_DATA) {
            jstr *s = tn_arena_zalloc(p->t->arena, 1, sizeof *s);
            NEW(*tail, JN_DATA);
            if (!s) return tn_fail(p->e, TN_NOMEM, "no memory for a chat template");
            *s = (jstr){t->s, t->n, NULL};
            (*tail)->value = (jv){.kind = JV_STR, .s = s};
            p->i++;
            continue;
        }
        if (t->kind == JK_VAR_BEGIN) {
            p->i++;
            NEW(*tail, JN_PRINT);
            TN_TRY(tn_jtuple(p, true, &(*tail)->a));
            if (tn_jpeek(p)->kind != JK_VAR_END) return tn_jbad(p, "}}");
            p->i++;
            continue;
        }
        if (t->kind != JK_BLOCK_BEGIN) return tn_jbad(p, "text or a tag");
        p->i++;
        TN_TRY(statement(p, tail));
    }
    p->depth--;
    return TN_OK;
}

tn_status tn_jinja_compile(tn_jinja **out, const char *source, size_t n, tn_err *e) {
    static const char *const none[] = {NULL};
    *out = NULL;
    if (n > (4 << 20))
        return tn_fail(e, TN_UNSUPPORTED, "a chat template of %zu bytes (at most 4 MB)", n);
    tn_jinja *t = tn_calloc(1, sizeof *t);
    if (t) t->arena = tn_arena_new(1 << 14);
    if (!t || !t->arena) {
        tn_free(t);
        return tn_fail(e, TN_NOMEM, "no memory for a chat template");
    }
    jparse p = {.t = t, .e = e};
    tn_status st = tn_jlex(&p, source, n);
    if (st == TN_OK) st = tn_jstatements(&p, none, &t->root);
    tn_free(p.tok);
    if (st != TN_OK) {
        tn_jinja_free(t);
        return st;
    }
    *out = t;
    return TN_OK;
}

void tn_jinja_free(tn_jinja *t) {
    if (!t) return;
    tn_arena_free(t->arena);
    tn_free(t);
}

bool tn_jinja_has_generation(const tn_jinja *t) { return t->generation; }
