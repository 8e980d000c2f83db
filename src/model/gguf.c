/* Reading of GGUF; see gguf.h. The file is hostile until checked: a cursor refuses every read past
 * the end, counts are compared with the bytes that are left before anything is allocated for them.
 */
#include "model/gguf.h"
#include "base/mem.h"
#include "model/zip.h"
#include <stdlib.h>
#include <string.h>

#define MAX_PAIRS 4096 /* keys are compared pairwise */

enum {
    T_U8,
    T_I8,
    T_U16,
    T_I16,
    T_U32,
    T_I32,
    T_F32,
    T_BOOL,
    T_STR,
    T_ARR,
    T_U64,
    T_I64,
    T_F64,
    T_COUNT
};
static const uint8_t type_size[T_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
static const char *const type_name[T_COUNT] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                               "i32", "f32", "bool", "string", "array",
                                               "u64", "i64", "f64"};

typedef struct tn_pair {
    tn_gstr key;
    uint32_t type, elem; /* elem: of an array */
    uint64_t n;          /* elements; 1 for a scalar */
    const uint8_t *p;    /* first value */
} tn_pair;

struct tn_gguf {
    char path[512];
    tn_map map;
    void *owned; /* an inflated archive member */
    const uint8_t *p;
    size_t n;
    tn_pair *pair;
    size_t n_pair, cap_pair;
    tn_gguf_tensor *tensor;
    size_t n_tensor, cap_tensor;
};

/* ---------------- cursor ---------------- */

typedef struct tn_cur {
    const uint8_t *p, *end;
    bool bad;
} tn_cur;

