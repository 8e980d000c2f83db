/* Inside of the template interpreter; see jinja.h.
 *
 *   source -> tokens (jinja_lex.c) -> tree (jinja_parse.c, jinja_stmt.c) -> text (jinja_eval.c,
 *   jinja_run.c), with values in jinja_value.c, jinja_text.c and the library of filters, tests and
 *   methods in jinja_filter.c, jinja_list.c, jinja_test.c, jinja_method.c.                        */
#ifndef TN_JINJA_INT_H
#define TN_JINJA_INT_H
#include "text/jinja.h"

/* ---- tokens ---- */
typedef enum jk {
    JK_END,
    JK_DATA,
    JK_VAR_BEGIN,
    JK_VAR_END,
    JK_BLOCK_BEGIN,
    JK_BLOCK_END,
    JK_NAME,
    JK_STRING,
    JK_INT,
    JK_FLOAT,
    JK_OP
} jk;
typedef struct jtoken {
    jk kind;
    int line;
    char op[3];    /* JK_OP */
    const char *s; /* JK_DATA, JK_NAME, JK_STRING; NUL-terminated */
    size_t n;
    int64_t i;
    double f;
} jtoken;

/* ---- tree ---- */
typedef enum jnode_kind {
    /* expressions */
    JN_CONST,
    JN_NAME,
    JN_LIST,
    JN_TUPLE,
    JN_DICT,
    JN_ATTR,
    JN_ITEM,
    JN_SLICE,
    JN_CALL,
    JN_FILTER,
    JN_TEST,
    JN_COND,
    JN_AND,
    JN_OR,
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_BINARY,
    JN_COMPARE,
    JN_CONCAT,
    /* statements */
    JN_DATA,
    JN_PRINT,
    JN_IF,
    JN_FOR,
    JN_SET,
    JN_SET_BLOCK,
    JN_MACRO,
    JN_CALL_BLOCK,
    JN_FILTER_BLOCK,
    JN_WITH,
    JN_GENERATION,
    JN_BREAK,
    JN_CONTINUE
} jnode_kind;

typedef enum jv_kind {
    JV_UNDEF,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_DICT,
    JV_NAMESPACE,
    JV_LOOP,
    JV_MACRO,
    JV_METHOD,
    JV_FUNC
} jv_kind;
typedef struct jv {
    jv_kind kind;
    bool tuple;  /* JV_LIST printed with parentheses */
    bool markup; /* JV_STR that went through `safe`: a string added to it is escaped */
    union {
        bool b;
        int64_t i;
        double f;
        struct jstr *s;
        struct jlist *l;
        struct jdict *d; /* also JV_NAMESPACE */
        struct jloop *loop;
        struct jmacro *m;
        struct jmethod *method;
        const char *name; /* JV_FUNC; JV_UNDEF: what is missing (may be NULL) */
    };
} jv;
typedef struct jstr {
    const char *s;
    size_t n;
    const uint16_t *tag;
} jstr; /* tag NULL: all 0 */
typedef struct jlist {
    jv *v;
    size_t n, cap;
} jlist;
typedef struct jdict {
    jv *k, *v;
    size_t n, cap;
} jdict;
typedef struct jmethod {
    jv self;
    const char *name;
} jmethod;

typedef struct jnode {
    jnode_kind kind;
    int line;
    const char *name; /* JN_NAME, JN_ATTR, JN_FILTER, JN_TEST, JN_MACRO; operator of JN_BINARY */
    jv value;         /* JN_CONST, JN_DATA (a string) */
    struct jnode *a, *b, *c; /* operands, by kind */
    struct jnode *args;      /* list through `next`: elements, positional then keyword arguments */
    struct jnode *next;
    const char *key;            /* keyword of an argument; operator of a comparison step */
    struct jnode *body, *other; /* lists of statements */
    bool negate;                /* `is not` */
    bool recursive, elif;
} jnode;

struct tn_jinja {
    tn_arena *arena;
    jnode *root;
    bool generation;
};

/* ---- parsing ---- */
typedef struct jparse {
    tn_jinja *t;
    jtoken *tok;
    size_t n, cap, i;
    int depth;
    tn_err *e;
} jparse;
tn_status tn_jlex(jparse *p, const char *s, size_t n);
jnode *tn_jnew(jparse *p, jnode_kind kind);               /* NULL: no memory, error set */
tn_status tn_jexpr(jparse *p, jnode **out);               /* with `x if c else y` */
tn_status tn_jexpr_plain(jparse *p, jnode **out);         /* without */
tn_status tn_jtuple(jparse *p, bool cond, jnode **out);   /* a, b, c */
tn_status tn_jtarget(jparse *p, jnode **out);             /* names to assign to */
tn_status tn_jargs(jparse *p, jnode **out);               /* after '(' up to ')' */
tn_status tn_jprimary_name(jparse *p, const char **name); /* a name token */
tn_status tn_jstatements(jparse *p, const char *const *ends,
                         jnode **out); /* up to {% END, not consumed */
const jtoken *tn_jpeek(const jparse *p);
bool tn_jis_op(const jparse *p, const char *op);
bool tn_jis_name(const jparse *p, const char *name);
tn_status tn_jbad(jparse *p, const char *expected); /* what was found instead */
tn_status tn_jneed_op(jparse *p, const char *op);
bool tn_jdeeper(jparse *p); /* counts nesting; error when too deep */

