/* Expressions of chat templates: tokens to tree. */
#include "text/jinja_int.h"
#include <string.h>

const jtoken *tn_jpeek(const jparse *p) { return &p->tok[p->i]; }

bool tn_jis_op(const jparse *p, const char *op) {
    return tn_jpeek(p)->kind == JK_OP && !strcmp(tn_jpeek(p)->op, op);
}

bool tn_jis_name(const jparse *p, const char *name) {
    return tn_jpeek(p)->kind == JK_NAME && !strcmp(tn_jpeek(p)->s, name);
}

tn_status tn_jbad(jparse *p, const char *expected) {
    const jtoken *t = tn_jpeek(p);
    static const char *const what[] = {"the end of the template", "text", "{{", "}}", "{%", "%}"};
    const char *found = t->kind <= JK_BLOCK_END ? what[t->kind]
                        : t->kind == JK_OP      ? t->op
                        : t->kind == JK_NAME    ? t->s
                        : t->kind == JK_STRING  ? "a string"
                                                : "a number";
    return tn_fail(p->e, TN_FORMAT, "chat template, line %d: expected %s, found %.40s", t->line,
                   expected, found);
}

tn_status tn_jneed_op(jparse *p, const char *op) {
    if (!tn_jis_op(p, op)) return tn_jbad(p, op);
    p->i++;
    return TN_OK;
}

jnode *tn_jnew(jparse *p, jnode_kind kind) {
    jnode *n = tn_arena_zalloc(p->t->arena, 1, sizeof *n);
    if (!n) {
        tn_fail(p->e, TN_NOMEM, "no memory for a chat template");
        return NULL;
    }
    n->kind = kind;
    n->line = tn_jpeek(p)->line;
    return n;
}

bool tn_jdeeper(jparse *p) {
    if (++p->depth <= 150) return true;
    tn_fail(p->e, TN_UNSUPPORTED, "chat template, line %d: nested deeper than 150",
            tn_jpeek(p)->line);
    return false;
}

#define NEW(var, k)                                                                                \
    do {                                                                                           \
        (var) = tn_jnew(p, (k));                                                                   \
        if (!(var)) return TN_NOMEM;                                                               \
    } while (0)

static tn_status constant(jparse *p, jv v, jnode **out) {
    NEW(*out, JN_CONST);
    (*out)->value = v;
    p->i++;
    return TN_OK;
}

static tn_status string_constant(jparse *p, jnode **out) { /* adjacent strings are one */
    tn_str all = TN_STR_INIT;
    jstr *s = tn_arena_zalloc(p->t->arena, 1, sizeof *s);
    NEW(*out, JN_CONST);
    while (tn_jpeek(p)->kind == JK_STRING) {
        tn_str_add(&all, tn_jpeek(p)->s, tn_jpeek(p)->n);
        p->i++;
    }
    char *copy = all.oom ? NULL : tn_arena_memdup0(p->t->arena, all.s ? all.s : "", all.len);
    if (s && copy) *s = (jstr){copy, all.len, NULL};
    tn_str_free(&all);
    if (!s || !copy) return tn_fail(p->e, TN_NOMEM, "no memory for a chat template");
    (*out)->value = (jv){.kind = JV_STR, .s = s};
    return TN_OK;
}

static tn_status list_literal(jparse *p, jnode **out) {
    NEW(*out, JN_LIST);
    jnode **tail = &(*out)->args;
    p->i++;
    while (!tn_jis_op(p, "]")) {
        TN_TRY(tn_jexpr(p, tail));
        tail = &(*tail)->next;
        if (!tn_jis_op(p, "]")) TN_TRY(tn_jneed_op(p, ","));
    }
    p->i++;
    return TN_OK;
}

static tn_status dict_literal(jparse *p, jnode **out) { /* args: key, value, key, value */
    NEW(*out, JN_DICT);
    jnode **tail = &(*out)->args;
    p->i++;
    while (!tn_jis_op(p, "}")) {
        TN_TRY(tn_jexpr(p, tail));
        tail = &(*tail)->next;
        TN_TRY(tn_jneed_op(p, ":"));
        TN_TRY(tn_jexpr(p, tail));
        tail = &(*tail)->next;
        if (!tn_jis_op(p, "}")) TN_TRY(tn_jneed_op(p, ","));
    }
    p->i++;
    return TN_OK;
}

