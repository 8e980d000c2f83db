/* Running a pattern: backtracking with an explicit stack; see rx.h.
 *
 * A frame says how to go on after a failure: at instruction pc with the text at `at`. For a
 * greedy loop `floor` < `at` lets it give back one code point at a time; for a lazy one `more`
 * counts how many it may still take. */
#include "text/rx.h"
#include <string.h>

typedef struct tn_rx_frame {
    int pc, more; /* more: RX_LOOP instruction index + 1 when lazy, else 0 */
    size_t at, floor;
    int left;
} tn_rx_frame;

typedef struct run {
    const tn_rx *r;
    tn_rx_mem *m;
    const char *s;
    size_t n, top;
    long budget;
    tn_err *e;
} run;

enum { MAX_FRAMES = 1 << 22 };

static bool grow_stack(run *q) {
    size_t cap = q->m->cap;
    if (q->top < cap) return true;
    if (cap >= MAX_FRAMES) return false;
    if (!TN_GROW(q->m->stack, q->m->cap, cap ? cap * 2 : 256)) return false;
    return true;
}

static inline bool has_byte(const tn_bytes *b, unsigned char c) {
    return b->w[c >> 5] >> (c & 31) & 1;
}

static bool edge(const run *q, size_t at) {
    size_t k = at;
    bool left =
        at > 0 && (k = tn_utf8_back(q->s, at), tn_cpmap_has(&q->r->word, tn_utf8_next(q->s, &k)));
    k = at;
    return left != (at < q->n && tn_cpmap_has(&q->r->word, tn_utf8_next(q->s, &k)));
}

static bool assert_at(const run *q, int kind, size_t at) {
    switch (kind) {
    case RX_LINE_BEGIN:
        return at == 0 || (q->s[at - 1] == '\n' && at < q->n);
    case RX_LINE_END:
        return at == q->n || q->s[at] == '\n';
    case RX_TEXT_BEGIN:
        return at == 0;
    case RX_TEXT_END:
        return at == q->n;
    case RX_TEXT_END_NL:
        return at == q->n || (at + 1 == q->n && q->s[at] == '\n');
    case RX_WORD_EDGE:
        return edge(q, at);
    default:
        return !edge(q, at);
    }
}

/* Takes up to `max` code points of the map; *got = how many. */
static size_t take(const run *q, const tn_cpmap *m, size_t at, int max, int *got) {
    int k = 0;
    while (at < q->n && (max < 0 || k < max)) {
        size_t next = at;
        if (!tn_cpmap_has(m, tn_utf8_next(q->s, &next))) break;
        at = next;
        k++;
    }
    *got = k;
    return at;
}

/* 1: matched, *end set; 0: no; -1: gave up (budget or memory). */
static int match(run *q, int pc, size_t at, size_t *end, int depth) {
    const tn_rx *r = q->r;
    size_t base = q->top;
    if (depth > 200) return -1;
    for (;;) {
        const tn_rx_inst *i = &r->code[pc];
        bool ok = true;
        if (--q->budget < 0) return -1;
        switch (i->op) {
        case RX_BYTES:
            ok = q->n - at >= (size_t)i->y && !memcmp(q->s + at, r->lit + i->x, (size_t)i->y);
            if (ok) {
                at += (size_t)i->y;
                pc++;
            }
            break;
        case RX_SET: {
            size_t next = at;
            ok = at < q->n && tn_cpmap_has(&r->maps[i->x], tn_utf8_next(q->s, &next));
            if (ok) {
                at = next;
                pc++;
            }
            break;
        }
        case RX_LOOP: {
            int got = 0;
            size_t floor = at;
            if (i->min > 0) floor = take(q, &r->maps[i->x], at, i->min, &got);
            if (got < i->min) {
                ok = false;
                break;
            }
            at = floor;
            pc++;
            if (i->kind == RX_LAZILY) {
                if (!grow_stack(q)) return -1;
                q->m->stack[q->top++] = (tn_rx_frame){
                    .pc = pc, .more = pc, .at = at, .left = i->max < 0 ? -1 : i->max - i->min};
                break;
            }
            at = take(q, &r->maps[i->x], at, i->max < 0 ? -1 : i->max - i->min, &got);
            q->budget -= got / 16;
            if (i->kind == RX_GREEDY && at > floor && r->code[pc].op != RX_ACCEPT) {
                if (!grow_stack(q)) return -1;
                q->m->stack[q->top++] = (tn_rx_frame){.pc = pc, .at = at, .floor = floor};
            }
            break;
        }
        case RX_SPLIT:
            if (!i->any && (at == q->n || !has_byte(&i->first, (unsigned char)q->s[at]))) {
                pc = i->x;
                break;
            }
            if (!grow_stack(q)) return -1;
            q->m->stack[q->top++] = (tn_rx_frame){.pc = i->x, .at = at, .floor = at};
            pc++;
            break;
        case RX_LAZY:
            if (!grow_stack(q)) return -1;
            q->m->stack[q->top++] = (tn_rx_frame){.pc = pc + 1, .at = at, .floor = at};
            pc = i->x;
            break;
        case RX_JMP:
            pc = i->x;
            break;
        case RX_MARK: {
            size_t stop = at;
            int got = match(q, pc + 1, at, &stop, depth + 1);
            if (got < 0) return -1;
            ok = (got == 1) == (i->kind != RX_NOT_AHEAD && i->kind != RX_NOT_BEHIND);
            if (ok && i->kind == RX_ATOMIC) at = stop;
            pc = i->x;
            break;
        }
        case RX_BACK:
            for (int k = 0; k < i->x && ok; k++) {
                if (at == 0)
                    ok = false;
                else
                    at = tn_utf8_back(q->s, at);
            }
            pc++;
            break;
        case RX_ACCEPT:
            *end = at;
            q->top = base;
            return 1;
        case RX_ASSERT:
            ok = assert_at(q, i->kind, at);
            pc++;
            break;
        }
        while (!ok) { /* back to the youngest frame that still has a choice */
            if (q->top == base) return 0;
            tn_rx_frame *f = &q->m->stack[q->top - 1];
            if (f->more) { /* a lazy loop takes one more */
                size_t next = f->at;
                bool can =
                    f->left != 0 && f->at < q->n &&
                    tn_cpmap_has(&r->maps[r->code[f->more - 1].x], tn_utf8_next(q->s, &next));
                if (!can) {
                    q->top--;
                    continue;
                }
                f->at = next;
                if (f->left > 0) f->left--;
                at = next;
            } else if (f->at > f->floor) { /* a greedy loop gives one back */
                f->at = tn_utf8_back(q->s, f->at);
                at = f->at;
                pc = f->pc;
                if (f->at == f->floor) q->top--;
                break;
            } else {
                at = f->at;
                q->top--;
                pc = f->pc;
                break;
            }
            pc = f->pc;
            break;
        }
    }
}

