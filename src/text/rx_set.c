/* Sets of code points and their constant-time form; see rx.h. */
#include "text/rx.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void tn_cpset_free(tn_cpset *s) {
    tn_free(s->r);
    memset(s, 0, sizeof *s);
}

static int by_start(const void *x, const void *y) {
    const tn_range *a = x, *b = y;
    return a->a < b->a ? -1 : a->a > b->a;
}

static void tidy(tn_cpset *s) {
    if (s->n < 2) return;
    qsort(s->r, (size_t)s->n, sizeof *s->r, by_start);
    int w = 0;
    for (int i = 1; i < s->n; i++) {
        if (s->r[i].a <= s->r[w].b + 1) {
            if (s->r[i].b > s->r[w].b) s->r[w].b = s->r[i].b;
        } else {
            s->r[++w] = s->r[i];
        }
    }
    s->n = w + 1;
}

static bool push(tn_cpset *s, uint32_t a, uint32_t b) {
    if (!TN_GROW(s->r, s->cap, (size_t)s->n + 1)) return false;
    s->r[s->n++] = (tn_range){a, b};
    return true;
}

bool tn_cpset_add(tn_cpset *s, uint32_t a, uint32_t b) {
    if (!push(s, a, b)) return false;
    tidy(s);
    return true;
}

bool tn_cpset_union(tn_cpset *s, const tn_cpset *o) {
    for (int i = 0; i < o->n; i++)
        if (!push(s, o->r[i].a, o->r[i].b)) return false;
    tidy(s);
    return true;
}

bool tn_cpset_invert(tn_cpset *s) {
    tn_cpset out = {0};
    uint32_t next = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->r[i].a > next && !push(&out, next, s->r[i].a - 1)) goto fail;
        next = s->r[i].b + 1;
    }
    if (next <= 0x10FFFF && !push(&out, next, 0x10FFFF)) goto fail;
    tn_cpset_free(s);
    *s = out;
    return true;
fail:
    tn_cpset_free(&out);
    return false;
}

/* A and B = not (not A or not B) */
bool tn_cpset_intersect(tn_cpset *s, const tn_cpset *o) {
    tn_cpset c = {0};
    bool ok = tn_cpset_union(&c, o) && tn_cpset_invert(&c) && tn_cpset_invert(s) &&
              tn_cpset_union(s, &c) && tn_cpset_invert(s);
    tn_cpset_free(&c);
    return ok;
}

bool tn_cpset_has(const tn_cpset *s, uint32_t c) { return tn_in_ranges(s->r, s->n, c); }

typedef struct fold_row {
    uint64_t fold;
    uint32_t c;
} fold_row;

static int by_fold(const void *x, const void *y) {
    const fold_row *a = x, *b = y;
    return a->fold != b->fold ? (a->fold < b->fold ? -1 : 1) : a->c < b->c ? -1 : a->c > b->c;
}

/* The full case folding (at most three code points) packed into one number. */
static uint64_t fold_key(uint32_t c) {
    utf8proc_int32_t f[8];
    int bound = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, f, 8, UTF8PROC_CASEFOLD, &bound);
    if (n < 1 || n > 3) return c;
    uint64_t key = 0;
    for (utf8proc_ssize_t k = n; k-- > 0;) key = key << 21 | (uint64_t)f[k];
    return key;
}

/* ASCII letters have two partners outside ASCII: U+017F for s, U+212A for k. */
static bool fold_ascii(tn_cpset *s) {
    tn_cpset out = {0};
    bool ok = true;
    for (uint32_t c = 'a'; c <= 'z' && ok; c++) {
        if (!tn_cpset_has(s, c) && !tn_cpset_has(s, c - 32)) continue;
        ok = push(&out, c, c) && push(&out, c - 32, c - 32) &&
             (c != 's' || push(&out, 0x17F, 0x17F)) && (c != 'k' || push(&out, 0x212A, 0x212A));
    }
    ok = ok && tn_cpset_union(s, &out);
    tn_cpset_free(&out);
    return ok;
}

bool tn_cpset_fold(tn_cpset *s) {
    if (s->n == 0 || s->r[s->n - 1].b < 0x80) return fold_ascii(s);
    size_t n = 0, cap = 0;
    fold_row *rows = NULL;
    for (uint32_t c = 0; c < 0x1F000; c++) { /* every cased code point lies below */
        uint64_t f = fold_key(c);
        if (f == c && (uint32_t)utf8proc_toupper((utf8proc_int32_t)c) == c) continue;
        if (!TN_GROW(rows, cap, n + 1)) {
            tn_free(rows);
            return false;
        }
        rows[n++] = (fold_row){f, c};
    }
    qsort(rows, n, sizeof *rows, by_fold);
    tn_cpset out = {0};
    bool ok = true;
    for (size_t i = 0; i < n && ok;) {
        size_t j = i;
        bool hit = false;
        for (; j < n && rows[j].fold == rows[i].fold; j++) hit |= tn_cpset_has(s, rows[j].c);
        for (size_t k = i; k < j && hit && ok; k++) ok = push(&out, rows[k].c, rows[k].c);
        i = j;
    }
    ok = ok && tn_cpset_union(s, &out);
    tn_cpset_free(&out);
    tn_free(rows);
    return ok;
}

static bool add_table(tn_cpset *s, const tn_range *r, int n) {
    for (int i = 0; i < n; i++)
        if (!push(s, r[i].a, r[i].b)) return false;
    tidy(s);
    return true;
}