static tn_status primary(jparse *p, jnode **out) {
    const jtoken *t = tn_jpeek(p);
    switch (t->kind) {
    case JK_STRING:
        return string_constant(p, out);
    case JK_INT:
        return constant(p, jv_int(t->i), out);
    case JK_FLOAT:
        return constant(p, jv_float(t->f), out);
    case JK_NAME:
        if (!strcmp(t->s, "true") || !strcmp(t->s, "True")) return constant(p, jv_bool(true), out);
        if (!strcmp(t->s, "false") || !strcmp(t->s, "False"))
            return constant(p, jv_bool(false), out);
        if (!strcmp(t->s, "none") || !strcmp(t->s, "None")) return constant(p, jv_none(), out);
        NEW(*out, JN_NAME);
        (*out)->name = t->s;
        p->i++;
        return TN_OK;
    case JK_OP:
        if (!strcmp(t->op, "[")) return list_literal(p, out);
        if (!strcmp(t->op, "{")) return dict_literal(p, out);
        if (!strcmp(t->op, "(")) {
            p->i++;
            if (tn_jis_op(p, ")")) {
                NEW(*out, JN_TUPLE);
            } else {
                TN_TRY(tn_jtuple(p, true, out));
            }
            return tn_jneed_op(p, ")");
        }
        break;
    default:
        break;
    }
    return tn_jbad(p, "an expression");
}

tn_status tn_jargs(jparse *p, jnode **out) {
    jnode **tail = out;
    *out = NULL;
    while (!tn_jis_op(p, ")")) {
        const char *key = NULL;
        if (tn_jis_op(p, "*") || tn_jis_op(p, "**"))
            return tn_jbad(p, "an argument (* and ** are not supported)");
        if (tn_jpeek(p)->kind == JK_NAME && p->tok[p->i + 1].kind == JK_OP &&
            !strcmp(p->tok[p->i + 1].op, "=")) {
            key = tn_jpeek(p)->s;
            p->i += 2;
        }
        jnode *arg; /* a holder, so that `key` and `next` belong to the argument */
        NEW(arg, JN_CONST);
        TN_TRY(tn_jexpr(p, &arg->a));
        arg->key = key;
        *tail = arg;
        tail = &arg->next;
        if (!tn_jis_op(p, ")")) TN_TRY(tn_jneed_op(p, ","));
    }
    p->i++;
    return TN_OK;
}

static tn_status subscript(jparse *p, jnode *of, jnode **out) { /* after '[' */
    jnode *part[3] = {NULL, NULL, NULL};
    bool slice = false;
    int k = 0;
    while (!tn_jis_op(p, "]")) {
        if (tn_jis_op(p, ":")) {
            slice = true;
            if (++k > 2) return tn_jbad(p, "]");
            p->i++;
            continue;
        }
        if (part[k]) return tn_jbad(p, "]");
        TN_TRY(tn_jexpr(p, &part[k]));
    }
    p->i++;
    if (!slice && !part[0])
        return tn_fail(p->e, TN_FORMAT, "chat template, line %d: empty []", tn_jpeek(p)->line);
    NEW(*out, slice ? JN_SLICE : JN_ITEM);
    (*out)->body = of;
    (*out)->a = part[0];
    (*out)->b = part[1];
    (*out)->c = part[2];
    return TN_OK;
}

static tn_status call_of(jparse *p, jnode *f, jnode **out) {
    NEW(*out, JN_CALL);
    (*out)->a = f;
    p->i++;
    return tn_jargs(p, &(*out)->args);
}

static tn_status postfix(jparse *p, jnode **io) {
    for (int k = 0;; k++) {
        jnode *n = NULL;
        if (k > 150)
            return tn_fail(p->e, TN_UNSUPPORTED,
                           "chat template, line %d: more than 150 accesses in a row",
                           tn_jpeek(p)->line);
        if (tn_jis_op(p, "[")) {
            p->i++;
            TN_TRY(subscript(p, *io, &n));
        } else if (tn_jis_op(p, "(")) {
            TN_TRY(call_of(p, *io, &n));
        } else if (tn_jis_op(p, ".")) {
            p->i++;
            bool number = tn_jpeek(p)->kind == JK_INT;
            if (!number && tn_jpeek(p)->kind != JK_NAME) return tn_jbad(p, "a name after the dot");
            NEW(n, number ? JN_ITEM : JN_ATTR);
            n->body = *io;
            if (number)
                TN_TRY(constant(p, jv_int(tn_jpeek(p)->i), &n->a));
            else {
                n->name = tn_jpeek(p)->s;
                p->i++;
            }
        } else {
            return TN_OK;
        }
        *io = n;
    }
}

static tn_status dotted_name(jparse *p, const char **name) {
    if (tn_jpeek(p)->kind != JK_NAME) return tn_jbad(p, "a name");
    *name = tn_jpeek(p)->s;
    p->i++;
    return TN_OK;
}

tn_status tn_jprimary_name(jparse *p, const char **name) { return dotted_name(p, name); }

