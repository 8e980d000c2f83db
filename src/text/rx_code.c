/* Tree to program; see rx.h. */
#include "text/rx.h"
#include <string.h>

enum { MAX_CODE = 50000 };

static tn_status emit_node(tn_rx *r, tn_rx_tree *t, int id, tn_err *e);

static tn_status emit(tn_rx *r, tn_rx_op op, int *pc, tn_err *e) {
    if (r->n >= MAX_CODE)
        return tn_fail(e, TN_UNSUPPORTED, "%s: pattern expands to more than %d steps", r->where,
                       MAX_CODE);
    if (!TN_GROW(r->code, r->cap, (size_t)r->n + 1))
        return tn_fail(e, TN_NOMEM, "no memory for a pattern");
    memset(&r->code[r->n], 0, sizeof *r->code);
    r->code[r->n].op = op;
    if (pc) *pc = r->n;
    r->n++;
    return TN_OK;
}

static void add_byte(tn_bytes *b, unsigned c) { b->w[c >> 5] |= 1u << (c & 31); }

static void set_first(tn_bytes *b, const tn_cpset *s) {
    for (int i = 0; i < s->n; i++) {
        char x[4], y[4];
        for (uint32_t c = s->r[i].a; c <= s->r[i].b && c < 0x80; c++) add_byte(b, c);
        if (s->r[i].b < 0x80) continue;
        tn_utf8_put(x, s->r[i].a < 0x80 ? 0x80 : s->r[i].a);
        tn_utf8_put(y, s->r[i].b);
        for (unsigned c = (unsigned char)x[0]; c <= (unsigned char)y[0]; c++) add_byte(b, c);
    }
}

int tn_rx_map(tn_rx *r, const tn_cpset *s) {
    if (!TN_GROW(r->maps, r->maps_cap, (size_t)r->nmaps + 1) ||
        !TN_GROW(r->map_first, r->first_cap, (size_t)r->nmaps + 1) ||
        !tn_cpmap_build(&r->maps[r->nmaps], s))
        return -1;
    memset(&r->map_first[r->nmaps], 0, sizeof *r->map_first);
    set_first(&r->map_first[r->nmaps], s);
    return r->nmaps++;
}

/* Skips holders: an RN_CAT or RN_ALT with one child stands for that child. */
static int bare(tn_rx_tree *t, int id) {
    while ((t->v[id].kind == RN_CAT || t->v[id].kind == RN_ALT) && t->v[id].child >= 0 &&
           t->v[t->v[id].child].next < 0)
        id = t->v[id].child;
    return id;
}

/* Least and greatest number of code points that a node matches (max -1: no limit). */
static void extent(tn_rx_tree *t, int id, long *min, long *max) {
    tn_rx_node *v = &t->v[id];
    long a, b;
    *min = *max = 0;
    switch (v->kind) {
    case RN_CHAR:
    case RN_SET:
        *min = *max = 1;
        break;
    case RN_CAT:
        for (int k = v->child; k >= 0; k = t->v[k].next) {
            extent(t, k, &a, &b);
            *min += a;
            *max = *max < 0 || b < 0 ? -1 : *max + b;
        }
        break;
    case RN_ALT:
        for (int k = v->child; k >= 0; k = t->v[k].next) {
            extent(t, k, &a, &b);
            if (k == v->child) {
                *min = a;
                *max = b;
                continue;
            }
            if (a < *min) *min = a;
            *max = *max < 0 || b < 0 ? -1 : b > *max ? b : *max;
        }
        break;
    case RN_REPEAT:
        extent(t, v->child, &a, &b);
        *min = a * v->min;
        *max = v->max < 0 || b < 0 ? (b == 0 ? 0 : -1) : b * v->max;
        break;
    case RN_MARK:
        if (v->how == RX_ATOMIC) extent(t, v->child, min, max);
        break;
    default:
        break;
    }
    if (*min > 1000000) *min = 1000000;
    if (*max > 1000000) *max = -1;
}