static bool add_categories(tn_cpset *s, uint32_t mask) {
    for (int i = 0; i < tn_gc_runs_n; i++) {
        if (!(mask >> (tn_gc_runs[i] & 255) & 1)) continue;
        uint32_t a = tn_gc_runs[i] >> 8,
                 b = i + 1 < tn_gc_runs_n ? (tn_gc_runs[i + 1] >> 8) - 1 : 0x10FFFF;
        if (!push(s, a, b)) return false;
    }
    tidy(s);
    return true;
}

/* Names compare without case, spaces, hyphens and underscores. */
static void plain_name(char out[32], const char *s, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n && k < 31; i++) {
        char c = s[i];
        if (c == ' ' || c == '-' || c == '_') continue;
        out[k++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[k] = 0;
}

static const struct {
    const char *name, *same;
} long_names[] = {
    {"letter", "l"},
    {"uppercaseletter", "lu"},
    {"lowercaseletter", "ll"},
    {"titlecaseletter", "lt"},
    {"modifierletter", "lm"},
    {"otherletter", "lo"},
    {"mark", "m"},
    {"number", "n"},
    {"decimalnumber", "nd"},
    {"punctuation", "p"},
    {"symbol", "s"},
    {"separator", "z"},
    {"other", "c"},
    {"digit", "nd"},
    {"cntrl", "cc"},
};

int tn_cpset_property(tn_cpset *s, const char *name, size_t n) {
    char p[32];
    if (n > 31) return 0;
    plain_name(p, name, n);
    for (size_t i = 0; i < sizeof long_names / sizeof *long_names; i++)
        if (!strcmp(p, long_names[i].name)) {
            memcpy(p, long_names[i].same, strlen(long_names[i].same) + 1);
            break;
        }
    uint32_t mask = 0;
    for (int g = 0; g <= TN_GC_Cn; g++) {
        char q[32];
        plain_name(q, tn_gc_names[g], 2);
        if (!strcmp(p, q) || (p[0] == q[0] && p[1] == 0)) mask |= 1u << g;
    }
    bool ok;
    if (mask)
        ok = add_categories(s, mask);
    else if (!strcmp(p, "any"))
        ok = tn_cpset_add(s, 0, 0x10FFFF);
    else if (!strcmp(p, "ascii"))
        ok = tn_cpset_add(s, 0, 0x7F);
    else if (!strcmp(p, "space") || !strcmp(p, "whitespace"))
        ok = add_table(s, tn_uni_space, tn_uni_space_n);
    else if (!strcmp(p, "word"))
        ok = add_table(s, tn_uni_word, tn_uni_word_n);
    else if (!strcmp(p, "wordalone"))
        ok = add_table(s, tn_uni_word_alone, tn_uni_word_alone_n);
    else if (!strcmp(p, "alpha") || !strcmp(p, "alphabetic"))
        ok = add_table(s, tn_uni_alpha, tn_uni_alpha_n);
    else if (!strcmp(p, "alnum"))
        ok = add_table(s, tn_uni_alpha, tn_uni_alpha_n) && add_categories(s, 1u << TN_GC_Nd);
    else if (!strcmp(p, "xdigit"))
        ok = tn_cpset_add(s, '0', '9') && tn_cpset_add(s, 'a', 'f') && tn_cpset_add(s, 'A', 'F');
    else {
        int k = 0;
        for (; k < TN_SCRIPTS; k++) {
            char q[32];
            plain_name(q, tn_scripts[k].name, strlen(tn_scripts[k].name));
            if (!strcmp(p, q)) break;
        }
        if (k == TN_SCRIPTS) return 0;
        ok = add_table(s, tn_uni_scripts + tn_scripts[k].first, tn_scripts[k].n);
    }
    return ok ? 1 : -1;
}

enum { PAGES = 0x1100 };

bool tn_cpmap_build(tn_cpmap *m, const tn_cpset *s) {
    memset(m, 0, sizeof *m);
    m->page = tn_calloc(PAGES, sizeof *m->page);
    size_t cap = 0, n = 0;
    if (!m->page) return false;
    int at = 0;
    for (int p = 0; p < PAGES; p++) {
        uint32_t w[8] = {0}, lo = (uint32_t)p << 8, hi = lo + 255;
        while (at < s->n && s->r[at].b < lo) at++;
        for (int k = at; k < s->n && s->r[k].a <= hi; k++) {
            uint32_t a = s->r[k].a > lo ? s->r[k].a : lo, b = s->r[k].b < hi ? s->r[k].b : hi;
            for (uint32_t c = a; c <= b; c++) w[c >> 5 & 7] |= 1u << (c & 31);
        }
        size_t q = p ? m->page[p - 1] : 0; /* mostly equal to the page before */
        if (q < n && memcmp(m->bits + q * 8, w, sizeof w))
            for (q = 0; q < n && memcmp(m->bits + q * 8, w, sizeof w);) q++;
        if (q == n) {
            if (!TN_GROW(m->bits, cap, (n + 1) * 8)) {
                tn_cpmap_free(m);
                return false;
            }
            memcpy(m->bits + n++ * 8, w, sizeof w);
        }
        m->page[p] = (uint16_t)q;
        if (p == 0) memcpy(m->low, w, sizeof w);
    }
    return true;
}

void tn_cpmap_free(tn_cpmap *m) {
    tn_free(m->page);
    tn_free(m->bits);
    m->page = NULL;
    m->bits = NULL;
}