static tn_status test_of(jparse *p, jnode **io) { /* after `is` */
    jnode *n;
    NEW(n, JN_TEST);
    n->a = *io;
    if (tn_jis_name(p, "not")) {
        n->negate = true;
        p->i++;
    }
    TN_TRY(dotted_name(p, &n->name));
    const jtoken *t = tn_jpeek(p);
    bool word = t->kind == JK_NAME && strcmp(t->s, "else") && strcmp(t->s, "or") &&
                strcmp(t->s, "and") && strcmp(t->s, "is") && strcmp(t->s, "if") &&
                strcmp(t->s, "not") && strcmp(t->s, "in");
    if (tn_jis_op(p, "(")) {
        p->i++;
        TN_TRY(tn_jargs(p, &n->args));
    } else if (word || t->kind == JK_STRING || t->kind == JK_INT || t->kind == JK_FLOAT ||
               tn_jis_op(p, "[") || tn_jis_op(p, "{")) {
        NEW(n->args, JN_CONST);
        TN_TRY(primary(p, &n->args->a));
        TN_TRY(postfix(p, &n->args->a));
    }
    *io = n;
    return TN_OK;
}

static tn_status filters(jparse *p, jnode **io) {
    for (int k = 0;; k++) {
        jnode *n;
        if (k > 150)
            return tn_fail(p->e, TN_UNSUPPORTED,
                           "chat template, line %d: more than 150 filters in a row",
                           tn_jpeek(p)->line);
        if (tn_jis_op(p, "|")) {
            p->i++;
            NEW(n, JN_FILTER);
            n->a = *io;
            TN_TRY(dotted_name(p, &n->name));
            if (tn_jis_op(p, "(")) {
                p->i++;
                TN_TRY(tn_jargs(p, &n->args));
            }
            *io = n;
        } else if (tn_jis_name(p, "is")) {
            p->i++;
            TN_TRY(test_of(p, io));
        } else if (tn_jis_op(p, "(")) {
            TN_TRY(call_of(p, *io, &n));
            *io = n;
        } else {
            return TN_OK;
        }
    }
}

static tn_status unary(jparse *p, bool with_filter, jnode **out) {
    if (tn_jis_op(p, "-") || tn_jis_op(p, "+")) {
        if (!tn_jdeeper(p)) return TN_UNSUPPORTED;
        NEW(*out, tn_jis_op(p, "-") ? JN_NEG : JN_POS);
        p->i++;
        TN_TRY(unary(p, false, &(*out)->a));
        p->depth--;
    } else {
        TN_TRY(primary(p, out));
    }
    TN_TRY(postfix(p, out));
    return with_filter ? filters(p, out) : TN_OK;
}

static tn_status binary_node(jparse *p, const char *op, jnode *a, jnode **out) {
    NEW(*out, JN_BINARY);
    (*out)->name = op;
    (*out)->a = a;
    p->i++;
    return TN_OK;
}

/* Levels from tight to loose: ** | * / // % | ~ | + - */
static tn_status arithmetic(jparse *p, int level, jnode **out) {
    static const char *const ops[4][5] = {
        {"**", 0}, {"*", "/", "//", "%", 0}, {"~", 0}, {"+", "-", 0}};
    if (level < 0) return unary(p, true, out);
    TN_TRY(arithmetic(p, level - 1, out));
    for (int count = 0;; count++) {
        int k = 0;
        while (ops[level][k] && !tn_jis_op(p, ops[level][k])) k++;
        if (!ops[level][k]) return TN_OK;
        if (count > 300)
            return tn_fail(p->e, TN_UNSUPPORTED,
                           "chat template, line %d: more than 300 operators in a row",
                           tn_jpeek(p)->line);
        jnode *n;
        TN_TRY(binary_node(p, ops[level][k], *out, &n));
        if (level == 2) n->kind = JN_CONCAT;
        TN_TRY(arithmetic(p, level - 1, &n->b));
        *out = n;
    }
}

/* a < b <= c: the first operand in `a`, then a list of (operator, operand). */
static tn_status compare(jparse *p, jnode **out) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    TN_TRY(arithmetic(p, 3, out));
    jnode *n = NULL, **tail = NULL;
    for (;;) {
        const char *op = NULL;
        for (size_t k = 0; k < sizeof ops / sizeof *ops && !op; k++)
            if (tn_jis_op(p, ops[k])) op = ops[k];
        bool in = tn_jis_name(p, "in");
        bool not_in = tn_jis_name(p, "not") && p->tok[p->i + 1].kind == JK_NAME &&
                      !strcmp(p->tok[p->i + 1].s, "in");
        if (in) op = "in";
        if (not_in) op = "not in";
        if (!op) return TN_OK;
        p->i += not_in ? 2 : 1;
        if (!n) {
            NEW(n, JN_COMPARE);
            n->a = *out;
            tail = &n->args;
            *out = n;
        }
        NEW(*tail, JN_CONST);
        (*tail)->key = op;
        TN_TRY(arithmetic(p, 3, &(*tail)->a));
        tail = &(*tail)->next;
    }
}