static tn_status emit_char(tn_rx *r, uint32_t c, tn_err *e) {
    char b[4];
    int k = tn_utf8_put(b, c), pc;
    if (!TN_GROW(r->lit, r->lit_cap, r->nlit + 4))
        return tn_fail(e, TN_NOMEM, "no memory for a pattern");
    TN_TRY(emit(r, RX_BYTES, &pc, e));
    r->code[pc].x = (int)r->nlit;
    r->code[pc].y = k;
    memcpy(r->lit + r->nlit, b, (size_t)k);
    r->nlit += (size_t)k;
    return TN_OK;
}

static tn_status emit_repeat(tn_rx *r, tn_rx_tree *t, const tn_rx_node *v, tn_err *e) {
    int child = bare(t, v->child), pc, mark = -1;
    if (t->v[child].kind == RN_SET || t->v[child].kind == RN_CHAR) {
        int map = t->v[child].map;
        if (t->v[child].kind == RN_CHAR && map < 0) {
            tn_cpset s = {0};
            bool ok = tn_cpset_add(&s, t->v[child].c, t->v[child].c);
            map = ok ? tn_rx_map(r, &s) : -1;
            tn_cpset_free(&s);
            if (map < 0) return tn_fail(e, TN_NOMEM, "no memory for a pattern");
            t->v[child].map = map; /* copies of the loop share it */
        }
        TN_TRY(emit(r, RX_LOOP, &pc, e));
        tn_rx_inst *i = &r->code[pc];
        i->x = map;
        i->min = v->min;
        i->max = v->max;
        i->kind = v->how;
        return TN_OK;
    }
    long min, max;
    extent(t, child, &min, &max);
    if (min == 0 && v->max < 0)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: an unlimited repeat of something that may be empty is not supported",
                       r->where);
    if (v->how == RX_POSSESSIVE) {
        TN_TRY(emit(r, RX_MARK, &mark, e));
        r->code[mark].kind = RX_ATOMIC;
    }
    tn_rx_op split = v->how == RX_LAZILY ? RX_LAZY : RX_SPLIT;
    for (int k = 0; k < v->min; k++) TN_TRY(emit_node(r, t, child, e));
    if (v->max < 0) {
        TN_TRY(emit(r, split, &pc, e));
        TN_TRY(emit_node(r, t, child, e));
        int back;
        TN_TRY(emit(r, RX_JMP, &back, e));
        r->code[back].x = pc;
        r->code[pc].x = r->n;
    } else {
        int optional = v->max - v->min, first = r->n, len = 0;
        for (int k = 0; k < optional; k++) { /* (x(x(x)?)?)?: all exits lead behind the last copy */
            TN_TRY(emit(r, split, &pc, e));
            TN_TRY(emit_node(r, t, child, e));
            len = r->n - pc;
        }
        for (int k = 0; k < optional; k++) r->code[first + k * len].x = r->n;
    }
    if (mark >= 0) {
        TN_TRY(emit(r, RX_ACCEPT, NULL, e));
        r->code[mark].x = r->n;
    }
    return TN_OK;
}

static tn_status emit_alt(tn_rx *r, tn_rx_tree *t, const tn_rx_node *v, bool behind, tn_err *e) {
    int jumps = -1, pc; /* chain of forward jumps through x */
    for (int k = v->child; k >= 0; k = t->v[k].next) {
        int split = -1;
        if (t->v[k].next >= 0) TN_TRY(emit(r, RX_SPLIT, &split, e));
        if (behind) {
            long min, max;
            extent(t, k, &min, &max);
            if (min != max)
                return tn_fail(e, TN_UNSUPPORTED,
                               "%s: look-behind of variable length is not supported", r->where);
            TN_TRY(emit(r, RX_BACK, &pc, e));
            r->code[pc].x = (int)min;
        }
        TN_TRY(emit_node(r, t, k, e));
        if (split < 0) continue;
        TN_TRY(emit(r, RX_JMP, &pc, e));
        r->code[pc].x = jumps;
        jumps = pc;
        r->code[split].x = r->n;
    }
    while (jumps >= 0) {
        int next = r->code[jumps].x;
        r->code[jumps].x = r->n;
        jumps = next;
    }
    return TN_OK;
}