tn_status tn_rx_find(const tn_rx *r, tn_rx_mem *m, const char *s, size_t n, size_t from,
                     bool *found, size_t *a, size_t *b, tn_err *e) {
    run q = {.r = r, .m = m, .s = s, .n = n, .e = e};
    *found = false;
    q.budget = 10000000 + 64 * (long)(n - from);
    for (size_t at = from; at <= n;) {
        if (!r->any) {
            while (at < n && !has_byte(&r->first, (unsigned char)s[at])) at++;
            if (at == n) return TN_OK;
        }
        q.top = 0;
        int got = match(&q, 0, at, b, 0);
        if (got < 0)
            return tn_fail(
                e, TN_UNSUPPORTED,
                "%s: the pattern needs too many steps at byte %zu of a text of %zu bytes", r->where,
                at, n);
        if (got) {
            *a = at;
            *found = true;
            return TN_OK;
        }
        if (at == n) return TN_OK;
        at += (size_t)tn_utf8_size((unsigned char)s[at]);
    }
    return TN_OK;
}

void tn_rx_mem_free(tn_rx_mem *m) {
    tn_free(m->stack);
    m->stack = NULL;
    m->cap = 0;
}

static tn_rx *empty_rx(const char *where) {
    tn_rx *r = tn_calloc(1, sizeof *r);
    if (r && !(r->where = tn_strdup(where))) {
        tn_free(r);
        r = NULL;
    }
    return r;
}

tn_status tn_rx_compile(tn_rx **out, const char *pattern, size_t n, const char *where, tn_err *e) {
    tn_rx *r = empty_rx(where);
    tn_rx_tree t = {0};
    *out = NULL;
    if (!r) return tn_fail(e, TN_NOMEM, "no memory for a pattern");
    tn_status st = tn_rx_parse(r, &t, pattern, n, e);
    if (st == TN_OK) st = tn_rx_emit(r, &t, e);
    tn_free(t.v);
    if (st != TN_OK) {
        tn_rx_free(r);
        return st;
    }
    *out = r;
    return TN_OK;
}

tn_status tn_rx_literal(tn_rx **out, const char *s, size_t n, tn_err *e) {
    tn_rx *r = empty_rx("a literal pattern");
    *out = NULL;
    if (!r || n > 1000000 || !TN_GROW(r->code, r->cap, 2) || !TN_GROW(r->lit, r->lit_cap, n + 1)) {
        tn_rx_free(r);
        return tn_fail(e, TN_NOMEM, "no memory for a pattern of %zu bytes", n);
    }
    memset(r->code, 0, 2 * sizeof *r->code);
    memcpy(r->lit, s, n);
    r->nlit = n;
    r->code[0].op = RX_BYTES;
    r->code[0].y = (int)n;
    r->code[1].op = RX_ACCEPT;
    r->n = 2;
    r->any = n == 0;
    if (n) r->first.w[(unsigned char)s[0] >> 5] |= 1u << ((unsigned char)s[0] & 31);
    *out = r;
    return TN_OK;
}

void tn_rx_free(tn_rx *r) {
    if (!r) return;
    for (int k = 0; k < r->nmaps; k++) tn_cpmap_free(&r->maps[k]);
    tn_cpmap_free(&r->word);
    tn_free(r->maps);
    tn_free(r->map_first);
    tn_free(r->code);
    tn_free(r->lit);
    tn_free(r->where);
    tn_free(r);
}