static tn_status negation(jparse *p, jnode **out) {
    if (!tn_jis_name(p, "not")) return compare(p, out);
    if (!tn_jdeeper(p)) return TN_UNSUPPORTED;
    NEW(*out, JN_NOT);
    p->i++;
    TN_TRY(negation(p, &(*out)->a));
    p->depth--;
    return TN_OK;
}

static tn_status logic(jparse *p, bool is_or, jnode **out) {
    TN_TRY(is_or ? logic(p, false, out) : negation(p, out));
    for (int count = 0; tn_jis_name(p, is_or ? "or" : "and"); count++) {
        jnode *n;
        if (count > 300)
            return tn_fail(p->e, TN_UNSUPPORTED,
                           "chat template, line %d: more than 300 operators in a row",
                           tn_jpeek(p)->line);
        NEW(n, is_or ? JN_OR : JN_AND);
        p->i++;
        n->a = *out;
        TN_TRY(is_or ? logic(p, false, &n->b) : negation(p, &n->b));
        *out = n;
    }
    return TN_OK;
}

tn_status tn_jexpr_plain(jparse *p, jnode **out) {
    if (!tn_jdeeper(p)) return TN_UNSUPPORTED;
    TN_TRY(logic(p, true, out));
    p->depth--;
    return TN_OK;
}

tn_status tn_jexpr(jparse *p, jnode **out) {
    TN_TRY(tn_jexpr_plain(p, out));
    for (int count = 0; tn_jis_name(p, "if"); count++) { /* value in b, condition in a, else in c */
        jnode *n;
        if (count > 150)
            return tn_fail(p->e, TN_UNSUPPORTED,
                           "chat template, line %d: more than 150 conditions in a row",
                           tn_jpeek(p)->line);
        NEW(n, JN_COND);
        p->i++;
        n->b = *out;
        TN_TRY(tn_jexpr_plain(p, &n->a));
        if (tn_jis_name(p, "else")) {
            p->i++;
            if (!tn_jdeeper(p)) return TN_UNSUPPORTED;
            TN_TRY(tn_jexpr(p, &n->c));
            p->depth--;
        }
        *out = n;
    }
    return TN_OK;
}

static bool tuple_ends(const jparse *p) {
    jk k = tn_jpeek(p)->kind;
    return k == JK_BLOCK_END || k == JK_VAR_END || k == JK_END || tn_jis_op(p, ")") ||
           tn_jis_name(p, "in");
}

tn_status tn_jtuple(jparse *p, bool cond, jnode **out) {
    TN_TRY(cond ? tn_jexpr(p, out) : tn_jexpr_plain(p, out));
    if (!tn_jis_op(p, ",")) return TN_OK;
    jnode *n, **tail;
    NEW(n, JN_TUPLE);
    n->args = *out;
    tail = &n->args->next;
    *out = n;
    while (tn_jis_op(p, ",")) {
        p->i++;
        if (tuple_ends(p)) break;
        TN_TRY(cond ? tn_jexpr(p, tail) : tn_jexpr_plain(p, tail));
        tail = &(*tail)->next;
    }
    return TN_OK;
}

/* A name, a namespace's member, or a tuple of names. */
tn_status tn_jtarget(jparse *p, jnode **out) {
    bool paren = tn_jis_op(p, "(");
    if (paren) p->i++;
    jnode *first = NULL, **tail = &first;
    int count = 0;
    do {
        if (count) p->i++;
        const char *name = NULL;
        if (count && (tn_jis_op(p, "=") || tn_jis_name(p, "in") || tn_jis_op(p, ")"))) break;
        TN_TRY(dotted_name(p, &name));
        jnode *n;
        if (count == 0 && tn_jis_op(p, ".")) {
            p->i++;
            NEW(n, JN_ATTR);
            NEW(n->body, JN_NAME);
            n->body->name = name;
            TN_TRY(dotted_name(p, &n->name));
            *out = n;
            return TN_OK;
        }
        NEW(n, JN_NAME);
        n->name = name;
        *tail = n;
        tail = &n->next;
        count++;
    } while (tn_jis_op(p, ","));
    if (paren) TN_TRY(tn_jneed_op(p, ")"));
    if (count == 1 && !(first->next)) {
        *out = first;
        return TN_OK;
    }
    NEW(*out, JN_TUPLE);
    (*out)->args = first;
    return TN_OK;
}