static tn_status emit_mark(tn_rx *r, tn_rx_tree *t, const tn_rx_node *v, tn_err *e) {
    int pc;
    TN_TRY(emit(r, RX_MARK, &pc, e));
    r->code[pc].kind = v->how;
    if (v->how == RX_BEHIND || v->how == RX_NOT_BEHIND)
        TN_TRY(emit_alt(r, t, &t->v[v->child], true, e));
    else
        TN_TRY(emit_node(r, t, v->child, e));
    TN_TRY(emit(r, RX_ACCEPT, NULL, e));
    r->code[pc].x = r->n;
    return TN_OK;
}

static tn_status emit_node(tn_rx *r, tn_rx_tree *t, int id, tn_err *e) {
    tn_rx_node *v = &t->v[id];
    int pc;
    if (++r->work > 1000000)
        return tn_fail(e, TN_UNSUPPORTED, "%s: pattern repeats too much", r->where);
    switch (v->kind) {
    case RN_EMPTY:
        return TN_OK;
    case RN_CHAR:
        return emit_char(r, v->c, e);
    case RN_SET:
        TN_TRY(emit(r, RX_SET, &pc, e));
        r->code[pc].x = v->map;
        return TN_OK;
    case RN_CAT:
        for (int k = v->child; k >= 0; k = t->v[k].next) TN_TRY(emit_node(r, t, k, e));
        return TN_OK;
    case RN_ALT:
        return emit_alt(r, t, v, false, e);
    case RN_REPEAT:
        return emit_repeat(r, t, v, e);
    case RN_MARK:
        return emit_mark(r, t, v, e);
    case RN_ASSERT:
        TN_TRY(emit(r, RX_ASSERT, &pc, e));
        r->code[pc].kind = v->how;
        if ((v->how == RX_WORD_EDGE || v->how == RX_NOT_WORD_EDGE) && !r->word.page) {
            tn_cpset s = {0};
            bool ok = tn_cpset_property(&s, "wordalone", 9) > 0 && tn_cpmap_build(&r->word, &s);
            tn_cpset_free(&s);
            if (!ok) return tn_fail(e, TN_NOMEM, "no memory for a pattern");
        }
        return TN_OK;
    }
    return TN_OK;
}

/* Bytes that can come first from pc on; *any when nothing may be consumed before the end, or
 * when the walk gets long. A superset is always right. */
static void first_of(const tn_rx *r, int pc, int budget, tn_bytes *b, bool *any) {
    for (; budget > 0 && !*any; budget--) {
        const tn_rx_inst *i = &r->code[pc];
        switch (i->op) {
        case RX_BYTES:
            add_byte(b, (unsigned char)r->lit[i->x]);
            return;
        case RX_SET:
        case RX_LOOP:
            for (int k = 0; k < 8; k++) b->w[k] |= r->map_first[i->x].w[k];
            if (i->op == RX_SET || i->min > 0) return;
            pc++;
            break;
        case RX_SPLIT:
        case RX_LAZY:
            first_of(r, i->x, budget / 2, b, any);
            pc++;
            budget /= 2;
            break;
        case RX_JMP:
            pc = i->x;
            break;
        case RX_MARK: /* a look-around only narrows */
            pc = i->kind == RX_ATOMIC ? pc + 1 : i->x;
            break;
        case RX_ASSERT:
            pc++;
            break;
        case RX_BACK:
        case RX_ACCEPT:
            *any = true;
            return;
        }
    }
    *any = true;
}

tn_status tn_rx_emit(tn_rx *r, tn_rx_tree *t, tn_err *e) {
    TN_TRY(emit_node(r, t, t->root, e));
    TN_TRY(emit(r, RX_ACCEPT, NULL, e));
    for (int k = 0; k < r->n; k++)
        if (r->code[k].op == RX_JMP && r->code[r->code[k].x].op == RX_ACCEPT)
            r->code[k].op = RX_ACCEPT;
    for (int k = 0; k < r->n; k++)
        if (r->code[k].op == RX_SPLIT) first_of(r, k + 1, 256, &r->code[k].first, &r->code[k].any);
    first_of(r, 0, 4096, &r->first, &r->any);
    return TN_OK;
}