/* ---- running ---- */
typedef struct jscope {
    struct jscope *parent;
    jdict vars;
} jscope;
typedef struct jbuf {
    char *s;
    uint16_t *tag;
    size_t n, cap;
} jbuf;
typedef struct jloop {
    size_t index, n;
    jlist *items;
    int depth;
    const jnode *node; /* recursive loops: called again */
    jscope *scope;
} jloop;
typedef struct jmacro {
    const jnode *node;
    jscope *scope;
} jmacro;
typedef enum jflow { JF_NEXT, JF_BREAK, JF_CONTINUE } jflow;
typedef struct jrun {
    const tn_jinja *t;
    tn_arena *arena;
    jscope *scope, *globals;
    jbuf *out;
    jflow flow;
    int depth, line;
    long steps;
    size_t limit;
    tn_err *e;
} jrun;

tn_status tn_jraise(jrun *r, tn_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void *tn_jalloc(jrun *r, size_t n); /* NULL with the error set */

/* values */
static inline jv jv_none(void) { return (jv){.kind = JV_NONE}; }
static inline jv jv_bool(bool b) { return (jv){.kind = JV_BOOL, .b = b}; }
static inline jv jv_int(int64_t i) { return (jv){.kind = JV_INT, .i = i}; }
static inline jv jv_float(double f) { return (jv){.kind = JV_FLOAT, .f = f}; }
static inline jv jv_undef(const char *name) { return (jv){.kind = JV_UNDEF, .name = name}; }
tn_status tn_jstr(jrun *r, const char *s, size_t n, const uint16_t *tag,
                  jv *out); /* views, does not copy */
tn_status tn_jstrz(jrun *r, const char *s, jv *out);
tn_status tn_jlist(jrun *r, size_t cap, jv *out);
tn_status tn_jpush(jrun *r, jv list, jv v);
tn_status tn_jdict(jrun *r, jv *out);
tn_status tn_jput(jrun *r, jdict *d, jv k, jv v);
bool tn_jget(const jdict *d, jv k, jv *out);
bool tn_jgetz(const jdict *d, const char *k, jv *out);
bool tn_jtruth(jv v);
bool tn_jequal(jv a, jv b);
tn_status tn_jorder(jrun *r, jv a, jv b, int *cmp);
const char *tn_jtype(jv v); /* "str", "int", ... as Python says it */
bool tn_jnumber(jv v, double *f);
bool tn_jname_is(jv v, const char *s);        /* a string equal to s */
tn_status tn_jdefined(jrun *r, jv v);         /* raises when undefined */
tn_status tn_jitems(jrun *r, jv v, jv *list); /* elements of anything iterable, as a list */
tn_status tn_jcontains(jrun *r, jv box, jv v, bool *in);
tn_status tn_jfrom_json(jrun *r, const json_t *j, int depth, jv *out);
/* text of values: str(), repr(), json.dumps() */
tn_status tn_jbuf_add(jrun *r, jbuf *b, const char *s, size_t n, const uint16_t *tag,
                      uint16_t tag_all);
tn_status tn_jbuf_str(jrun *r, const jbuf *b, jv *out);
tn_status tn_jprint(jrun *r, jbuf *b, jv v);
tn_status tn_jto_str(jrun *r, jv v, jv *out);
typedef struct jjson {
    int indent;
    bool ascii, sort;
    const char *item, *key;
} jjson; /* indent < 0: one line */
tn_status tn_jdump(jrun *r, jbuf *b, jv v, const jjson *how, int level);
/* strings by code points */
size_t tn_jlen(const jstr *s);
jv tn_jsub(jrun *r, const jstr *s, size_t a, size_t b, tn_status *st); /* bytes [a, b) */
size_t tn_joffset(const jstr *s, size_t k); /* byte offset of code point k */
bool tn_jspace(uint32_t c);
tn_status tn_jstrip(jrun *r, jv s, jv chars, bool left, bool right, jv *out);
tn_status tn_jcase(jrun *r, jv s, char how, jv *out); /* 'u' 'l' 't' 'c' */
tn_status tn_jreplace(jrun *r, jv s, jv from, jv to, int64_t count, jv *out);
tn_status tn_jjoin(jrun *r, jv sep, jv list, jv *out);
tn_status tn_jconcat(jrun *r, jv a, jv b, jv *out); /* both strings */

/* evaluation */
typedef struct jargs {
    jv *v;
    size_t n;
    jdict kw;
} jargs;
tn_status tn_jeval(jrun *r, const jnode *n, jv *out);
tn_status tn_jexec(jrun *r, const jnode *list);
tn_status tn_jarguments(jrun *r, const jnode *args, jargs *a);
tn_status tn_jcall(jrun *r, jv f, jargs *a, jv *out);
tn_status tn_jcall_macro(jrun *r, const jmacro *m, jargs *a, jv *out);
tn_status tn_jcall_loop(jrun *r, const jloop *l, jv items, jv *out);
tn_status tn_jfor(jrun *r, const jnode *n, jv items, int depth);
tn_status tn_jattr(jrun *r, jv v, const char *name, jv *out);
tn_status tn_jitem(jrun *r, jv v, jv key, jv *out);
tn_status tn_jbinary(jrun *r, const char *op, jv a, jv b, jv *out);
tn_status tn_jcompare(jrun *r, const char *op, jv a, jv b, bool *out);
tn_status tn_jfilter(jrun *r, const char *name, jv v, jargs *a, jv *out);
tn_status tn_jfilter_list(jrun *r, const char *name, jv v, jargs *a, jv *out, bool *known);
tn_status tn_jtest(jrun *r, const char *name, jv v, jargs *a, bool *out);
tn_status tn_jmethod(jrun *r, const jmethod *m, jargs *a, jv *out);
bool tn_jhas_method(jv v, const char *name);
tn_status tn_jfunc(jrun *r, const char *name, jargs *a, jv *out);
/* Argument k or keyword `key`, else `def`. */
jv tn_jarg(const jargs *a, size_t k, const char *key, jv def);
#endif