static const uint8_t *take(tn_cur *c, uint64_t n) {
    if (c->bad || n > (uint64_t)(c->end - c->p)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}
static uint64_t le(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}
static uint64_t take_int(tn_cur *c, int n) {
    const uint8_t *p = take(c, (uint64_t)n);
    return p ? le(p, n) : 0;
}
static tn_gstr take_str(tn_cur *c) {
    uint64_t n = take_int(c, 8);
    const uint8_t *p = take(c, n);
    return (tn_gstr){(const char *)p, p ? (size_t)n : 0};
}

static tn_status truncated(const tn_gguf *g, const char *what, uint64_t i, tn_err *e) {
    return tn_fail(e, TN_FORMAT, "%s: %s %llu is damaged or the file is truncated", g->path, what,
                   (unsigned long long)i);
}

/* ---------------- metadata ---------------- */

static bool skip_values(tn_cur *c, uint32_t type, uint64_t n) {
    if (type == T_STR) {
        for (uint64_t i = 0; i < n && !c->bad; i++) take_str(c);
        return !c->bad;
    }
    if (type >= T_COUNT || !type_size[type] || n > UINT64_MAX / 8) return false;
    return take(c, n * type_size[type]) != NULL;
}

static tn_status read_pair(tn_gguf *g, tn_cur *c, uint64_t i, tn_err *e) {
    tn_pair p = {.key = take_str(c), .type = (uint32_t)take_int(c, 4), .n = 1};
    p.elem = p.type;
    if (p.type == T_ARR) {
        p.elem = (uint32_t)take_int(c, 4);
        p.n = take_int(c, 8);
        if (p.elem == T_ARR)
            return tn_fail(e, TN_UNSUPPORTED, "%s: nested arrays in its metadata", g->path);
    }
    p.p = c->p;
    if (c->bad || !skip_values(c, p.elem, p.n)) return truncated(g, "metadata pair", i, e);
    for (size_t k = 0; k < g->n_pair; k++)
        if (g->pair[k].key.n == p.key.n && !memcmp(g->pair[k].key.p, p.key.p, p.key.n))
            return tn_fail(e, TN_FORMAT, "%s: metadata key \"%.*s\" occurs twice", g->path,
                           (int)(p.key.n > 120 ? 120 : p.key.n), p.key.p);
    if (!TN_GROW(g->pair, g->cap_pair, g->n_pair + 1))
        return tn_fail(e, TN_NOMEM, "%s: out of memory", g->path);
    g->pair[g->n_pair++] = p;
    return TN_OK;
}

static const tn_pair *find_pair(const tn_gguf *g, const char *key) {
    size_t n = strlen(key);
    for (size_t i = 0; i < g->n_pair; i++)
        if (g->pair[i].key.n == n && !memcmp(g->pair[i].key.p, key, n)) return &g->pair[i];
    return NULL;
}
bool tn_gguf_has(const tn_gguf *g, const char *key) { return find_pair(g, key) != NULL; }

static tn_status wrong_type(const tn_gguf *g, const char *key, const tn_pair *p, const char *want,
                            tn_err *e) {
    return tn_fail(e, TN_FORMAT, "%s: metadata %s is %s %s, %s is expected", g->path, key,
                   p->type == T_ARR ? "an array of" : "of type", type_name[p->elem], want);
}

static bool int_value(uint32_t type, const uint8_t *p, int64_t *out) {
    switch (type) {
    case T_U8: *out = p[0]; return true;
    case T_I8: *out = (int8_t)p[0]; return true;
    case T_U16: *out = (int64_t)le(p, 2); return true;
    case T_I16: *out = (int16_t)le(p, 2); return true;
    case T_U32: *out = (int64_t)le(p, 4); return true;
    case T_I32: *out = (int32_t)le(p, 4); return true;
    case T_U64:
    case T_I64: *out = (int64_t)le(p, 8); return type == T_I64 || *out >= 0;
    default: return false;
    }
}

static bool real_value(uint32_t type, const uint8_t *p, double *out) {
    int64_t v;
    if (type == T_F32) {
        float f;
        memcpy(&f, p, 4);
        *out = (double)f;
    } else if (type == T_F64) memcpy(out, p, 8);
    else if (int_value(type, p, &v)) *out = (double)v;
    else return false;
    return true;
}

tn_status tn_gguf_int(const tn_gguf *g, const char *key, int64_t def, int64_t *out, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = def;
    if (!p || (p->type != T_ARR && int_value(p->type, p->p, out))) return TN_OK;
    return wrong_type(g, key, p, "an integer", e);
}
tn_status tn_gguf_real(const tn_gguf *g, const char *key, double def, double *out, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = def;
    if (!p || (p->type != T_ARR && real_value(p->type, p->p, out))) return TN_OK;
    return wrong_type(g, key, p, "a number", e);
}
tn_status tn_gguf_bool(const tn_gguf *g, const char *key, bool def, bool *out, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = p && p->type == T_BOOL ? p->p[0] != 0 : def;
    return !p || p->type == T_BOOL ? TN_OK : wrong_type(g, key, p, "a bool", e);
}
tn_status tn_gguf_str(const tn_gguf *g, const char *key, tn_gstr *out, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = (tn_gstr){0};
    if (!p) return TN_OK;
    if (p->type != T_STR) return wrong_type(g, key, p, "a string", e);
    tn_cur c = {p->p, g->p + g->n, false};
    *out = take_str(&c);
    return TN_OK;
}

tn_status tn_gguf_strs(const tn_gguf *g, const char *key, tn_gstr **out, size_t *n, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = NULL;
    *n = 0;
    if (!p) return TN_OK;
    if (p->type != T_ARR || p->elem != T_STR)
        return wrong_type(g, key, p, "an array of strings", e);
    *out = tn_calloc((size_t)p->n, sizeof **out); /* each took 8 bytes of the file */
    if (!*out) return tn_fail(e, TN_NOMEM, "%s: out of memory", g->path);
    tn_cur c = {p->p, g->p + g->n, false};
    for (; *n < p->n; ++*n) (*out)[*n] = take_str(&c);
    return TN_OK;
}

tn_status tn_gguf_reals(const tn_gguf *g, const char *key, double **out, size_t *n, tn_err *e) {
    const tn_pair *p = find_pair(g, key);
    *out = NULL;
    *n = 0;
    if (!p) return TN_OK;
    double probe = 0;
    static const uint8_t zero[8];
    if (p->type != T_ARR || !real_value(p->elem, zero, &probe))
        return wrong_type(g, key, p, "an array of numbers", e);
    *out = tn_calloc((size_t)p->n, sizeof **out);
    if (!*out) return tn_fail(e, TN_NOMEM, "%s: out of memory", g->path);
    for (; *n < p->n; ++*n) real_value(p->elem, p->p + *n * type_size[p->elem], &(*out)[*n]);
    return TN_OK;
}

/* ---------------- tensors ---------------- */

/* Offsets are relative to the data, whose start is known only after all infos: kept in `bytes` till
 * then. */
static tn_status read_info(tn_gguf *g, tn_cur *c, uint64_t i, tn_err *e) {
    tn_gguf_tensor t = {.name = take_str(c), .rows = 1};
    uint32_t n_dim = (uint32_t)take_int(c, 4);
    if (c->bad || n_dim < 1 || n_dim > 4) return truncated(g, "tensor info", i, e);
    t.n_dim = (int)n_dim;
    t.cols = (int64_t)take_int(c, 8);
    for (uint32_t k = 1; k < n_dim; k++) {
        int64_t d = (int64_t)take_int(c, 8);
        if (__builtin_mul_overflow(t.rows, d, &t.rows) || d < 1)
            return truncated(g, "tensor info", i, e);
    }
    t.type = (uint32_t)take_int(c, 4);
    t.bytes = (size_t)take_int(c, 8);
    if (c->bad || t.cols < 1) return truncated(g, "tensor info", i, e);
    if (!TN_GROW(g->tensor, g->cap_tensor, g->n_tensor + 1))
        return tn_fail(e, TN_NOMEM, "%s: out of memory", g->path);
    g->tensor[g->n_tensor++] = t;
    return TN_OK;
}

static tn_status place_tensor(const tn_gguf *g, tn_gguf_tensor *t, const uint8_t *data,
                              uint64_t align, tn_err *e) {
    uint64_t offset = t->bytes, n_data = (uint64_t)(g->p + g->n - data);
    const tn_gguf_type *type = tn_gguf_type_find(t->type);
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)(t->name.n > 120 ? 120 : t->name.n), t->name.p);
    if (!type)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: tensor %s has ggml type %u, which is not supported (F32, F16, BF16, "
                       "Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K are)",
                       g->path, name, t->type);
    if (t->cols % type->block)
        return tn_fail(e, TN_FORMAT,
                       "%s: tensor %s has rows of %lld elements, no multiple of %s's block of %d",
                       g->path, name, (long long)t->cols, type->name, type->block);
    uint64_t row, bytes;
    if (__builtin_mul_overflow((uint64_t)(t->cols / type->block), (uint64_t)type->bytes, &row) ||
        __builtin_mul_overflow(row, (uint64_t)t->rows, &bytes) || offset % align ||
        offset > n_data || bytes > n_data - offset)
        return tn_fail(e, TN_FORMAT,
                       "%s: tensor %s does not lie in the file's data; it is truncated or damaged",
                       g->path, name);
    t->data = data + offset;
    t->bytes = (size_t)bytes;
    return TN_OK;
}

static int by_name(const void *a, const void *b) {
    const tn_gstr *x = &((const tn_gguf_tensor *)a)->name, *y = &((const tn_gguf_tensor *)b)->name;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static tn_status parse(tn_gguf *g, tn_err *e) {
    tn_cur c = {g->p, g->p + g->n, false};
    const uint8_t *magic = take(&c, 4);
    uint32_t version = (uint32_t)take_int(&c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return tn_fail(e, TN_FORMAT, "%s: this is no GGUF file (it does not begin with \"GGUF\")",
                       g->path);
    if (version != 2 && version != 3)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: GGUF version %u is not supported (2 and 3, little-endian, are)",
                       g->path, version);
    uint64_t n_tensor = take_int(&c, 8), n_pair = take_int(&c, 8);
    if (n_pair > MAX_PAIRS)
        return tn_fail(e, TN_FORMAT,
                       "%s: it claims %llu pairs of metadata; at most %d are supported", g->path,
                       (unsigned long long)n_pair, MAX_PAIRS);
    /* a pair takes at least 13 bytes, an info 32: larger claims end in a truncation error below */
    for (uint64_t i = 0; i < n_pair; i++) TN_TRY(read_pair(g, &c, i, e));
    for (uint64_t i = 0; i < n_tensor; i++) TN_TRY(read_info(g, &c, i, e));
    int64_t align;
    TN_TRY(tn_gguf_int(g, "general.alignment", 32, &align, e));
    if (c.bad || align < 1 || align > 1 << 20 || (align & (align - 1)))
        return tn_fail(e, TN_FORMAT, "%s: its header is damaged or the file is truncated", g->path);
    size_t at = (size_t)(c.p - g->p), pad = (size_t)align - 1;
    at = (at + pad) & ~pad;
    if (at > g->n) at = g->n;
    for (size_t i = 0; i < g->n_tensor; i++)
        TN_TRY(place_tensor(g, &g->tensor[i], g->p + at, (uint64_t)align, e));
    if (g->n_tensor) qsort(g->tensor, g->n_tensor, sizeof *g->tensor, by_name);
    for (size_t i = 1; i < g->n_tensor; i++)
        if (!by_name(&g->tensor[i - 1], &g->tensor[i]))
            return tn_fail(e, TN_FORMAT, "%s: a tensor's name occurs twice", g->path);
    return TN_OK;
}

tn_status tn_gguf_open(tn_gguf **out, const char *path, tn_err *e) {
    *out = NULL;
    tn_gguf *g = tn_calloc(1, sizeof *g);
    if (!g) return tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    snprintf(g->path, sizeof g->path, "%s", path);
    tn_status st = tn_map_file(path, &g->map, e);
    g->p = g->map.p;
    g->n = g->map.n;
    if (st == TN_OK && tn_zip_is(g->map.p, g->map.n))
        st = tn_zip_member(g->map.p, g->map.n, ".gguf", path, &g->p, &g->n, &g->owned, e);
    if (st == TN_OK) st = parse(g, e);
    if (st != TN_OK) {
        tn_gguf_close(g);
        return st;
    }
    *out = g;
    return TN_OK;
}

void tn_gguf_close(tn_gguf *g) {
    if (!g) return;
    if (g->owned) tn_big_free(g->owned, g->n ? g->n : 1);
    tn_unmap(&g->map);
    tn_free(g->pair);
    tn_free(g->tensor);
    tn_free(g);
}

const char *tn_gguf_path(const tn_gguf *g) { return g->path; }
size_t tn_gguf_tensors(const tn_gguf *g) { return g->n_tensor; }
const tn_gguf_tensor *tn_gguf_at(const tn_gguf *g, size_t i) { return &g->tensor[i]; }

const tn_gguf_tensor *tn_gguf_find(const tn_gguf *g, const char *name) {
    tn_gguf_tensor key = {.name = {name, strlen(name)}};
    return g->n_tensor ? bsearch(&key, g->tensor, g->n_tensor, sizeof key, by_name) : NULL;
}
